"""Run models on clean and corrupted images, every image of every cell exactly once."""

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from operator import attrgetter

import numpy as np
import torch
from accelerate import Accelerator
from jaxtyping import Int64

from ruggedize.assess.assessment import (
    Assessment,
    Comparison,
    ImageFacts,
    ModelAssessment,
    UnpairedFacts,
    model_assessment,
)
from ruggedize.assess.bootstrap import compare
from ruggedize.assess.candidates import (
    Assessable,
    Candidate,
    in_eval_mode,
    outcomes_for,
    prepared,
    test_view,
)
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
from ruggedize.assess.chance import guessing
from ruggedize.assess.doubts import warn_of_guessing, warn_of_other_sizes
from ruggedize.assess.metrics import NUM_TOP, Outcomes, count_cell
from ruggedize.assess.options import AssessOptions
from ruggedize.assess.predictions import Predictions, Rows, Top
from ruggedize.assess.saving import AssessmentResult
from ruggedize.assess.sharing import Kept, Shares
from ruggedize.core.environment import version
from ruggedize.core.errors import UserError
from ruggedize.core.progress import Progress, no_progress
from ruggedize.corruptions import Suite, generated_suite
from ruggedize.data import ImageSet
from ruggedize.kernels.types import Images

log = logging.getLogger(__name__)


def assess(
    models: Mapping[str, Assessable],
    image_set: ImageSet,
    suite: Suite | None = None,
    options: AssessOptions | None = None,
    *,
    accelerator: Accelerator | None = None,
    progress: Progress = no_progress,
) -> AssessmentResult:
    """Assess models on clean images and on every cell of a suite; the first is the baseline.

    Each block of images is corrupted once for all models, on the CPU, while the models process the
    previous block. The models are not modified.

    Args:
        models: by name: a `Classifier`, a `Predictor`, or a function from uint8 images to logits.
        image_set: labelled images, as stored.
        suite: source of the corrupted images; default: generated from `image_set` with
            `options.corruption_options`.
        options: cells, number of images and precision.
        accelerator: processes that share the images; each returns the whole result. Default: one.
        progress: called as progress(task, done, total) after every block of images.

    Raises:
        UserError: an unknown corruption, unlabelled images, other classes, or NaN from a model.
    """
    options = options or AssessOptions()
    if suite is None:
        suite = generated_suite(image_set.images, options=options.corruption_options)
    check(models, image_set)
    cells = chosen_cells(suite, options)
    clean = choose_clean(image_set, options.num_images)
    other = suite.unpaired and choose_unpaired(suite.unpaired, options.num_images)
    shares = Shares.of(accelerator)
    work = blocks_of([CLEAN_CELL], shares.own(clean), image_set.image_size)
    work += blocks_of(cells, shares.own(other or clean), image_set.image_size)
    work.sort(
        key=attrgetter("start")
    )  # all cells of a streamed image are run while it is in memory
    with ExitStack() as left_as_they_were:
        candidates = {}
        for name, model in models.items():
            left_as_they_were.enter_context(in_eval_mode(model))
            candidates[name] = prepared(name, model, options, image_set)
        warn_of_other_sizes({n: c.inputs for n, c in candidates.items()}, image_set.image_size)
        room = room_for([CLEAN_CELL, *cells], work, len(image_set.classes))
        kept = {name: room() for name in candidates}
        run_models(candidates, kept, image_set, suite, work, progress)
    sizes = dict.fromkeys(cells, len((other or clean).positions))
    sizes[CLEAN_CELL] = len(clean.positions)
    outcomes = {name: shares.joined(own, sizes) for name, own in kept.items()}
    images = ImageFacts(
        num_images=len(clean.positions),
        available=len(image_set),
        classes=tuple(image_set.classes),
        image_size=image_set.image_size,
    )
    found = result_of(outcomes, candidates, suite, clean, other, images)
    warn_of_guessing(found.assessment, guessing(images.classes, (other or clean).labels))
    return found


def room_for(
    cells: list[tuple[str, int]], work: list[Block], num_classes: int
) -> Callable[[], Kept]:
    """Return a function that allocates memory for all outcomes of a model, in one piece.

    Allocated block by block, they would lie between short-lived image buffers and fragment the
    heap, which would grow by half the size of all images.
    """
    sizes = dict.fromkeys(cells, 0)
    for block in work:
        sizes[block.cell] += len(block.positions)
    stops = np.cumsum(list(sizes.values()))
    total, num_top = sum(sizes.values()), min(NUM_TOP, num_classes)

    def room() -> Kept:
        whole = Outcomes(
            np.empty((total, num_top), np.int16),
            np.empty((total, num_top), np.float32),
            np.empty(total, np.float32),
        )
        return {
            cell: Outcomes(*(part[stop - n : stop] for part in whole))
            for (cell, n), stop in zip(sizes.items(), stops, strict=True)
        }

    return room


def run_models(
    candidates: Mapping[str, Candidate],
    kept: Mapping[str, Kept],
    image_set: ImageSet,
    suite: Suite,
    work: list[Block],
    progress: Progress,
) -> None:
    """Run every model on every block, while a thread prepares the next block on all cores."""
    total, done = sum(len(block.positions) for block in work), 0
    started, waited = time.monotonic(), 0.0

    def make(block: Block) -> dict[str, Images]:
        images = images_of(block, image_set, suite)
        return {name: test_view(model, images) for name, model in candidates.items()}

    with ThreadPoolExecutor(1, thread_name_prefix="next-block") as ahead:
        upcoming = ahead.submit(make, work[0]) if work else None
        for place, block in enumerate(work):
            assert upcoming is not None
            asked = time.monotonic()
            views = upcoming.result()
            waited += time.monotonic() - asked
            if place + 1 < len(work):
                upcoming = ahead.submit(make, work[place + 1])
            for name, model in candidates.items():
                found = outcomes_for(model, views[name], torch.from_numpy(block.labels))
                if not np.isfinite(found.negative_log_likelihoods).all():
                    raise UserError(
                        f"{name} returns NaN or infinity on {block.cell[0]} images: its training "
                        "has diverged;\ntrain it again with a lower learning rate"
                    )
                for place_of, part in zip(kept[name][block.cell], found, strict=True):
                    place_of[block.start : block.start + len(part)] = part
            done += len(block.positions)
            progress("assess", done, total)
    seconds = time.monotonic() - started
    log.info(
        "assess: %.0f %% of the time was spent in the models, the rest waiting for images",
        100 * (1 - waited / max(seconds, 1e-9)),
    )


def images_of(block: Block, image_set: ImageSet, suite: Suite) -> Images:
    """Return the images of a block."""
    positions = torch.from_numpy(block.positions)
    if block.cell != CLEAN_CELL:
        return suite.images_at(*block.cell, positions)
    first, last = int(positions[0]), int(positions[-1])
    is_slice = last - first + 1 == len(positions)  # positions are distinct and ascending
    return image_set.images[first : last + 1] if is_slice else image_set.images[positions]


def result_of(
    kept: Mapping[str, Kept],
    candidates: Mapping[str, Candidate],
    suite: Suite,
    clean: Chosen,
    other: Chosen | None,
    images: ImageFacts,
) -> AssessmentResult:
    """Count, summarise and compare the outcomes of all models."""
    counted = {name: counted_model(own, clean, other) for name, own in kept.items()}
    predictions = {name: predictions_of(own, clean, other) for name, own in kept.items()}
    assessment = Assessment(
        ruggedize=str(version("ruggedize")),
        suite=suite.name,
        suite_facts=suite.describe(),
        images=images,
        unpaired=unpaired_facts(suite, other),
        precision={name: model.precision for name, model in candidates.items()},
        inputs={name: model.inputs for name, model in candidates.items()},
        models=counted,
        comparisons=tuple(comparisons(counted, predictions)),
    )
    return AssessmentResult(assessment, predictions)


def unpaired_facts(suite: Suite, other: Chosen | None) -> UnpairedFacts | None:
    """Return how many images of an unpaired suite were used, and why it is unpaired."""
    if suite.unpaired is None or other is None:
        return None
    labels, reason = suite.unpaired
    return UnpairedFacts(reason=reason, num_images=len(other.positions), available=len(labels))


def counted_model(kept: Kept, clean: Chosen, other: Chosen | None) -> ModelAssessment:
    """Count one model's cells."""
    own = kept[CLEAN_CELL].classes[:, 0]
    labels, compared = (clean.labels, own) if other is None else (other.labels, None)
    counted = [
        count_cell(*cell, outcomes, labels, compared)
        for cell, outcomes in kept.items()
        if cell != CLEAN_CELL
    ]
    return model_assessment(count_cell(*CLEAN_CELL, kept[CLEAN_CELL], clean.labels, own), counted)


def predictions_of(kept: Kept, clean: Chosen, other: Chosen | None) -> Predictions:
    """Return a model's predictions, in ascending order of index."""
    shown = other or clean
    order, clean_order = (np.argsort(chosen.indices, kind="stable") for chosen in (shown, clean))

    def top(outcomes: Outcomes, order: Int64[np.ndarray, " n"]) -> Top:
        return Top(outcomes.classes[order].astype(np.int16), outcomes.confidences[order])

    return Predictions(
        shown.indices[order],
        shown.labels[order],
        top(kept[CLEAN_CELL], clean_order),
        {cell: top(own, order) for cell, own in kept.items() if cell != CLEAN_CELL},
        other and Rows(clean.indices[clean_order], clean.labels[clean_order]),
    )


def comparisons(
    models: dict[str, ModelAssessment], predictions: dict[str, Predictions]
) -> list[Comparison]:
    """Compare every other model with the first, in each summary that has a value."""
    baseline, *others = models
    names = [name for name, value in models[baseline].summary.items() if value is not None]
    is_paired = predictions[baseline].clean_rows is None
    groups = [names] if is_paired else [names[:1], names[1:]]  # clean images are different ones
    return [
        found
        for other in others
        for group in groups
        if group
        for found in compare(baseline, other, predictions, group)
    ]
