"""The noise of the noisy view, a chain of noise kinds, and its overlap with corruptions."""

import importlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from ruggedize.core.seeding import stream_key
from ruggedize.kernels.types import Images
from ruggedize.views.options import CustomNoise, NoiseOptions

KINDS = "ruggedize.views.kinds"


def apply_noise(
    images: Images, index: np.ndarray, chain: Sequence[NoiseOptions], seed: int, epoch: int
) -> Images:
    """Apply a chain of noise to views; each link's draws depend on its position and kind."""
    for place, options in enumerate(chain):
        name = options.name if isinstance(options, CustomNoise) else options.kind
        stream = stream_key(seed, f"noise-{place}-{name}", epoch)
        source = np.ascontiguousarray(images.numpy())
        out = np.empty_like(source)
        if isinstance(options, CustomNoise):
            options.apply(source, out, index, stream)
        else:
            module_of(options).apply(source, out, index, stream, options)
        images = torch.from_numpy(out)
    return images


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
    for options in chain:
        is_custom = isinstance(options, CustomNoise)
        overlapping = options.overlaps() if is_custom else module_of(options).overlaps(options)
        for name, names in overlapping.items():
            if common := tuple(corruption for corruption in present if corruption in names):
                found[name] = common
    return found
