"""Tiny real trainings for the tests: a small net on generated images."""

from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from ruggedize.data import ImageSet
from ruggedize.models import build
from ruggedize.runs import no_progress
from ruggedize.training.job import Job
from ruggedize.training.objectives import Pair, supervised
from ruggedize.training.options import TrainingOptions
from ruggedize.training.precision import training_precision
from ruggedize.views import ViewMaker, ViewOptions

CLASSES = ("dark", "light", "red")
NUM_IMAGES = 64


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


def tiny_job(
    folder: Path, weights_seed: int = 1, accelerator: Accelerator | None = None, **changes: object
) -> Job:
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

    return Job(
        name="teacher",
        model=build(options.model, CLASSES, 16, 16, weights_seed),
        objective=supervised(options.label_smoothing),
        make_pair=lambda part, epoch: Pair(
            maker.clean(part.images, part.index, epoch), None, part.labels
        ),
        refresh_views=lambda part: maker.clean(part.images, part.index, 0),
        train=train,
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
