"""Tiny trainings that start from weights: options, data and interruptions."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator

from ruggedize.data import Splits
from ruggedize.models import Classifier
from ruggedize.train import StageOptions, train_stage
from ruggedize.views import ViewOptions
from tests.foreign import with_timm
from tests.tiny_stages import three_colours

NET = "timm/test_resnet"
VIEWS = ViewOptions(resize=32)


def splits() -> Splits:
    """Return three colours: 64 images to train on, 30 to validate."""
    return Splits(three_colours(64, 0), three_colours(30, 1), three_colours(12, 2))


def options_of(**changes: Any) -> StageOptions:
    """Return options of a short training on the labels."""
    return StageOptions.model_validate(
        {
            "model": NET,
            "objective": "supervised",
            "epochs": 2,
            "batch_size": 16,
            "optimiser": {"kind": "adamw", "lr": 1e-3},
            "precision": "fp32",
        }
        | changes
    )


def train(
    folder: Path, options: StageOptions, progress: Callable[..., None] | None = None, **more: Any
) -> Classifier:
    """Train in this process, on the CPU."""
    with_timm()
    if progress:
        more["progress"] = progress
    name = more.pop("name", "teacher")
    return train_stage(
        name, splits(), VIEWS, options, folder, accelerator=Accelerator(cpu=True), **more
    )


def interrupting(number: int) -> Callable[..., None]:
    """Return a progress callback that interrupts the training at its n-th step."""
    steps = iter(range(1, 10_000))

    def progress(*_: object) -> None:
        if next(steps) == number:
            signal.raise_signal(signal.SIGINT)

    return progress


def assert_resumes_exactly(folder: Path, options: StageOptions, at: int, **more: Any) -> None:
    """Assert that an interrupted and resumed training delivers the bytes of an uninterrupted one.

    `at` is the step of the interruption.
    """
    train(folder / "whole", options, **more)
    with pytest.raises(KeyboardInterrupt):
        train(folder / "parts", options, interrupting(at), **more)
    assert not (folder / "parts" / "model.safetensors").exists()
    train(folder / "parts", options, **more)
    for path in sorted((folder / "whole").glob("*.safetensors")):
        assert path.read_bytes() == (folder / "parts" / path.name).read_bytes(), path.name
