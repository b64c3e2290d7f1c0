"""Small real objects to assess: classifiers of brightness and a suite that darkens or inverts."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import nn

from ruggedize.assess import (
    AssessmentFacts,
    AssessOptions,
    assess,
    save_assessment,
    save_examples,
)
from ruggedize.core import files
from ruggedize.core.environment import environment
from ruggedize.corruptions import Unpaired
from ruggedize.data import ImageSet
from ruggedize.models import Classifier, ResNet9Options

FP32 = AssessOptions(precision="fp32")
CLASSES = ("<b>dark</b>", "dim & grey", "bright", "glaring")


class TinyClassifier(Classifier):
    """Classify images by their mean brightness; `weight` and `bias` may be off."""

    def __init__(self, sharpness: float = 40.0, bias: float = 0.0) -> None:
        super().__init__(
            nn.Identity(),
            architecture=ResNet9Options(),
            classes=CLASSES,
            image_size=8,
            input_size=8,
        )
        self.centres = nn.Parameter(torch.tensor([0.125, 0.375, 0.625, 0.875]) + bias)
        self.sharpness = sharpness
        self.norm = nn.BatchNorm1d(1)  # answers differ if it were run in train mode

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        brightness = self.norm((images.float() / 255).mean((1, 2, 3))[:, None])
        return -self.sharpness * (brightness - self.centres).abs()


@dataclass
class TinySuite:
    """Darkens, brightens or adds a pattern; keeps a record of what it was asked for."""

    clean: torch.Tensor
    corruptions: tuple[str, ...] = ("gaussian_noise", "brightness", "contrast")
    name: str = "tiny"
    unpaired: Unpaired | None = None
    asked: list[tuple[str, int, tuple[int, ...]]] = field(default_factory=list)

    def describe(self) -> dict[str, str]:
        return {"preset": "tiny", "frost.textures": "none"}

    def images(self, corruption: str, severity: int, start: int, stop: int) -> torch.Tensor:
        return self.images_at(corruption, severity, torch.arange(start, stop))

    def images_at(self, corruption: str, severity: int, positions: torch.Tensor) -> torch.Tensor:
        self.asked.append((corruption, severity, tuple(positions.tolist())))
        block = self.clean[positions].int()
        amount = 9 * severity
        changes = {"gaussian_noise": -amount, "brightness": amount}
        if corruption in changes:
            return (block + changes[corruption]).clamp(0, 255).to(torch.uint8)
        return (128 + (block - 128) * (6 - severity) // 6).to(torch.uint8)


def tiny_images(n: int = 120, seed: int = 0) -> ImageSet:
    """Make flat images of random brightness, labelled by it."""
    level = torch.randint(0, 256, (n,), generator=torch.Generator().manual_seed(seed))
    images = level.to(torch.uint8)[:, None, None, None].expand(n, 3, 8, 8).contiguous()
    return ImageSet(images, level // 64, CLASSES, torch.arange(n) + 1000)


def tiny_models(seed: int = 0) -> dict[str, TinyClassifier]:
    """Return a teacher that is off towards the dark, and a student that is less so."""
    return {
        "teacher": TinyClassifier(bias=0.06 + 0.02 * seed),
        "student": TinyClassifier(bias=0.02 + 0.005 * seed),
    }


def tiny_run(
    folder: Path,
    seed: int = 0,
    *,
    options: AssessOptions = FP32,
    models: tuple[str, ...] = ("teacher", "student"),
    epochs: int = 4,
) -> Path:
    """Make a run folder with all that a run leaves, assessed for real on tiny models."""
    image_set = tiny_images()
    suite = TinySuite(image_set.images)
    chosen = {name: model for name, model in tiny_models(seed).items() if name in models}
    result = assess(chosen, image_set, suite, options)
    pictures = save_examples(result, image_set, suite, folder / "examples")
    facts = AssessmentFacts(
        overlaps={"randaugment Brightness": ("brightness",)},
        examples=tuple(path.name for path in pictures),
    )
    save_assessment(result, folder, facts)
    recipe = f'seed = {seed}\n\n[data]\nname = "<script>alert(1)</script>"\nroot = "/{seed}"\n'
    files.write_atomically(folder / "recipe.toml", recipe.encode())
    files.write_json(folder / "environment.json", environment())
    Image.new("RGB", (300, 120), "steelblue").save(folder / "views.png")
    for name in models:
        rows = [metrics_row(epoch, guided=name == "student") for epoch in range(1, epochs + 1)]
        files.write_lines(folder / name / "metrics.jsonl", rows)
    return folder


def metrics_row(epoch: int, *, guided: bool) -> dict[str, Any]:
    """Make one epoch's row of `metrics.jsonl` as the training writes it."""
    accuracy = 1 - 0.7 / epoch
    row = {
        "epoch": epoch,
        "steps": 10 * epoch,
        "loss": 2.0 / epoch,
        "accuracy": accuracy,
        "validation": {
            "raw": {"loss": 2.1 / epoch, "accuracy": accuracy - 0.02},
            "averaged": {"loss": 2.0 / epoch, "accuracy": accuracy} if epoch > 1 else None,
        },
        "lr": 0.1,
        "student_entropy": 1.4 / epoch,
        "images_per_second": 900.0,
        "seconds": 3.0,
    }
    guidance = {"cross_entropy": 1.9, "consistency": 0.4, "teacher_entropy": 0.3, "agreement": 0.8}
    return row | guidance if guided else row
