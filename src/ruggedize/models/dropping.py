"""Dropout and stochastic depth whose masks depend on the step and the image only.

Every mask is a hash of the step's key, the pixels of the image and the layer's number, so it does
not depend on the batch, the micro-batch or the process that the image is in (docs/decisions/0011).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ruggedize.kernels.draws import GOLDEN

Rows = Int64[Tensor, " n"]  # one key per image
NUM_STEPS = 1 << 16  # a dropout rate is rounded to a multiple of 1 / NUM_STEPS
VALUES_PER_HASH = 4
UNIT = 2.0**-53
PLACE_BITS = 23  # so that the sum over the pixels of an image cannot overflow


class RowKeys(nn.Module):
    """Hash of each image's pixels with the step's key; see `keyed_rows`."""

    def __init__(self) -> None:
        super().__init__()
        self.step_key: Tensor | None = None  # int64 scalar; None outside of training steps

    def forward(self, images: Float[Tensor, "n c h w"]) -> Rows:
        """Return one key per image."""
        pixels = (images.detach().flatten(1) * 255).round().long()
        places = torch.arange(1, pixels.shape[1] + 1, device=pixels.device)
        sums = (pixels * shifted(mixed(places), 64 - PLACE_BITS)).sum(1)
        return mixed(sums if self.step_key is None else mixed(sums) ^ self.step_key)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the step's key, so that a copy does not depend on when it was made."""
        return {**self.__dict__, "step_key": None}


@contextmanager
def keyed_rows(network: nn.Module, key: int) -> Iterator[None]:
    """Key the masks of a network by an unsigned 64-bit number within the `with` block."""
    layers = [module for module in network.modules() if isinstance(module, RowKeys)]
    for layer in layers:
        device = next(network.parameters()).device
        layer.step_key = torch.full((), signed(key), dtype=torch.int64, device=device)
    try:
        yield
    finally:
        for layer in layers:
            layer.step_key = None


def drop_branches(
    branch: Float[Tensor, "n c h w"], rows: Rows, number: int, rate: float
) -> Float[Tensor, "n c h w"]:
    """Set the branch of some images to zero and scale the others, so that the mean is unchanged.

    Source: Huang et al. 2016, "Deep networks with stochastic depth".
    Deviation: the branches are scaled in training instead of afterwards.
    """
    uniform = shifted(mixed(layer_keys(rows, number)), 11).double() * UNIT
    factors = (uniform >= rate) / (1 - rate)
    return branch * factors.to(branch.dtype)[:, None, None, None]


def drop_values(
    features: Float[Tensor, "n c h w"], rows: Rows, number: int, rate: float
) -> Float[Tensor, "n c h w"]:
    """Set some values to zero and scale the others, so that the mean is unchanged.

    Source: Srivastava et al. 2014, "Dropout". One hash decides about four values.
    """
    n, channels, height, width = features.shape
    size, dropped = channels * height * width, round(rate * NUM_STEPS)
    counters = torch.arange(1, 1 + -(-size // VALUES_PER_HASH), device=rows.device)
    words = mixed(layer_keys(rows, number)[:, None] + counters * signed(int(GOLDEN)))
    kept = words.view(torch.int16)[:, :size] >= dropped - NUM_STEPS // 2
    mask = kept.reshape(n, height, width, channels).permute(0, 3, 1, 2)
    return features * (mask * (NUM_STEPS / (NUM_STEPS - dropped))).to(features.dtype)


def layer_keys(rows: Rows, number: int) -> Rows:
    """Return the key of each image in a layer."""
    return mixed(rows + signed(((number + 1) * int(GOLDEN)) % (1 << 64)))


def mixed(values: Int64[Tensor, "..."]) -> Int64[Tensor, "..."]:
    """Hash 64 bits, as `kernels.draws.mix64` does."""
    values = (values ^ shifted(values, 30)) * signed(0xBF58476D1CE4E5B9)
    values = (values ^ shifted(values, 27)) * signed(0x94D049BB133111EB)
    return values ^ shifted(values, 31)


def shifted(values: Int64[Tensor, "..."], number: int) -> Int64[Tensor, "..."]:
    """Shift bits to the right and fill with zeros."""
    return (values >> number) & ((1 << (64 - number)) - 1)


def signed(value: int) -> int:
    """Return the signed 64-bit number with the bits of an unsigned one."""
    return value - (1 << 64) if value >> 63 else value
