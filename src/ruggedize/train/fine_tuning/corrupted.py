"""A validation set under one corruption, corrupted when its images are read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import SupportsIndex

import torch
from torch import Tensor

from ruggedize.corruptions import Suite
from ruggedize.data import ImageSet


@dataclass(frozen=True)
class CorruptedImages:
    """The images of one cell of a suite; nothing is stored."""

    suite: Suite
    corruption: str
    severity: int
    shape: Sequence[int]

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, which: SupportsIndex | slice | Tensor) -> Tensor:
        positions = torch.arange(len(self))[which]  # pyright: ignore
        found = self.suite.images_at(self.corruption, self.severity, positions.reshape(-1))
        return found[0] if positions.ndim == 0 else found


def corrupted_set(clean: ImageSet, suite: Suite, corruption: str, severity: int) -> ImageSet:
    """Return a set of the same images and labels under a corruption of the suite."""
    images = CorruptedImages(suite, corruption, severity, tuple(clean.images.shape))
    return replace(clean, images=images)
