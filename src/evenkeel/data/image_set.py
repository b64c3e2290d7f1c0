"""Images in memory with their labels, and the three parts that a data set is divided into."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from evenkeel.images.types import Images, Labels


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one size; everything per image stands at the same position."""

    images: Images
    labels: Labels  # -1 = unlabelled
    classes: tuple[str, ...]
    index: Int64[Tensor, " n"]  # stays with an image whatever subset it is in

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4 or self.images.shape[1] != 3:
            raise ValueError(
                f"images must be uint8 [n, 3, h, w], got {self.images.dtype} "
                f"{list(self.images.shape)}; convert to RGB 0..255 first"
            )
        if not len(self.images) == len(self.labels) == len(self.index):
            raise ValueError(
                f"{len(self.images)} images, {len(self.labels)} labels and {len(self.index)} "
                "indices: give one of each per image"
            )
        if len(self) and not -1 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise ValueError(
                f"labels must be -1 (unlabelled) or 0..{len(self.classes) - 1}, got "
                f"{self.labels.min()}..{self.labels.max()}; name every class in `classes`"
            )

    def __len__(self) -> int:
        return len(self.images)

    def take(self, positions: Tensor | np.ndarray | Sequence[int]) -> "ImageSet":
        """Give the images at these positions, in this order."""
        chosen = torch.as_tensor(positions, dtype=torch.int64)
        return ImageSet(self.images[chosen], self.labels[chosen], self.classes, self.index[chosen])


class Splits(NamedTuple):
    """Training, validation (to choose by) and test images (looked at by `assess` alone)."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet
