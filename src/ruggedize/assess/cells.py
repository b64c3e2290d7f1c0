"""Selection of the cells and images to assess, and their division into blocks."""

import logging
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64
from torch import nn

from ruggedize.assess.assessment import CLEAN
from ruggedize.assess.consistency import is_file_name
from ruggedize.assess.options import AssessOptions
from ruggedize.core.errors import UserError, shown
from ruggedize.corruptions import Suite, Unpaired, chosen_names
from ruggedize.data import ImageSet
from ruggedize.kernels.spread import evenly_spread
from ruggedize.models import Classifier

BLOCK_VALUES = 2_000 * 3 * 32 * 32  # in the images of a block, which are corrupted together
SMALLEST_BLOCK = 16  # images
CLEAN_CELL = (CLEAN, 0)


class Chosen(NamedTuple):
    """The images selected for a cell: positions in the set or suite, indices and labels."""

    positions: Int64[np.ndarray, " n"]
    indices: Int64[np.ndarray, " n"]
    labels: Int64[np.ndarray, " n"]


class Block(NamedTuple):
    """Some of a cell's selected images; `start` is the position of the first among them."""

    cell: tuple[str, int]
    start: int
    positions: Int64[np.ndarray, " n"]
    labels: Int64[np.ndarray, " n"]


def check(models: Mapping[str, object], image_set: ImageSet) -> None:
    """Raise UserError if there are no models, no images, or unlabelled images."""
    if not models:
        raise UserError("there is no model to assess;\ngive at least one")
    if not len(image_set):
        raise UserError("there are no images to assess on;\ngive a test split with images")
    if bool((image_set.labels < 0).any()):
        raise UserError("some of the images have no label;\nassess on labelled images only")
    for name, model in models.items():
        if not is_file_name(name):
            raise UserError(
                f"a model's name must be a valid folder name, got {shown(name[:80])};\nrename it"
            )
        if isinstance(model, nn.Module) and not isinstance(model, Classifier):
            raise UserError(
                f"{name} is a {type(model).__name__}, whose preprocessing is unknown;\n"
                "use Predictor(network, input_size=224, mean=..., std=...), or a Classifier"
            )


def chosen_cells(suite: Suite, options: AssessOptions) -> list[tuple[str, int]]:
    """List the cells to assess, in the suite's order."""
    names = chosen_names(suite, options.corruptions)
    return [(name, severity) for name in names for severity in options.severities]


def choose_clean(image_set: ImageSet, num_images: int | None) -> Chosen:
    """Select the clean images to assess on."""
    positions = spread_positions(len(image_set), num_images)
    return Chosen(
        positions, image_set.index.numpy()[positions], image_set.labels.numpy()[positions]
    )


def choose_unpaired(unpaired: Unpaired, num_images: int | None) -> Chosen:
    """Select images of an unpaired suite; their index is their position in the suite."""
    positions = spread_positions(len(unpaired.labels), num_images)
    return Chosen(positions, positions, unpaired.labels.numpy()[positions])


def spread_positions(n: int, num_images: int | None) -> Int64[np.ndarray, " n"]:
    """Return evenly spaced positions (None: all); warn if fewer images exist than requested."""
    warn_of_fewer(n, num_images or 0)
    return evenly_spread(n, n if num_images is None else num_images)


def warn_of_fewer(there: int, wanted: int) -> None:
    """Warn if there are fewer images than requested."""
    if wanted > there:
        log = logging.getLogger(__name__)
        log.warning("num_images = %d, but there are only %d images; all are used", wanted, there)


def blocks_of(cells: list[tuple[str, int]], chosen: Chosen, image_size: int) -> list[Block]:
    """Divide the cells into blocks that take about the same memory at every image size."""
    size = max(SMALLEST_BLOCK, BLOCK_VALUES // (3 * image_size**2))
    parts = [slice(s, s + size) for s in range(0, len(chosen.positions), size)]
    return [
        Block(cell, part.start, chosen.positions[part], chosen.labels[part])
        for cell in cells
        for part in parts
    ]
