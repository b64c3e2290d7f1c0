"""Run models on clean and corrupted images, every image of every cell exactly once."""

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
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
from ruggedize.assess.candidates import (
    Assessable,
    Candidate,
    prepared,
    with_network_in_eval_mode,
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
from ruggedize.assess.metrics import Outcomes, count_cell
from ruggedize.assess.options import AssessOptions
from ruggedize.assess.predictions import Predictions, Rows, Top
from ruggedize.assess.resuming import Unfinished
from ruggedize.assess.running import empty_outcomes, run_models
from ruggedize.assess.saving import AssessmentResult
from ruggedize.assess.sharing import Kept, Shares
from ruggedize.core.environment import version
from ruggedize.core.places import user_path
from ruggedize.core.progress import Progress, no_progress
from ruggedize.corruptions import Suite, generated_suite
from ruggedize.data import ImageSet
from ruggedize.models import Predictor


def assess(  # noqa: PLR0913
    models: Mapping[str, Assessable],
    image_set: ImageSet,
    suite: Suite | None = None,
    options: AssessOptions | None = None,
    *,
    accelerator: Accelerator | None = None,
    resume_for: Path | str | None = None,
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
        resume_for: path of the assessment that will be saved. Progress is saved next to it every
            five minutes and when stopped, and the same call continues from it; `save_assessment`
            removes it. Default: nothing is saved.
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
    work.sort(key=attrgetter("start"))  # all cells of an image are run while it is in memory
    with ExitStack() as left_as_they_were:
        candidates = {}
        for name, model in models.items():
            left_as_they_were.enter_context(with_network_in_eval_mode(model))
            candidates[name] = prepared(name, model, options, image_set)
        warn_of_other_sizes({n: c.inputs for n, c in candidates.items()}, image_set.image_size)
        every = [CLEAN_CELL, *cells]
        kept = {name: empty_outcomes(every, work, len(image_set.classes)) for name in candidates}
        place = None if resume_for is None else user_path(resume_for)
        facts = (models, candidates, image_set, suite, work)
        unfinished = Unfinished(place, request_of(*facts) if place else {}, kept, shares)
        run_models(candidates, unfinished, image_set, suite, work, progress)
    sizes = dict.fromkeys(cells, len((other or clean).positions))
    sizes[CLEAN_CELL] = len(clean.positions)
    outcomes = {name: shares.joined(own, sizes) for name, own in kept.items()}
    found = result_of(outcomes, candidates, suite, clean, other, image_facts(image_set, clean))
    warn_of_guessing(found.assessment, guessing(image_set.classes, (other or clean).labels))
    return found


def image_facts(image_set: ImageSet, clean: Chosen) -> ImageFacts:
    """Return the facts of the test images for the assessment."""
    return ImageFacts(
        num_images=len(clean.positions),
        available=len(image_set),
        classes=tuple(image_set.classes),
        image_size=image_set.image_size,
    )


def request_of(
    models: Mapping[str, Assessable],
    candidates: Mapping[str, Candidate],
    image_set: ImageSet,
    suite: Suite,
    work: list[Block],
) -> dict[str, Any]:
    """Return what the outcomes depend on, except pixels and the weights of other functions."""
    rows = hashlib.sha256()
    for block in work:
        rows.update(f"{block.cell} {block.start}".encode())
        rows.update(block.positions.tobytes() + block.labels.tobytes())
    return {
        "ruggedize": str(version("ruggedize")),
        "suite": [suite.name, suite.describe()],
        "classes": image_set.classes,
        "image_size": image_set.image_size,
        "rows": rows.hexdigest(),
        "models": [
            [name, model.precision, model.inputs.model_dump(), weights_hash(models[name])]
            for name, model in candidates.items()
        ],
    }


def weights_hash(model: Assessable) -> str:
    """Return a hash of a network's weights and buffers; empty for another function."""
    network = model.model if isinstance(model, Predictor) else model
    if not isinstance(network, nn.Module):
        return ""
    found = hashlib.sha256()
    for name, value in network.state_dict().items():
        found.update(name.encode())
        if isinstance(value, Tensor):  # a module may add other values
            found.update(value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


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
