"""Run models over clean and corrupted images, every image of every cell exactly once."""

import copy
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn

from evenkeel import runs
from evenkeel.assess.assessment import (
    Assessment,
    Comparison,
    ImageFacts,
    ModelAssessment,
    model_assessment,
)
from evenkeel.assess.bootstrap import compare
from evenkeel.assess.examination import Examination
from evenkeel.assess.metrics import Outcomes, count_cell, outcomes_of
from evenkeel.assess.options import AssessOptions
from evenkeel.assess.predictions import Predictions, Top
from evenkeel.assess.selection import (
    CLEAN_CELL,
    Block,
    blocks_of,
    check,
    chosen_cells,
    spread_positions,
)
from evenkeel.corruptions import Suite
from evenkeel.data import ImageSet
from evenkeel.images.types import Images
from evenkeel.models import Classifier, autocast_for, resolved_precision
from evenkeel.models.precision import Precision
from evenkeel.runs import Progress, UserError, no_progress

BATCH_SIZE = 500


@dataclass
class Examined:
    """A model under examination and what it has answered so far."""

    network: nn.Module
    device: torch.device
    precision: Precision
    answers: dict[tuple[str, int], list[Outcomes]] = field(default_factory=dict)

    def outcomes(self, cell: tuple[str, int]) -> Outcomes:
        """Join the answers to a cell's blocks."""
        return Outcomes(*map(np.concatenate, zip(*self.answers[cell], strict=True)))


def assess(
    models: Mapping[str, Classifier],
    image_set: ImageSet,
    suite: Suite,
    options: AssessOptions | None = None,
    *,
    progress: Progress = no_progress,
) -> Examination:
    """Examine models on clean images and on every cell of a suite.

    Each corrupted block is made once, for all models, on the CPU while the models are at work on
    the block before it. The models themselves are left as they are.

    Args:
        models: classifiers by name; the first is the baseline of all comparisons.
        image_set: labelled images, as stored; `suite` corrupts the same ones.
        suite: gives the corrupted images, e.g. `generated_suite(image_set.images)`.
        options: which cells, how many images, which precision.
        progress: told how many images all models have seen.

    Raises:
        UserError: unknown corruption, unlabelled images, classes that differ, or a model that
            answers NaN.
    """
    options = options or AssessOptions()
    check(models, image_set)
    cells = [CLEAN_CELL, *chosen_cells(suite, options)]
    positions = spread_positions(len(image_set), options.num_images)
    examined = {name: prepared(model, options) for name, model in models.items()}
    answer_all(examined, image_set, suite, blocks_of(cells, positions), progress)
    chosen = image_set.take(positions)
    facts = ImageFacts(
        num_images=len(chosen), available=len(image_set), classes=tuple(image_set.classes)
    )
    return examination(examined, chosen, suite, cells, facts)


def prepared(model: Classifier, options: AssessOptions) -> Examined:
    """Copy a model into the form in which it answers fastest."""
    device = next(model.parameters()).device
    network = copy.deepcopy(model).eval().requires_grad_(False)
    network.to(memory_format=torch.channels_last)  # pyright: ignore
    return Examined(network, device, resolved_precision(options.precision, device))


def answer_all(
    examined: dict[str, Examined],
    image_set: ImageSet,
    suite: Suite,
    work: list[Block],
    progress: Progress,
) -> None:
    """Let every model answer every block, while a thread makes the next one."""
    total, done = sum(len(block.positions) for block in work), 0
    labels = image_set.labels

    def make(block: Block) -> dict[str, Images]:
        images = images_of(block, image_set, suite)
        return {name: test_view(model, images) for name, model in examined.items()}

    with ThreadPoolExecutor(1, thread_name_prefix="next-block") as ahead:
        upcoming = ahead.submit(make, work[0])
        for place, block in enumerate(work):
            views = upcoming.result()
            if place + 1 < len(work):
                upcoming = ahead.submit(make, work[place + 1])
            for name, model in examined.items():
                answer = answers(model, views[name], labels[block.positions])
                if not np.isfinite(answer.negative_log_likelihoods).all():
                    raise UserError(
                        f"{name} answers NaN or infinity on {block.cell[0]}: its training "
                        "diverged;\ntrain it again with a lower learning rate"
                    )
                model.answers.setdefault(block.cell, []).append(answer)
            done += len(block.positions)
            progress("assess", done, total)


def images_of(block: Block, image_set: ImageSet, suite: Suite) -> Images:
    """Give a block's images: one call of the suite for each run of neighbours."""
    if block.cell == CLEAN_CELL:
        return image_set.images[torch.from_numpy(block.positions)]
    breaks = np.flatnonzero(np.diff(block.positions) != 1) + 1
    stretches = np.split(block.positions, breaks)
    return torch.cat([suite.images(*block.cell, int(s[0]), int(s[-1]) + 1) for s in stretches])


def test_view(model: Examined, images: Images) -> Images:
    """Bring images to the model's input size, in memory that its device reads fast."""
    view: Tensor = model.network.test_view(images)  # pyright: ignore
    return view.pin_memory() if model.device.type == "cuda" else view


@torch.inference_mode()
def answers(model: Examined, views: Images, labels: Tensor) -> Outcomes:
    """Run one block through a model; the device is waited for once."""
    parts = []
    autocast = autocast_for(model.precision, model.device)
    for batch, target in zip(views.split(BATCH_SIZE), labels.split(BATCH_SIZE), strict=True):
        with autocast:
            logits = model.network(batch.to(model.device, non_blocking=True))
        parts.append(outcomes_of(logits.float(), target.to(model.device, non_blocking=True)))
    return Outcomes(*(torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)))


def examination(
    examined: dict[str, Examined],
    chosen: ImageSet,
    suite: Suite,
    cells: list[tuple[str, int]],
    facts: ImageFacts,
) -> Examination:
    """Count, summarise and compare what the models have answered."""
    labels = chosen.labels.numpy()
    counted = {name: counted_model(model, cells, labels) for name, model in examined.items()}
    predictions = {
        name: predictions_of(model, cells, chosen.index.numpy(), labels)
        for name, model in examined.items()
    }
    assessment = Assessment(
        evenkeel=str(runs.version("evenkeel")),
        suite=suite.name,
        suite_facts=suite.describe(),
        images=facts,
        precision={name: model.precision for name, model in examined.items()},
        facts={},
        models=counted,
        comparisons=tuple(comparisons(counted, predictions)),
    )
    return Examination(assessment, predictions)


def counted_model(
    model: Examined, cells: list[tuple[str, int]], labels: Int64[np.ndarray, " n"]
) -> ModelAssessment:
    """Count one model's cells."""
    own = model.outcomes(CLEAN_CELL).classes[:, 0]
    counted = [count_cell(*cell, model.outcomes(cell), labels, own) for cell in cells]
    return model_assessment(counted[0], counted[1:])


def predictions_of(
    model: Examined,
    cells: list[tuple[str, int]],
    index: Int64[np.ndarray, " n"],
    labels: Int64[np.ndarray, " n"],
) -> Predictions:
    """Keep what the intervals and the examples are made of, in ascending order of index."""
    order = np.argsort(index, kind="stable")

    def top(cell: tuple[str, int]) -> Top:
        outcomes = model.outcomes(cell)
        return Top(
            outcomes.classes[order].astype(np.int16),
            outcomes.confidences[order].astype(np.float16),
        )

    kept = {cell: top(cell) for cell in cells[1:]}
    return Predictions(index[order], labels[order], top(CLEAN_CELL), kept)


def comparisons(
    models: dict[str, ModelAssessment], predictions: dict[str, Predictions]
) -> list[Comparison]:
    """Compare every other model with the first, in each summary that has a value."""
    baseline, *others = models
    names = [name for name, value in models[baseline].summary.items() if value is not None]
    return [found for other in others for found in compare(baseline, other, predictions, names)]
