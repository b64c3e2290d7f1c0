"""Measure the kinds of noise at 32 pixels: `python -m benchmarks.noise_kinds` prints images/s."""

import time
from typing import Any

import numpy as np
import torch

from ruggedize.views import Partners, ViewOptions, apply_noise

NUM_IMAGES, NUM_ROUNDS = 8192, 7
GOALS = {"augmix": 60_000, "amplitude_mix": 20_000}  # on two cores; of the others: 100,000
KINDS: tuple[dict[str, Any], ...] = (
    {"kind": "randaugment"},
    {"kind": "trivialaugment"},
    {"kind": "augmix"},
    {"kind": "random_erasing"},
    {"kind": "additive_noise"},
    {"kind": "lp_noise", "norm": "linf"},
    {"kind": "lp_noise", "norm": "l2"},
    {"kind": "lp_noise", "norm": "l1"},
    {"kind": "patch_noise"},
    {"kind": "spectral_filter"},
    {"kind": "amplitude_mix", "probability": 1.0},
    {"kind": "cutmix", "probability": 1.0},
    {"kind": "mixup"},
)


def main() -> None:
    """Print the median speed of each kind and its goal."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (NUM_IMAGES, 3, 32, 32), dtype=torch.uint8, generator=generator)
    partners = Partners(images[:1024], torch.arange(1024) % 10, 10)
    for kind in KINDS:
        speed = NUM_IMAGES / np.median(seconds(kind, images, partners))
        goal = GOALS.get(kind["kind"], 100_000)
        print(f"{' '.join(map(str, kind.values())):24} {speed:10,.0f} images/s (goal {goal:,})")


def seconds(kind: dict[str, Any], images: torch.Tensor, partners: Partners) -> list[float]:
    """Return the duration of each round, after one that compiles the kernels."""
    chain, index = ViewOptions.model_validate({"noise": [kind]}).noise, np.arange(NUM_IMAGES)
    durations = []
    for epoch in range(NUM_ROUNDS + 1):
        started = time.perf_counter()
        apply_noise(images, index, chain, 0, epoch, partners)
        durations.append(time.perf_counter() - started)
    return durations[1:]


if __name__ == "__main__":
    main()
