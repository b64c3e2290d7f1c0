"""Apply a row of the table of corruptions to images, on the CPU's cores."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int64

from ruggedize.core.seeding import stream_key
from ruggedize.corruptions.catalogue import CORRUPTIONS
from ruggedize.corruptions.corruption import Corruption
from ruggedize.corruptions.names import SEVERITIES, unknown
from ruggedize.corruptions.options import complete
from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.types import Images

Preset = Literal["cifar", "imagenet"]

# Half-way, as a ratio, between the 32 pixels of the one set of constants and the 224 of the other.
LARGEST_CIFAR_SIDE = 84
SMALLEST_BLOCK_PIXELS = 8 * 32 * 32  # below this handing over costs more than it gains


def corrupt(
    images: Images,
    corruption: str | Corruption,
    severity: int,
    *,
    seed: int = 0,
    start: int = 0,
    preset: Preset | Literal["auto"] = "auto",
    options: Mapping[str, str] | None = None,
) -> Images:
    """Return the images under one corruption; the input is not changed.

    Random values belong to (seed, corruption, severity, index of the image), so that any
    batching gives the same pixels.

    Args:
        images: RGB, uint8 `[n, 3, h, w]`, on the CPU.
        corruption: one of `CORRUPTIONS` by its name, or a `Corruption` of your own.
        severity: 1 (mild) to 5.
        seed: another seed gives other noise.
        start: the index of the first image in its data set.
        preset: whose constants: `cifar`, `imagenet`, or `auto`: by the image's shorter side,
            `cifar` up to 84 pixels.
        options: of this corruption, as `CORRUPTIONS[name].options` lists them.

    Raises:
        ValueError: an unknown corruption, option or value, or images of another kind.
        UserError: something is missing that the corruption needs.
    """
    check_images(images)
    indices = np.arange(start, start + len(images), dtype=np.int64)
    own = {"seed": seed, "preset": preset, "options": options or {}}
    return corrupt_indexed(images, indices, find(corruption), severity, **own)


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
    """Return images with any indices under one corruption; the options are those of `corrupt`."""
    check_images(images)
    check_severity(severity)
    height, width = images.shape[2:]
    level = row.levels(resolve_preset(preset, height, width))[severity - 1]
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
    """Return whose constants images of this size get."""
    if preset == "auto":
        return "cifar" if min(height, width) <= LARGEST_CIFAR_SIDE else "imagenet"
    if preset not in ("cifar", "imagenet"):
        raise ValueError(f"preset must be cifar, imagenet or auto, got {preset!r}")
    return preset


def find(corruption: str | Corruption) -> Corruption:
    """Return the corruption of a name, or the one given.

    Raises:
        ValueError: there is none of that name; names the nearest one.
    """
    if isinstance(corruption, Corruption):
        return corruption
    if corruption in CORRUPTIONS:
        return CORRUPTIONS[corruption]
    raise ValueError(unknown(corruption))


def check_severity(severity: int) -> None:
    """Reject a severity that does not exist."""
    if severity not in SEVERITIES:
        raise ValueError(
            f"severity must be 1-5, got {severity!r}; for the clean cell use the images themselves"
        )


def check_images(images: Images) -> None:
    """Reject anything but uint8 RGB images on the CPU."""
    if not isinstance(images, torch.Tensor):
        raise ValueError(
            f"images must be a torch.Tensor, got {type(images).__name__}; "
            "for an array [n, 3, h, w] use torch.from_numpy(images)"
        )
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"images must be uint8 [n, 3, h, w], got {images.dtype} {list(images.shape)}; "
            "convert values to 0..255 with .to(torch.uint8) and put the channels second"
        )
    if images.device.type != "cpu":
        raise ValueError(f"images must be on the CPU, got {images.device}; use images.cpu()")
