"""The noise of the noisy view, a chain of noise kinds, and its overlap with corruptions."""

import importlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from ruggedize.core.errors import UserError
from ruggedize.core.seeding import stream_key
from ruggedize.kernels.types import Images
from ruggedize.views.noise_options import CustomNoise
from ruggedize.views.options import NoiseOptions, OneOfOptions, members
from ruggedize.views.partners import Partners

KINDS = "ruggedize.views.kinds"


def apply_noise(
    images: Images,
    index: np.ndarray,
    chain: Sequence[NoiseOptions],
    seed: int,
    epoch: int,
    partners: Partners | None = None,
) -> Images:
    """Apply a chain of noise to views; each link's draws depend on its position and kind."""
    for place, options in enumerate(chain):
        source = np.ascontiguousarray(images.numpy())
        out = np.empty_like(source)
        apply_link(source, out, index, link_stream(place, options, seed, epoch), options, partners)
        images = torch.from_numpy(out)
    return images


def link_stream(place: int, options: NoiseOptions, seed: int, epoch: int) -> np.uint64:
    """Return the random stream of a link of the chain."""
    return stream_key(seed, f"noise-{place}-{name_of(options)}", epoch)


def apply_link(
    images: np.ndarray,
    out: np.ndarray,
    index: np.ndarray,
    stream: np.uint64,
    options: NoiseOptions,
    partners: Partners | None,
) -> None:
    """Apply one link of a chain to contiguous images, uint8 `[n, 3, h, w]`.

    Raises:
        UserError: the kind mixes images, and there are none to mix with.
    """
    if isinstance(options, CustomNoise):
        options.apply(images, out, index, stream)
    elif isinstance(options, OneOfOptions):
        module_of(options).apply(images, out, index, stream, options, partners)
    elif options.mixes == "nothing":
        module_of(options).apply(images, out, index, stream, options)
    elif partners is None:
        raise UserError(
            f"{options.kind} needs partners, images to mix with;\n"
            "pass ViewMaker(..., partners=choose_partners(image_set, views, seed))"
        )
    else:
        module_of(options).apply(images, out, index, stream, options, partners)


def member_stream(stream: np.uint64, options: OneOfOptions, number: int) -> np.uint64:
    """Return the random stream of one of the kinds that a `one_of` draws from."""
    return stream_key(int(stream), f"{number}-{name_of(options.one_of[number])}")


def name_of(options: NoiseOptions) -> str:
    """Return the name of a link, on which its draws depend."""
    return options.name if isinstance(options, CustomNoise) else options.kind


def module_of(options: NoiseOptions) -> Any:
    """Return the module in `views.kinds` that is named after the kind."""
    return importlib.import_module(f"{KINDS}.{options.kind}")


def overlaps(
    chain: Iterable[NoiseOptions], corruptions: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """Return which of these corruptions each noise overlaps, such as "randaugment Color": saturate.

    Noise without overlap is omitted.

    Source: Hendrycks et al. 2020 (AugMix) exclude contrast, color, brightness, sharpness and all
    additive noise from their operations because they overlap the benchmark.
    """
    present = tuple(corruptions)
    found: dict[str, tuple[str, ...]] = {}
    for options in (member for link in chain for member in members(link)):
        is_custom = isinstance(options, CustomNoise)
        overlapping = options.overlaps() if is_custom else module_of(options).overlaps(options)
        for name, names in overlapping.items():
            if common := tuple(corruption for corruption in present if corruption in names):
                found[name] = common
    return found
