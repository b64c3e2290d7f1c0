"""Correct uses of the public API: a type checker must not object to any line."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import ruggedize
from ruggedize import (
    CORRUPTIONS,
    Classifier,
    ImageBatch,
    ImageSet,
    Predictor,
    Recipe,
    UserError,
    corrupt,
    generated_suite,
    load_data,
    load_model,
    load_recipe,
    randaugment,
    run,
    train_student,
    train_teacher,
    write_report,
)
from ruggedize.assess import Assessment, AssessOptions, assess
from ruggedize.corruptions import Corruption
from ruggedize.data import Splits
from ruggedize.models import ResNet9Options, create_model
from ruggedize.train import ConsistencyOptions, StudentOptions, TrainingOptions
from ruggedize.views import RandAugmentOptions, ViewOptions


def show(task: str, done: int, total: int) -> None:
    """Take part in a long task."""


def train() -> Classifier:
    recipe: Recipe = load_recipe("demo", ("seed=1",))
    data: Splits = load_data("digits", validation=200, image_size=32)
    teacher: Classifier = train_teacher(
        data, recipe.views, recipe.teacher, "runs/mine/teacher", seed=1, progress=show
    )
    print(teacher.classes)
    return train_student(
        data, recipe.views, recipe.student, Path("teacher/model.safetensors"), Path("student")
    )


def options() -> tuple[TrainingOptions, StudentOptions, ViewOptions]:
    network = ResNet9Options(width=16)
    teacher = TrainingOptions(model=network, epochs=3, batch_size=64)
    student = StudentOptions(
        model=network, objective=ConsistencyOptions(temperature=2.0, consistency_weight=0.5)
    )
    views = ViewOptions(pad=4, geometry="shared", noise=(RandAugmentOptions(magnitude=9),))
    return teacher, student, views


def divide(images: np.ndarray, out: np.ndarray, level: float) -> None:
    out[:] = images / level


def look(images: Tensor, data: Splits, model: Classifier) -> float | None:
    noisy: Tensor = randaugment(images, seed=0, semantics="timm")
    grainy: Tensor = corrupt(noisy, "gaussian_noise", severity=3, seed=0, preset="cifar")
    logits: Tensor = model(grainy)
    labels: Tensor = model.predict(data.test.images[:5]).labels
    print(logits.shape, labels.tolist(), list(CORRUPTIONS))
    suite = generated_suite(data.test.images, options={"frost": {"textures": "procedural"}})
    icy: Tensor = corrupt(images, "frost", 1, options={"textures": "procedural"})
    half = Corruption(name="half", cifar=(1.5, 2.0, 3.0, 4.0, 5.0), kernel=divide)
    dark: Tensor = corrupt(icy, half, severity=3)
    more = generated_suite(dark, extra=(half,), options={})
    print(more.corruptions, half.levels("imagenet"), half.options.get("option"))
    found = assess({"mine": model}, data.test, suite, AssessOptions(severities=(5,)))
    assessment: Assessment = found.assessment
    return assessment.models["mine"].summary["severity5_top1"]


def score(images: Tensor) -> Tensor:
    return images.float().mean((2, 3))


def foreign(network: torch.nn.Module, data: ImageSet) -> Assessment:
    mine = Predictor(
        network, ("a", "b"), input_size=224, resize=256, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
    )
    wrapped = Classifier(network, classes=("a", "b"), input_size=224)
    assess({"mine": network_or(mine)}, data)
    return assess({"mine": mine, "wrapped": wrapped, "function": score}, data).assessment


def network_or(predictor: Predictor) -> Predictor:
    return predictor


def batches(images: Tensor) -> Iterator[ImageBatch]:
    labels = torch.zeros(len(images), dtype=torch.int64)
    own = ImageSet(images, labels, ("a", "b"), torch.arange(len(images)))
    some: ImageBatch = own.take([0, 1])
    half: ImageSet = own.select(torch.arange(len(own) // 2))
    print(len(some), half.image_size)
    return own.batches([torch.arange(4).numpy()])


def whole(folder: Path) -> Path | None:
    try:
        page: Path = run(load_recipe("demo"), folder)
    except UserError as error:
        print(error)
        return None
    write_report([folder], folder / "again.html")
    model = load_model(folder / "student" / "model.safetensors")
    fresh = create_model(ResNet9Options(), model.classes, image_size=32, input_size=32, seed=0)
    print(fresh.input_size, ruggedize.__version__.split("."))
    return page
