"""What the comparisons work on."""

import numpy as np
import torch


def pictures(size: int, num_images: int) -> torch.Tensor:
    """Generate smooth pictures with some grain: uint8 [n, 3, size, size]."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (num_images, 3, 6, 6)).astype(np.float32))
    smooth = torch.nn.functional.interpolate(coarse, size=size, mode="bicubic")
    grain = torch.randn(smooth.shape, generator=torch.Generator().manual_seed(0))
    return (smooth + 8 * grain).clamp(0, 255).to(torch.uint8)
