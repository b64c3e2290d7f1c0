"""Networks between the start and the end of a training, and their accuracy on validation images."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from ruggedize.core import seeding
from ruggedize.core.progress import Progress
from ruggedize.corruptions import EXTRA, SEVERITIES, generated_suite
from ruggedize.data import ImageSet, Splits
from ruggedize.models import Classifier, batch_norms
from ruggedize.train.api import view_maker
from ruggedize.train.average import even_batches, refresh_batch_norm
from ruggedize.train.distributed import sum_over_processes
from ruggedize.train.epochs import REFRESH_IMAGES
from ruggedize.train.fine_tuning.corrupted import corrupted_set
from ruggedize.train.fine_tuning.options import InterpolationOptions
from ruggedize.train.options import TrainingOptions
from ruggedize.train.validate import outcomes, score
from ruggedize.views import ViewOptions, choose_partners


@dataclass(frozen=True, kw_only=True)
class Interpolation:
    """Two networks of the same layout, and the images to compare weights between them on."""

    name: str
    options: InterpolationOptions
    training: TrainingOptions  # of the end
    start: Mapping[str, Tensor]
    end: Classifier
    data: Splits
    compared: ImageSet  # labelled validation images
    views: ViewOptions
    seed: int
    folder: Path
    accelerator: Accelerator
    progress: Progress
    facts: dict[str, Any]

    @property
    def sees(self) -> str:
        """The views that batch-norm statistics are refreshed on: those of the training."""
        return self.training.views or self.training.objective.sees


def between(stage: Interpolation, alpha: float, autocast: torch.autocast) -> Classifier:
    """Return the network with weights (1 - alpha) start + alpha end.

    For 0 < alpha < 1, batch-norm statistics are refreshed, because those of the ends do not fit.

    Source: Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", equation 1.
    """
    model = copy.deepcopy(stage.end)
    device = stage.accelerator.device
    with torch.no_grad():
        for name, weight in model.network.state_dict().items():
            if weight.is_floating_point():
                weight.copy_(torch.lerp(stage.start[name].to(device), weight, alpha))
            elif alpha == 0:
                weight.copy_(stage.start[name])
    if 0 < alpha < 1 and batch_norms(model):
        refresh(stage, model, autocast)
    return model


def refresh(stage: Interpolation, model: Classifier, autocast: torch.autocast) -> None:
    """Recompute batch-norm statistics on training images, the same ones for every alpha."""
    train, accelerator = stage.data.train, stage.accelerator
    purpose = f"{stage.name}/refresh"
    order = seeding.generator(stage.seed, purpose).permutation(len(train))[:REFRESH_IMAGES]
    batches = even_batches(order, stage.training.batch_size, 2)
    partners = choose_partners(train, stage.views, stage.seed)
    maker = view_maker(stage.views, train.image_size, stage.seed, purpose)
    maker = replace(maker, partners=partners)
    view = maker.clean if stage.sees == "clean" else maker.noisy
    mine = train.batches(batches[accelerator.process_index :: accelerator.num_processes])
    views = (view(batch.images, batch.index, 0).to(accelerator.device) for batch in mine)
    refresh_batch_norm(model, views, autocast, sum_over_processes(accelerator))


def accuracies(
    stage: Interpolation, model: Classifier, autocast: torch.autocast, place: int
) -> dict[str, Any]:
    """Return the accuracy on clean validation images, on corrupted ones, and by corruption."""
    cells = [(name, severity) for name in EXTRA for severity in SEVERITIES]
    task, total = f"{stage.name} alphas", len(stage.options.alphas) * (1 + len(cells))
    seed = int(seeding.stream_key(stage.seed, f"{stage.name}/corruptions"))
    suite = generated_suite(stage.compared.images, seed=seed, preset=stage.facts["preset"])

    def accuracy(images: ImageSet) -> float:
        found = outcomes(model, images, model, autocast, stage.accelerator)
        return score(found, stage.accelerator).accuracy

    clean = accuracy(stage.compared)
    found: dict[str, list[float]] = {name: [] for name in EXTRA}
    for number, (name, severity) in enumerate(cells, 2):
        found[name].append(accuracy(corrupted_set(stage.compared, suite, name, severity)))
        stage.progress(task, place * (1 + len(cells)) + number, total)
    means = {name: sum(values) / len(values) for name, values in found.items()}
    return {
        "clean": clean,
        "corrupted": sum(means.values()) / len(means),
        "by_corruption": means,
    }
