"""Images with their labels, and the splits of a data set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ruggedize.data.decode import Fit
from ruggedize.data.digest import DataDigest
from ruggedize.data.originals import Make, Originals
from ruggedize.data.streaming import StreamedImages
from ruggedize.kernels.types import Images, ImageSource, Index, Labels

Positions = Tensor | np.ndarray | Sequence[int]


@dataclass(frozen=True, eq=False)
class ImageBatch:
    """A batch of images, with their labels and indices in the same order.

    `images` are in memory; in a training with `views.crop_mode = "random-resized"` they are the
    files that a `ViewMaker` crops views from.
    """

    images: Images | Originals
    labels: Labels  # -1 = unlabelled
    index: Index
    hidden_labels: Labels | None = None

    def __len__(self) -> int:
        return len(self.images)

    @property
    def stored(self) -> Images:
        """The images in memory, as they are stored; decoded if they are files."""
        if isinstance(self.images, Originals):
            return self.images.stored_images()
        return self.images


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Images of the same size, in memory or in files, with their labels, classes and indices.

    `images` is a uint8 tensor `[n, 3, h, w]`, or files that are decoded on access. `take` and
    `batches` load pixels into memory; `select` returns another set and decodes nothing.
    `hidden_labels` are known labels of unlabelled images: they must not be learned from, only
    compared with pseudo-labels in metrics.

    Raises:
        ValueError: the numbers of images, labels and indices differ, a label is out of range, or
            the images are not uint8 RGB.
    """

    images: ImageSource
    labels: Labels  # -1 = unlabelled
    classes: tuple[str, ...]
    index: Index
    fit: Fit = "crop"  # how images that are not square were made square
    left_out: tuple[str, ...] = ()  # skipped bad files of the split
    originals: Originals | None = None  # the files, where the images come from files
    hidden_labels: Labels | None = None  # -1 = unknown

    def __post_init__(self) -> None:
        if isinstance(self.images, Tensor):
            check_rgb(self.images)
        if not len(self.images) == len(self.labels) == len(self.index):
            raise ValueError(
                f"images, labels and index must have the same length, got {len(self.images)}, "
                f"{len(self.labels)} and {len(self.index)};\n"
                "pass one label and one index per image"
            )
        if len(self) and not -1 <= self.labels.min() <= self.labels.max() < len(self.classes):
            raise ValueError(
                f"labels must be -1 (unlabelled) or 0..{len(self.classes) - 1}, got "
                f"{self.labels.min()}..{self.labels.max()};\nlist every class in `classes`"
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def is_streamed(self) -> bool:
        """Whether images are decoded from their files on access."""
        return isinstance(self.images, StreamedImages)

    @property
    def image_size(self) -> int:
        """The width of the stored images in pixels."""
        return self.images.shape[-1]

    def take(self, positions: Positions) -> ImageBatch:
        """Load the images at these positions, in this order."""
        chosen = torch.as_tensor(positions, dtype=torch.int64)
        return self._batch(chosen, self.images[chosen])

    def select(self, positions: Positions) -> "ImageSet":
        """Return a set with the images at these positions, in this order; decodes nothing."""
        chosen = torch.as_tensor(positions, dtype=torch.int64)
        if isinstance(self.images, StreamedImages):
            images = self.images.select(chosen)
        else:
            images = self.images[chosen]
        originals = self.originals and self.originals.select(chosen)
        labels, index = self.labels[chosen], self.index[chosen]
        hidden = None if self.hidden_labels is None else self.hidden_labels[chosen]
        return replace(
            self,
            images=images,
            labels=labels,
            index=index,
            originals=originals,
            hidden_labels=hidden,
        )

    def batches(self, positions: Sequence[np.ndarray]) -> Iterator[ImageBatch]:
        """Yield one batch per array of positions.

        Worker processes decode streamed images in advance.
        """
        if isinstance(self.images, StreamedImages):
            pairs = zip(positions, self.images.batches(positions), strict=True)
            return (self._batch(torch.from_numpy(chosen), images) for chosen, images in pairs)
        return (self.take(chosen) for chosen in positions)

    def original_batches(
        self, positions: Sequence[np.ndarray], makes: Sequence[Make]
    ) -> Iterator[tuple[ImageBatch, Sequence[Tensor]]]:
        """Yield a batch of original files per array of positions, and what was made of it.

        Each batch has its function in `makes`, which is called with files and indices; in worker
        processes where images are streamed.
        """
        assert self.originals is not None
        num_workers = self.images.num_workers if isinstance(self.images, StreamedImages) else 0
        found = self.originals.made_by(positions, self.index, makes, num_workers)
        for chosen, made in zip(map(torch.from_numpy, positions), found, strict=True):
            yield self._batch(chosen, self.originals.select(chosen)), made

    def _batch(self, chosen: Tensor, images: Images | Originals) -> ImageBatch:
        hidden = None if self.hidden_labels is None else self.hidden_labels[chosen]
        return ImageBatch(images, self.labels[chosen], self.index[chosen], hidden)


def check_rgb(images: Tensor) -> None:
    """Raise ValueError unless images are uint8 RGB: `[n, 3, h, w]`."""
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(
            f"images must be uint8 [n, 3, h, w], got {images.dtype} {list(images.shape)};\n"
            "convert to RGB 0..255 first"
        )


@dataclass(frozen=True, eq=False)
class Splits:
    """Training images, validation images (for model selection) and test images (only assessed).

    `digest` identifies the data that the images were read from; without it, resuming a run does not
    detect that the data has changed.
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
        """The files of a folder that could not be decoded and were skipped."""
        parts = [*self, *([] if self.unlabelled is None else [self.unlabelled])]
        return tuple(sorted({name for part in parts for name in part.left_out}))
