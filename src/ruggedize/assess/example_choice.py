"""Selection of example images: disagreements of two models, or mistakes of one. No torch."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ruggedize.assess.predictions import Predictions

NUM_EXAMPLES = 16
FILE_NAME = re.compile(r"(?P<corruption>\w+)-(?P<severity>[1-5])-(?P<index>[0-9]+)\.png")


class Example(NamedTuple):
    """One image of one cell; `row` is its row in the predictions."""

    corruption: str
    severity: int
    row: int


def examples_folder(assessment: Path) -> Path:
    """Return where the pictures of an assessment without a run folder lie: beside it."""
    return assessment.parent / f"{assessment.stem}-examples"


def chosen_examples(models: Sequence[Predictions]) -> list[Example]:
    """Choose where the first and the last model disagree; of one model, its mistakes."""
    if len(models) == 1:
        return choose_mistakes(models[0])
    return choose_examples(models[0], models[-1])


def choose_examples(first: Predictions, last: Predictions) -> list[Example]:
    """Choose examples: half where only the last model is right, half where only the first is.

    Corruptions take turns, at the highest severity assessed. Within a corruption, the image on
    which both models are most confident comes first.
    """
    if not first.cells:
        return []
    highest = max(severity for _, severity in first.cells)
    cells = [cell for cell in first.cells if cell[1] == highest]
    gained = [ranked(last, first, cell) for cell in cells]
    lost = [ranked(first, last, cell) for cell in cells]
    half = NUM_EXAMPLES // 2
    return taking_turns(cells, gained, half) + taking_turns(cells, lost, half)


def choose_mistakes(model: Predictions) -> list[Example]:
    """Choose images that a model classifies rightly when clean and wrongly when corrupted.

    Corruptions take turns at the highest severity assessed, the one with the lowest accuracy
    first. Of a corruption's images the one with the surest mistake comes first.
    """
    if not model.cells or model.clean_rows is not None:
        return []
    highest = max(severity for _, severity in model.cells)
    cells = [cell for cell in model.cells if cell[1] == highest]
    cells.sort(key=lambda cell: int(model.correct(cell).sum()))
    return taking_turns(cells, [mistakes(model, cell) for cell in cells], NUM_EXAMPLES // 2)


def mistakes(model: Predictions, cell: tuple[str, int]) -> list[int]:
    """List the rows that are right when clean and wrong in a cell, the surest mistake first."""
    rows = np.flatnonzero(model.correct(None) & ~model.correct(cell))
    return rows[np.argsort(-model.cells[cell].confidences[rows, 0], kind="stable")].tolist()


def ranked(right: Predictions, wrong: Predictions, cell: tuple[str, int]) -> list[int]:
    """List the rows where only one model is right, the most confident disagreement first."""
    rows = np.flatnonzero(right.correct(cell) & ~wrong.correct(cell))
    confidence = np.minimum(*(tops.cells[cell].confidences[rows, 0] for tops in (right, wrong)))
    return rows[np.argsort(-confidence, kind="stable")].tolist()


def taking_turns(
    cells: list[tuple[str, int]], candidates: list[list[int]], num: int
) -> list[Example]:
    """Take `num` examples, from each cell in turn, without repeating an image."""
    taken: dict[int, Example] = {}
    for rank in range(max(map(len, candidates), default=0)):
        for (corruption, severity), rows in zip(cells, candidates, strict=True):
            if len(taken) == num:
                return list(taken.values())
            if rank < len(rows) and rows[rank] not in taken:
                taken[rows[rank]] = Example(corruption, severity, rows[rank])
    return list(taken.values())
