"""Corruption of images, in parallel on the CPU."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int64

from ruggedize.core.seeding import stream_key
from ruggedize.corruptions.catalogue import CORRUPTIONS
from ruggedize.corruptions.corruption import PRESETS, Corruption, Preset
from ruggedize.corruptions.names import SEVERITIES, unknown
from ruggedize.corruptions.options import complete
from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.inputs import Pictures, as_images, whole_number
from ruggedize.kernels.types import Images

# The geometric mean of 32 (for the CIFAR constants) and 224 (for the ImageNet constants).
LARGEST_CIFAR_SIDE = 84
SMALLEST_BLOCK_PIXELS = 8 * 32 * 32  # for smaller blocks, threading costs more than it gains


def corrupt(
    images: Pictures,
    corruption: str | Corruption,
    severity: int,
    *,
    seed: int = 0,
    start: int = 0,
    preset: Preset | Literal["auto"] = "auto",
    options: Mapping[str, str] | None = None,
) -> Images:
    """Return corrupted copies of the images.

    Random values depend only on the seed, the corruption, the severity and the index of the image,
    so the result does not depend on batching.

    Args:
        images: RGB, uint8 `[n, 3, h, w]`, as a tensor on the CPU or a NumPy array; or one or
            several Pillow images of the same size. The result is always a tensor.
        corruption: a name in `CORRUPTIONS`, or a `Corruption` of your own.
        severity: 1 (mild) to 5.
        seed: seed of the random values.
        start: the index of the first image in its data set.
        preset: which constants to use: `cifar`, `imagenet`, `scaled` (`cifar` with lengths scaled
            to the image size), or `auto`, which is `cifar` if the shorter side has at most 84
            pixels, else `imagenet`.
        options: options of this corruption, which are listed in `CORRUPTIONS[name].options`.

    Raises:
        ValueError: a corruption, option or value is unknown, or the images are not uint8 RGB.
        UserError: a file that the corruption needs is missing.
    """
    pixels, start = as_images(images), whole_number(start, "start", 0)
    indices = np.arange(start, start + len(pixels), dtype=np.int64)
    settings = {"seed": seed, "preset": preset, "options": options or {}}
    return corrupt_indexed(pixels, indices, find(corruption), severity, **settings)


def corrupt_indexed(
    images: Images,
    indices: Int64[np.ndarray, " n"],
    row: Corruption,
    severity: int,
    *,
    seed: int,
    preset: Preset | Literal["auto"],
    options: Mapping[str, str],
) -> Images:
    """Corrupt images like `corrupt`, but with arbitrary indices."""
    severity, seed = checked_severity(severity), whole_number(seed, "seed", 0)
    height, width = images.shape[2:]
    chosen = resolve_preset(preset, height, width)
    level = row.level(chosen, severity, min(height, width))
    pixels = images.contiguous().numpy()
    out = torch.empty_like(images, memory_format=torch.contiguous_format)
    prepared = row.prepare(level, height, width, **complete(row.name, row.options, options))
    stream = stream_key(seed, f"corruption/{row.name}/{severity}")

    def work(first: int, stop: int) -> None:
        draws = (stream, indices[first:stop]) if row.random else ()
        row.kernel(pixels[first:stop], out.numpy()[first:stop], *prepared, *draws)

    run_blocks(work, len(images), smallest=max(1, SMALLEST_BLOCK_PIXELS // (height * width)))
    return out


def resolve_preset(preset: Preset | Literal["auto"], height: int, width: int) -> Preset:
    """Resolve `auto` to the preset for images of this size."""
    if preset == "auto":
        return "cifar" if min(height, width) <= LARGEST_CIFAR_SIDE else "imagenet"
    if preset not in PRESETS:
        raise ValueError(
            f"preset must be {', '.join(PRESETS)} or auto, got {preset!r};\nuse 'auto'"
        )
    return preset


def find(corruption: str | Corruption) -> Corruption:
    """Return the corruption with this name, or the argument if it is a `Corruption`.

    Raises:
        ValueError: there is no such corruption; the message suggests the closest name.
    """
    if isinstance(corruption, Corruption):
        return corruption
    if corruption in CORRUPTIONS:
        return CORRUPTIONS[corruption]
    raise ValueError(unknown(corruption))


def checked_severity(severity: int) -> int:
    """Return the severity; raise ValueError unless it is in 1..5."""
    severity = whole_number(severity, "severity", 3)
    if severity not in SEVERITIES:
        raise ValueError(
            f"severity must be in 1..5, got {severity!r};\nfor severity 0, use the clean images"
        )
    return severity
