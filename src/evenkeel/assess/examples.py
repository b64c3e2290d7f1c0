"""Pictures on which two models disagree: clean beside corrupted, as a person may judge them."""

import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from evenkeel import runs
from evenkeel.assess.examination import Examination
from evenkeel.assess.predictions import Predictions
from evenkeel.corruptions import Suite
from evenkeel.data import ImageSet

NUM_EXAMPLES = 16
LARGEST_SIDE = 160  # larger pictures are made smaller


class Example(NamedTuple):
    """One image of one cell, `row` counting in the predictions."""

    corruption: str
    severity: int
    row: int


def save_examples(
    examination: Examination, image_set: ImageSet, suite: Suite, folder: Path
) -> list[Path]:
    """Write `CORRUPTION-SEVERITY-INDEX.png` for images on which first and last model disagree.

    Each holds the clean image on the left and the corrupted one on the right, nothing else: what
    the models said stands in the predictions. A suite that is not paired with the clean images
    has none.
    """
    names = list(examination.predictions)
    if len(names) < 2 or suite.unpaired is not None:
        return []
    first, last = (examination.predictions[name] for name in (names[0], names[-1]))
    positions = {int(index): place for place, index in enumerate(image_set.index.tolist())}
    paths = []
    for example in choose_examples(first, last):
        index = int(first.index[example.row])
        place = positions[index]
        corrupted = suite.images(example.corruption, example.severity, place, place + 1)
        path = folder / f"{example.corruption}-{example.severity}-{index}.png"
        runs.write_atomically(path, side_by_side(image_set.images[place], corrupted[0]))
        paths.append(path)
    return paths


def choose_examples(first: Predictions, last: Predictions) -> list[Example]:
    """Choose half of them where only the last model is right and half where only the first is.

    Corruptions take turns, at the highest severity assessed. Of a corruption's images the one
    on which both are surest comes first.
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
    """List the rows where the one is right and the other wrong, the surest disagreement first."""
    rows = np.flatnonzero(right.correct(cell) & ~wrong.correct(cell))
    confidences = (tops.cells[cell].confidences[rows, 0] for tops in (right, wrong))
    sureness = np.minimum(*(values.astype(np.float32) for values in confidences))
    return rows[np.argsort(-sureness, kind="stable")].tolist()


def taking_turns(
    cells: list[tuple[str, int]], candidates: list[list[int]], num: int
) -> list[Example]:
    """Take from each cell in turn, no image twice, until there are enough."""
    taken: dict[int, Example] = {}
    for rank in range(max(map(len, candidates), default=0)):
        for (corruption, severity), rows in zip(cells, candidates, strict=True):
            if len(taken) == num:
                return list(taken.values())
            if rank < len(rows) and rows[rank] not in taken:
                taken[rows[rank]] = Example(corruption, severity, rows[rank])
    return list(taken.values())


def side_by_side(clean: torch.Tensor, corrupted: torch.Tensor) -> bytes:
    """Put two images `[3, h, w]` beside each other in a PNG."""
    from PIL import Image

    pixels = torch.cat([clean, corrupted], dim=2).permute(1, 2, 0).contiguous().numpy()
    picture = Image.fromarray(pixels)
    if clean.shape[1] > LARGEST_SIDE or clean.shape[2] > LARGEST_SIDE:
        picture.thumbnail((2 * LARGEST_SIDE, LARGEST_SIDE))
    written = io.BytesIO()
    picture.save(written, "PNG", optimize=True)
    return written.getvalue()
