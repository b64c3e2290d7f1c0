"""Images per second of each kind of noise at 32 pixels. No peers are measured."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.record import Content, add_group, begun, interleaved, timed
from ruggedize.views import Partners, ViewOptions, apply_noise

NUM_IMAGES = 8192
GROUP = "32 px, all cores"
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


def measure(rounds: int) -> dict[str, Content]:
    """Time every kind on random images."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (NUM_IMAGES, 3, 32, 32), dtype=torch.uint8, generator=generator)
    partners = Partners(images[:1024], torch.arange(1024) % 10, 10)
    content = begun(rounds)
    works = {" ".join(map(str, kind.values())): work_of(kind, images, partners) for kind in KINDS}
    rates = interleaved({name: timed(work) for name, work in works.items()}, rounds)
    add_group(content, GROUP, rates, [])
    return {"noise_kinds": content}


def work_of(kind: dict[str, Any], images: torch.Tensor, partners: Partners) -> Callable[[], int]:
    """Return a function that applies one kind of noise to all images."""
    chain, index = ViewOptions.model_validate({"noise": [kind]}).noise, np.arange(NUM_IMAGES)

    def work() -> int:
        apply_noise(images, index, chain, 0, 0, partners)
        return NUM_IMAGES

    return work
