"""Selection of example images on which two models disagree. Imports no torch."""

import re
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
