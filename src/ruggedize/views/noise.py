"""The noise of the noisy view: a chain of kinds, and what it has in common with the benchmark."""

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
    """Return finished views after the chain; each link's draws belong to its place and kind."""
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
    """Return the module of `views.kinds` that bears the kind's name."""
    return importlib.import_module(f"{KINDS}.{options.kind}")


def overlaps(
    chain: Iterable[NoiseOptions], corruptions: Iterable[str]
) -> dict[str, tuple[str, ...]]:
    """Return which of these corruptions each noise overlaps: "randaugment Color" -> saturate.

    Noise without anything in common with them is left out.

    Source: Hendrycks et al. 2020 (AugMix), who leave contrast, color, brightness and sharpness
    out of their operations, and all noise, because the benchmark has them.
    """
    present = tuple(corruptions)
    found: dict[str, tuple[str, ...]] = {}
    for options in chain:
        own = isinstance(options, CustomNoise)
        shared = options.overlaps() if own else module_of(options).overlaps(options)
        for name, theirs in shared.items():
            if common := tuple(corruption for corruption in present if corruption in theirs):
                found[name] = common
    return found
