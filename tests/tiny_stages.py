"""Tiny real trainings for the tests: a small net on generated images."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from ruggedize.core.progress import no_progress
from ruggedize.data import ImageBatch, ImageSet, Splits
from ruggedize.models import create_model
from ruggedize.train.distributed import training_precision
from ruggedize.train.objectives.objective import Batch, Context, Objective, Term, make_objective
from ruggedize.train.options import TrainingOptions
from ruggedize.train.preflight import check_stage
from ruggedize.train.stage import Stage
from ruggedize.views import ViewMaker, ViewOptions

Terms = Mapping[str, Term]
CLASSES = ("dark", "light", "red")
NUM_IMAGES = 64
NUM_UNLABELLED = 90


def three_colours(n: int, seed: int) -> ImageSet:
    """Generate images that a small net can learn to tell apart: dark, light and red."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % len(CLASSES)
    middles = np.array([[60, 60, 60], [180, 180, 180], [180, 60, 60]])[labels]
    pixels = rng.normal(middles[:, :, None, None], 40, (n, 3, 16, 16)).clip(0, 255)
    return ImageSet(
        torch.from_numpy(pixels.astype(np.uint8)),
        torch.from_numpy(labels),
        CLASSES,
        torch.arange(n),
    )


def without_labels(images: ImageSet) -> ImageSet:
    """Put the labels of a set aside."""
    hidden = torch.full_like(images.labels, -1)
    return dataclasses.replace(images, labels=hidden, hidden_labels=images.labels)


def tiny_stage(
    folder: Path, weights_seed: int = 1, accelerator: Accelerator | None = None, **changes: object
) -> Stage:
    """Build a training of four steps an epoch, float32, whose options can be changed."""
    accelerator = accelerator or Accelerator(cpu=True)
    options = TrainingOptions.model_validate(
        {
            "model": {"name": "resnet9", "width": 8},
            "epochs": 5,
            "batch_size": 16,
            "optimiser": {"kind": "sgd", "lr": 0.05},
            "schedule": "one-cycle",
            "averaging": {"kind": "ema", "decay": 0.9},
            "precision": "fp32",
        }
        | changes
    )
    train = three_colours(NUM_IMAGES, 0)
    views = ViewOptions(pad=2)
    maker = ViewMaker(views, image_size=16, seed=3)
    model = create_model(options.model, CLASSES, 16, 16, weights_seed)
    teachers = {}
    if options.objective.uses_teacher:
        teacher = create_model(options.model, CLASSES, 16, 16, seed=7)
        teachers = {"first": teacher.eval().requires_grad_(False)}
    context = Context(
        name="teacher",
        model=model,
        maker=maker,
        views=options.views,
        teachers=teachers,
        train=train,
        unlabelled=without_labels(three_colours(NUM_UNLABELLED, 2)),
        precision="fp32",
        accelerator=accelerator,
        progress=no_progress,
    )
    objective = make_objective(options.objective, context)
    sources = {"labelled": train, "unlabelled": context.unlabelled}
    return Stage(
        name="teacher",
        model=model,
        objective=objective,
        refresher=maker,
        sources={name: sources[name] for name in objective.sources if sources[name] is not None},
        validation=three_colours(30, 1),
        options=options,
        views=views,
        seed=0,
        precision=training_precision(options, folder, accelerator),
        folder=folder,
        parents={},
        accelerator=accelerator,
        progress=no_progress,
    )


def checked(stage: Stage) -> None:
    """Run the checks that `train_stage` makes before it builds a stage."""
    others = stage.sources.get("unlabelled")
    data = Splits(stage.train, stage.validation, stage.validation, unlabelled=others)
    check_stage(stage.name, stage.options, data, stage.views, stage.accelerator)


class Altered:
    """An objective whose loss passes through a function of the test's."""

    def __init__(self, inner: Objective, change: Callable[[Terms, Batch], Terms]) -> None:
        self.inner, self.change = inner, change
        self.sources, self.sees = inner.sources, inner.sees

    def batch(self, images: Mapping[str, ImageBatch], epoch: int, step: int) -> Batch:
        return self.inner.batch(images, epoch, step)

    def loss(self, model: nn.Module, batch: Batch) -> Terms:
        return self.change(self.inner.loss(model, batch), batch)


def altered(stage: Stage, change: Callable[[Terms, Batch], Terms]) -> Stage:
    """Return the training with a changed loss."""
    return dataclasses.replace(stage, objective=Altered(stage.objective, change))


def times(terms: Terms, factor: float) -> Terms:
    """Multiply every term."""
    return {name: term._replace(total=term.total * factor) for name, term in terms.items()}


def num_images(batch: Batch) -> int:
    """Count the labelled images of a batch or micro-batch."""
    return len(batch["labelled"]["labels"])
