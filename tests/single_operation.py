"""One operation of RandAugment alone, carried out by the code under test."""

import numpy as np
import torch
from PIL import Image

from ruggedize.views.augment import make_plan, run_plan
from ruggedize.views.operations import Operation

STREAM = np.uint64(11)


def apply(
    images: np.ndarray,
    semantics: str,
    code: int,
    level: float = 0.0,
    interpolation: int | None = None,
) -> np.ndarray:
    """Carry out one operation at one level on every image, as these semantics do it."""
    plan = make_plan(semantics, (Operation("", code, level, level),), num_layers=1)
    plan = plan._replace(probability=1.0)
    if interpolation is not None:
        plan = plan._replace(interpolation=interpolation)
    out = np.empty_like(images)
    run_plan(plan, images, out, np.arange(len(images)), STREAM)
    return out


def to_pil(images: np.ndarray) -> list[Image.Image]:
    """Return planar images as PIL's."""
    return [Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))) for image in images]


def from_pil(images: list[Image.Image]) -> np.ndarray:
    """Return PIL's images as planar ones."""
    return np.stack([np.asarray(image).transpose(2, 0, 1) for image in images])


def pictures(small_images: torch.Tensor, height: int, width: int) -> np.ndarray:
    """Return pictures of a size, and what is hard to treat: noise, few values, one value."""
    rng = np.random.default_rng(height * 1000 + width)
    rows, columns = np.arange(height) * 32 // height, np.arange(width) * 32 // width
    smooth = small_images.numpy()[:12][:, :, rows][..., columns]
    noise = rng.integers(0, 256, (4, 3, height, width), np.uint8)
    dark = rng.integers(0, 40, (2, 3, height, width), np.uint8)
    two_values = np.where(rng.random((2, 3, height, width)) < 0.1, 7, 201).astype(np.uint8)
    steps = [np.full((3, height, width), value, np.uint8) for value in (0, 93, 255)]
    return np.ascontiguousarray(np.concatenate([smooth, noise, dark, two_values, np.stack(steps)]))
