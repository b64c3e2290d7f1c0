"""The types that pass between the parts."""

from jaxtyping import Int64, UInt8
from torch import Tensor

Images = UInt8[Tensor, "n c h w"]  # RGB, 0..255, planar
Views = UInt8[Tensor, "n c side side"]  # what a model sees: cropped or resized images
Labels = Int64[Tensor, " n"]  # -1 = unlabelled
