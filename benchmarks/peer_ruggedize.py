"""Ours: the package's own training, held up between turns by its progress callback."""

import math
import tempfile
from pathlib import Path

import torch

from benchmarks.pictures import pictures
from benchmarks.turns import Turns
from ruggedize import load_recipe, train_student, train_teacher
from ruggedize.core.progress import Progress
from ruggedize.data import ImageSet, Splits
from ruggedize.models import ResNet50V2Options, create_model, save_model
from ruggedize.train import TrainingOptions, distributed
from ruggedize.views import ViewOptions

BATCH_SIZE = 128
SIDE = 72  # of the views
CLASSES = tuple("abcdefghij")
DIFFERENT = 2_000  # pictures; beyond that they are repeated
VALIDATED = 128


def training_step(turns: Turns) -> None:
    """Train a teacher, ResNet50V2, on images that are views already: nothing is flipped or cut."""
    options = load_recipe("keras-example").teacher.model_dump()
    options |= {"averaging": {"kind": "none"}, "deliver": "auto"}
    with tempfile.TemporaryDirectory() as folder:
        train_teacher(
            images(SIDE, turns),
            ViewOptions(flip=False),
            TrainingOptions.model_validate(options),
            folder,
            progress=between_turns(turns),
        )


def student_pipeline(turns: Turns, *, clean_view: str = "drawn") -> None:
    """Train the student of `keras-example`: two views, frozen teacher, student."""
    recipe = load_recipe("keras-example", (f"student.objective.clean_view={clean_view}",))
    with tempfile.TemporaryDirectory() as folder:
        teacher = Path(folder) / "teacher.safetensors"
        save_model(create_model(ResNet50V2Options(), CLASSES, 32, SIDE, seed=1), teacher)
        train_student(
            images(32, turns),
            recipe.views,
            recipe.student,
            teacher,
            Path(folder) / "student",
            progress=between_turns(turns),
        )


def between_turns(turns: Turns) -> Progress:
    """Report each step; no state is saved, which would fall into some turns and not others."""
    distributed.SAVE_SECONDS = math.inf

    def progress(title: str, done: int, total: int) -> None:
        if title.startswith(("teacher", "student")):  # not while the teacher is asked, before all
            turns.step_done(BATCH_SIZE)

    return progress


def images(size: int, turns: Turns) -> Splits:
    """Return as many images as the turns need: no epoch ends within one."""
    n = BATCH_SIZE * (turns.num_steps + 1)
    different = pictures(size, min(n, DIFFERENT))
    train = image_set(different[torch.arange(n) % len(different)])
    few = image_set(different[:VALIDATED])
    return Splits(train, few, few)


def image_set(images: torch.Tensor) -> ImageSet:
    """Return images whose labels take turns."""
    index = torch.arange(len(images))
    return ImageSet(images, index % len(CLASSES), CLASSES, index)
