"""The types that pass between the parts."""

from collections.abc import Sequence
from typing import Protocol, SupportsIndex, runtime_checkable

from jaxtyping import Int64, UInt8
from torch import Tensor

Images = UInt8[Tensor, "n c h w"]  # RGB, 0..255, planar
Views = UInt8[Tensor, "n c side side"]  # what a model sees: cropped or resized images
Labels = Int64[Tensor, " n"]  # -1 = unlabelled
Index = Int64[Tensor, " n"]  # an image's number in its data set, whatever subset it is in


@runtime_checkable
class ImageSource(Protocol):
    """Images of one size that are read by position: a tensor, or files decoded when indexed."""

    @property
    def shape(self) -> Sequence[int]:
        """The shape `[n, 3, h, w]` of all images together."""
        ...

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def __getitem__(self, which: SupportsIndex | slice | Tensor, /) -> Tensor:
        """Return one image `[3, h, w]`, or those of a slice or at int64 positions `[m]`."""
        ...
