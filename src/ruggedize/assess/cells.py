"""What is assessed: which cells, on which images, in which blocks."""

import logging
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from torch import nn

from ruggedize.assess.assessment import CLEAN
from ruggedize.assess.options import AssessOptions
from ruggedize.core.errors import UserError
from ruggedize.corruptions import Suite, Unpaired, chosen_names
from ruggedize.data import ImageSet
from ruggedize.kernels.spread import evenly_spread
from ruggedize.models import Classifier

BLOCK_VALUES = 2_000 * 3 * 32 * 32  # of images that are corrupted at once
SMALLEST_BLOCK = 16  # images
CLEAN_CELL = (CLEAN, 0)


class Chosen(NamedTuple):
    """The images that answer for a cell: their places in the set or suite, and what they are."""

    positions: Int64[np.ndarray, " n"]
    indices: Int64[np.ndarray, " n"]
    labels: Int64[np.ndarray, " n"]


class Block(NamedTuple):
    """Some images of one cell, from `start` on among those chosen."""

    cell: tuple[str, int]
    start: int
    positions: Int64[np.ndarray, " n"]
    labels: Int64[np.ndarray, " n"]


def check(models: Mapping[str, object], image_set: ImageSet) -> None:
    """Reject what cannot be assessed."""
    if not models:
        raise UserError("there is no model to assess; give at least one")
    if not len(image_set):
        raise UserError("there are no images to assess on; give a test split with images")
    if bool((image_set.labels < 0).any()):
        raise UserError("some of the images have no label; assess on labelled images only")
    for name, model in models.items():
        if isinstance(model, nn.Module) and not isinstance(model, Classifier):
            raise UserError(
                f"{name} is a {type(model).__name__}, which does not say how it takes images;\n"
                "give Predictor(network, input_size=224, mean=..., std=...), or a Classifier"
            )


def chosen_cells(suite: Suite, options: AssessOptions) -> list[tuple[str, int]]:
    """List the cells to run, in the suite's order."""
    names = chosen_names(suite, options.corruptions)
    return [(name, severity) for name in names for severity in options.severities]


def choose_clean(image_set: ImageSet, num_images: int | None) -> Chosen:
    """Choose the clean images to assess on."""
    positions = spread_positions(len(image_set), num_images)
    return Chosen(
        positions, image_set.index.numpy()[positions], image_set.labels.numpy()[positions]
    )


def choose_unpaired(unpaired: Unpaired, num_images: int | None) -> Chosen:
    """Choose images of a suite that has others than the data; their index is their place in it."""
    positions = spread_positions(len(unpaired.labels), num_images)
    return Chosen(positions, positions, unpaired.labels.numpy()[positions])


def spread_positions(n: int, num_images: int | None) -> Int64[np.ndarray, " n"]:
    """Return evenly spread positions (None: all), with a warning if there are too few."""
    warn_of_fewer(n, num_images or 0)
    return evenly_spread(n, n if num_images is None else num_images)


def warn_of_fewer(there: int, wanted: int) -> None:
    """Report that fewer images are assessed than were asked for."""
    if wanted > there:
        log = logging.getLogger(__name__)
        log.warning("num_images = %d, but only %d images are there; all are taken", wanted, there)


def blocks_of(cells: list[tuple[str, int]], chosen: Chosen, image_size: int) -> list[Block]:
    """Cut the cells into blocks of so many images that each takes the same memory."""
    size = max(SMALLEST_BLOCK, BLOCK_VALUES // (3 * image_size**2))
    parts = [slice(s, s + size) for s in range(0, len(chosen.positions), size)]
    return [
        Block(cell, part.start, chosen.positions[part], chosen.labels[part])
        for cell in cells
        for part in parts
    ]
