"""Run models over clean and corrupted images, every image of every cell exactly once."""

import copy
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from operator import attrgetter

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from ruggedize.assess.assessment import (
    Assessment,
    Comparison,
    ImageFacts,
    ModelAssessment,
    UnpairedFacts,
    model_assessment,
)
from ruggedize.assess.bootstrap import compare
from ruggedize.assess.cells import (
    CLEAN_CELL,
    Block,
    Chosen,
    blocks_of,
    check,
    choose_clean,
    choose_unpaired,
    chosen_cells,
)
from ruggedize.assess.metrics import NUM_TOP, Outcomes, count_cell, outcomes_of
from ruggedize.assess.options import AssessOptions
from ruggedize.assess.predictions import Predictions, Rows, Top
from ruggedize.assess.saving import AssessmentResult
from ruggedize.core.environment import version
from ruggedize.core.errors import UserError
from ruggedize.core.progress import Progress, no_progress
from ruggedize.corruptions import Suite
from ruggedize.data import ImageSet
from ruggedize.kernels.types import Images
from ruggedize.models import (
    Classifier,
    Precision,
    autocast_for,
    inference_batch_size,
    logits_of,
    resolved_precision,
)


@dataclass
class Candidate:
    """A model that is assessed, and its outcomes so far."""

    network: nn.Module
    device: torch.device
    precision: Precision
    kept: dict[tuple[str, int], Outcomes]

    def keep(self, block: Block, answer: Outcomes) -> None:
        """Copy the answer to a block to its place."""
        for kept, part in zip(self.kept[block.cell], answer, strict=True):
            kept[block.start : block.start + len(part)] = part

    def outcomes(self, cell: tuple[str, int]) -> Outcomes:
        """Return the answers to a cell."""
        return self.kept[cell]


def assess(
    models: Mapping[str, Classifier],
    image_set: ImageSet,
    suite: Suite,
    options: AssessOptions | None = None,
    *,
    progress: Progress = no_progress,
) -> AssessmentResult:
    """Assess models on clean images and on every cell of a suite.

    Each corrupted block is made once, for all models, on the CPU while the models are at work on
    the block before it. The models themselves are left as they are.

    Args:
        models: classifiers by name; the first is the baseline of all comparisons.
        image_set: labelled images, as stored.
        suite: gives the corrupted images, e.g. `generated_suite(image_set.images)`: the same
            ones, image for image, or else it says that it is unpaired and why.
        options: which cells, how many images, which precision.
        progress: told how many images all models have seen.

    Raises:
        UserError: unknown corruption, unlabelled images, classes that differ, or a model that
            answers NaN.
    """
    options = options or AssessOptions()
    check(models, image_set)
    cells = chosen_cells(suite, options)
    clean = choose_clean(image_set, options.num_images)
    other = suite.unpaired and choose_unpaired(suite.unpaired, options.num_images)
    work = blocks_of([CLEAN_CELL], clean, image_set.image_size)
    work += blocks_of(cells, other or clean, image_set.image_size)
    work.sort(key=attrgetter("start"))  # all cells of some images: streamed ones are read once
    candidates = {name: prepared(model, options, work) for name, model in models.items()}
    run_models(candidates, image_set, suite, work, progress)
    images = ImageFacts(
        num_images=len(clean.positions),
        available=len(image_set),
        classes=tuple(image_set.classes),
    )
    return result_of(candidates, suite, cells, clean, other, images)


def prepared(model: Classifier, options: AssessOptions, work: list[Block]) -> Candidate:
    """Copy a model into the form in which it answers fastest."""
    device = next(model.parameters()).device
    network = copy.deepcopy(model).eval().requires_grad_(False)
    network.to(memory_format=torch.channels_last)  # pyright: ignore
    precision = resolved_precision(options.precision, device)
    return Candidate(network, device, precision, room_for(work, len(model.classes)))


def room_for(work: list[Block], num_classes: int) -> dict[tuple[str, int], Outcomes]:
    """Allocate memory for all answers, in one piece.

    Kept block by block, they would lie between the images that come and go, and the heap would
    grow by half of all images.
    """
    sizes: dict[tuple[str, int], int] = {}
    for block in work:
        sizes[block.cell] = sizes.get(block.cell, 0) + len(block.positions)
    total, num_top = sum(sizes.values()), min(NUM_TOP, num_classes)
    whole = Outcomes(
        np.empty((total, num_top), np.int64),
        np.empty((total, num_top), np.float32),
        np.empty(total, np.float32),
    )
    stops = np.cumsum(list(sizes.values()))
    return {
        cell: Outcomes(*(part[stop - n : stop] for part in whole))
        for (cell, n), stop in zip(sizes.items(), stops, strict=True)
    }


def run_models(
    candidates: dict[str, Candidate],
    image_set: ImageSet,
    suite: Suite,
    work: list[Block],
    progress: Progress,
) -> None:
    """Run every model on every block, while a thread makes the next one."""
    total, done = sum(len(block.positions) for block in work), 0

    def make(block: Block) -> dict[str, Images]:
        images = images_of(block, image_set, suite)
        return {name: test_view(model, images) for name, model in candidates.items()}

    with ThreadPoolExecutor(1, thread_name_prefix="next-block") as ahead:
        upcoming = ahead.submit(make, work[0])
        for place, block in enumerate(work):
            views = upcoming.result()
            if place + 1 < len(work):
                upcoming = ahead.submit(make, work[place + 1])
            for name, model in candidates.items():
                answer = outcomes_for(model, views[name], torch.from_numpy(block.labels))
                if not np.isfinite(answer.negative_log_likelihoods).all():
                    raise UserError(
                        f"{name} answers NaN or infinity on {block.cell[0]}: its training "
                        "diverged;\ntrain it again with a lower learning rate"
                    )
                model.keep(block, answer)
            done += len(block.positions)
            progress("assess", done, total)


def images_of(block: Block, image_set: ImageSet, suite: Suite) -> Images:
    """Return a block's images."""
    positions = torch.from_numpy(block.positions)
    if block.cell != CLEAN_CELL:
        return suite.images_at(*block.cell, positions)
    first, last = int(positions[0]), int(positions[-1])
    is_slice = last - first + 1 == len(positions)  # positions are distinct and ascending
    return image_set.images[first : last + 1] if is_slice else image_set.images[positions]


def test_view(model: Candidate, images: Images) -> Images:
    """Bring images to the model's input size, in memory that its device reads fast."""
    view: Tensor = model.network.test_view(images)  # pyright: ignore
    return view.pin_memory() if model.device.type == "cuda" else view


@torch.inference_mode()
def outcomes_for(model: Candidate, views: Images, labels: Tensor) -> Outcomes:
    """Run one block through a model; the device is waited for once."""
    parts = []
    autocast = autocast_for(model.precision, model.device)
    most = inference_batch_size(views.shape[-1])
    for batch, target in zip(views.split(most), labels.split(most), strict=True):
        with autocast:
            logits = logits_of(model.network, batch.to(model.device, non_blocking=True))
        parts.append(outcomes_of(logits.float(), target.to(model.device, non_blocking=True)))
    return Outcomes(*(torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)))


def result_of(
    candidates: dict[str, Candidate],
    suite: Suite,
    cells: list[tuple[str, int]],
    clean: Chosen,
    other: Chosen | None,
    images: ImageFacts,
) -> AssessmentResult:
    """Count, summarise and compare what the models have answered."""
    counted = {
        name: counted_model(model, cells, clean, other) for name, model in candidates.items()
    }
    kept = {name: predictions_of(model, cells, clean, other) for name, model in candidates.items()}
    assessment = Assessment(
        ruggedize=str(version("ruggedize")),
        suite=suite.name,
        suite_facts=suite.describe(),
        images=images,
        unpaired=unpaired_facts(suite, other),
        precision={name: model.precision for name, model in candidates.items()},
        models=counted,
        comparisons=tuple(comparisons(counted, kept)),
    )
    return AssessmentResult(assessment, kept)


def unpaired_facts(suite: Suite, other: Chosen | None) -> UnpairedFacts | None:
    """Return how many images of an unpaired suite were used, and why it is unpaired."""
    if suite.unpaired is None or other is None:
        return None
    labels, reason = suite.unpaired
    return UnpairedFacts(reason=reason, num_images=len(other.positions), available=len(labels))


def counted_model(
    model: Candidate, cells: list[tuple[str, int]], clean: Chosen, other: Chosen | None
) -> ModelAssessment:
    """Count one model's cells."""
    own = model.outcomes(CLEAN_CELL).classes[:, 0]
    labels, compared = (clean.labels, own) if other is None else (other.labels, None)
    counted = [count_cell(*cell, model.outcomes(cell), labels, compared) for cell in cells]
    return model_assessment(
        count_cell(*CLEAN_CELL, model.outcomes(CLEAN_CELL), clean.labels, own), counted
    )


def predictions_of(
    model: Candidate, cells: list[tuple[str, int]], clean: Chosen, other: Chosen | None
) -> Predictions:
    """Keep what the intervals and the examples are made of, in ascending order of index."""
    shown = other or clean
    order, clean_order = (np.argsort(chosen.indices, kind="stable") for chosen in (shown, clean))

    def top(cell: tuple[str, int], order: Int64[np.ndarray, " n"]) -> Top:
        outcomes = model.outcomes(cell)
        return Top(
            outcomes.classes[order].astype(np.int16),
            outcomes.confidences[order],
        )

    return Predictions(
        shown.indices[order],
        shown.labels[order],
        top(CLEAN_CELL, clean_order),
        {cell: top(cell, order) for cell in cells},
        other and Rows(clean.indices[clean_order], clean.labels[clean_order]),
    )


def comparisons(
    models: dict[str, ModelAssessment], predictions: dict[str, Predictions]
) -> list[Comparison]:
    """Compare every other model with the first, in each summary that has a value."""
    baseline, *others = models
    names = [name for name, value in models[baseline].summary.items() if value is not None]
    is_paired = predictions[baseline].clean_rows is None
    groups = [names] if is_paired else [names[:1], names[1:]]  # clean, on other images, comes first
    return [
        found
        for other in others
        for group in groups
        if group
        for found in compare(baseline, other, predictions, group)
    ]
