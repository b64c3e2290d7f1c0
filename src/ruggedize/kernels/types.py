"""Tensor types that all packages share."""

from collections.abc import Sequence
from typing import Protocol, SupportsIndex, runtime_checkable

from jaxtyping import Int64, UInt8
from torch import Tensor

Images = UInt8[Tensor, "n c h w"]  # RGB, 0..255, planar
Views = UInt8[Tensor, "n c side side"]  # model inputs: cropped or resized images
Labels = Int64[Tensor, " n"]  # -1 = unlabelled
Index = Int64[Tensor, " n"]  # index of each image in its data set; subsets keep it


@runtime_checkable
class ImageSource(Protocol):
    """Images of the same size, accessed by position: a tensor, or files decoded on access."""

    @property
    def shape(self) -> Sequence[int]:
        """The shape `[n, 3, h, w]` of all images together."""
        ...

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def __getitem__(self, which: SupportsIndex | slice | Tensor, /) -> Tensor:
        """Return one image `[3, h, w]`, or the images at a slice or at int64 positions `[m]`."""
        ...
