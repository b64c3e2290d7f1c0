"""Images with their labels, and the three parts that a data set is divided into."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ruggedize.data.decode import Fit
from ruggedize.data.digest import DataDigest
from ruggedize.data.streaming import StreamedImages
from ruggedize.kernels.types import Images, ImageSource, Index, Labels

Positions = Tensor | np.ndarray | Sequence[int]


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """Some images of a set: their pixels in memory, labels and indices, in the same order."""

    images: Images
    labels: Labels  # -1 = unlabelled
    index: Index

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of one size, in memory or in files, with their labels, classes and indices.

    `images` is a uint8 tensor `[n, 3, h, w]` or files that are decoded when they are read. `take`
    and `batches` return pixels in memory; `select` returns another set and decodes nothing.

    Raises:
        ValueError: images, labels and indices differ in number, a label names no class, or the
            images are not uint8 RGB.
    """

    images: ImageSource
    labels: Labels  # -1 = unlabelled
    classes: tuple[str, ...]
    index: Index
    fit: Fit = "crop"  # how images of other shapes were made square
    left_out: tuple[str, ...] = ()  # bad files of the part of a folder that this comes from

    def __post_init__(self) -> None:
        if isinstance(self.images, Tensor):
            check_rgb(self.images)
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
        """Whether the images stay in their files."""
        return isinstance(self.images, StreamedImages)

    @property
    def image_size(self) -> int:
        """The width of the stored images in pixels."""
        return self.images.shape[-1]

    def take(self, positions: Positions) -> ImageBatch:
        """Return the images at these positions, in this order, in memory."""
        chosen = torch.as_tensor(positions, dtype=torch.int64)
        return self._batch(chosen, self.images[chosen])

    def select(self, positions: Positions) -> "ImageSet":
        """Return the set of the images at these positions; images in files stay there."""
        chosen = torch.as_tensor(positions, dtype=torch.int64)
        if isinstance(self.images, StreamedImages):
            images = self.images.select(chosen)
        else:
            images = self.images[chosen]
        labels, index = self.labels[chosen], self.index[chosen]
        return replace(self, images=images, labels=labels, index=index)

    def batches(self, positions: Sequence[np.ndarray]) -> Iterator[ImageBatch]:
        """Yield the images at one sequence of positions after the other, in memory.

        Images in files are decoded ahead of time by worker processes.
        """
        if isinstance(self.images, StreamedImages):
            parts = zip(positions, self.images.batches(positions), strict=True)
            return (self._batch(torch.from_numpy(part), images) for part, images in parts)
        return (self.take(part) for part in positions)

    def _batch(self, chosen: Tensor, images: Images) -> ImageBatch:
        return ImageBatch(images, self.labels[chosen], self.index[chosen])


def check_rgb(images: Tensor) -> None:
    """Raise ValueError unless these are uint8 RGB images."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"images must be uint8 [n, 3, h, w], got {images.dtype} {list(images.shape)}; "
            "convert to RGB 0..255 first"
        )


@dataclass(frozen=True, eq=False)
class Splits:
    """Training, validation (to choose by) and test images (used by the assessment alone).

    `digest` identifies the data that they were read from; without it, changed data goes unnoticed
    when a training is resumed.
    """

    train: ImageSet
    validation: ImageSet
    test: ImageSet
    digest: DataDigest | None = None
    unlabelled: ImageSet | None = None  # for objectives that learn from images without labels

    def __iter__(self) -> Iterator[ImageSet]:
        return iter((self.train, self.validation, self.test))

    @property
    def left_out(self) -> tuple[str, ...]:
        """The files of a folder that could not be decoded and were left out."""
        return tuple(sorted({name for part in self for name in part.left_out}))
