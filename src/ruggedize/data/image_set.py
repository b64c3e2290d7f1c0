"""Images with their labels, and the three parts that a data set is divided into."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from ruggedize.data.streaming import StreamedImages
from ruggedize.images.types import Images, Labels

Positions = Tensor | np.ndarray | Sequence[int]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one size, in memory or streamed; everything per image stands at one position."""

    images: Images | StreamedImages
    labels: Labels  # -1 = unlabelled
    classes: tuple[str, ...]
    index: Int64[Tensor, " n"]  # stays with an image whatever subset it is in
    left_out: tuple[str, ...] = ()  # bad files of the part of a folder that this comes from

    def __post_init__(self) -> None:
        if isinstance(self.images, Tensor):
            refuse_other_than_rgb(self.images)
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

    @property
    def is_streamed(self) -> bool:
        """Tell whether the images stay in their files."""
        return isinstance(self.images, StreamedImages)

    @property
    def image_size(self) -> int:
        """Give the width of the stored images in pixels."""
        return self.images.shape[-1]

    def take(self, positions: Positions) -> "ImageSet":
        """Give the images at these positions, in this order, in memory."""
        chosen = torch.as_tensor(positions, dtype=torch.int64)
        return self.with_images(chosen, self.images[chosen])

    def select(self, positions: Positions) -> "ImageSet":
        """Give the images at these positions, in this order, streamed if the whole set is."""
        chosen = torch.as_tensor(positions, dtype=torch.int64)
        if isinstance(self.images, StreamedImages):
            return self.with_images(chosen, self.images.select(chosen))
        return self.take(chosen)

    def batches(self, positions: Sequence[np.ndarray]) -> Iterator["ImageSet"]:
        """Give the images at one sequence of positions after the other, in memory.

        Streamed images are decoded ahead of time in worker processes.
        """
        if isinstance(self.images, StreamedImages):
            parts = zip(positions, self.images.batches(positions), strict=True)
            return (self.with_images(torch.from_numpy(p), images) for p, images in parts)
        return (self.take(part) for part in positions)

    def with_images(self, chosen: Tensor, images: Images | StreamedImages) -> "ImageSet":
        """Give these images what else belongs to their positions."""
        labels, index = self.labels[chosen], self.index[chosen]
        return ImageSet(images, labels, self.classes, index, self.left_out)


def refuse_other_than_rgb(images: Tensor) -> None:
    """Refuse what is not a batch of uint8 RGB images."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"images must be uint8 [n, 3, h, w], got {images.dtype} {list(images.shape)}; "
            "convert to RGB 0..255 first"
        )


class Splits(NamedTuple):
    """Training, validation (to choose by) and test images (looked at by `assess` alone)."""

    train: ImageSet
    validation: ImageSet
    test: ImageSet

    @property
    def left_out(self) -> list[str]:
        """Name the files of a folder that could not be decoded and were left out."""
        return sorted({name for part in self for name in part.left_out})
