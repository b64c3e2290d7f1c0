"""Models of any origin: what they take, what they return, and how stored images reach them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from ruggedize.core.errors import UserError
from ruggedize.kernels.types import Images, Views
from ruggedize.models.classifier import Channels
from ruggedize.models.resizing import Interpolation, crop_middle, resize_square

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)
SMALLEST = torch.finfo(torch.float32).tiny  # probabilities below it count as it: log(0) is infinite
Layout = Literal["nchw", "nhwc"]
ChannelOrder = Literal["rgb", "bgr"]
Output = Literal["logits", "probabilities"]


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model of any origin that can be assessed, with the contract that it was made for.

    Args:
        model: an `nn.Module` or a function that returns scores `[n, k]`. A module is fed with
            floats that are normalised by `mean` and `std`, a function with uint8 `[n, 3, h, w]`
            on the CPU unless they are given.
        classes: the names of the k outputs; default: those of the data, in alphabetical order.
        synonyms: other names of each output, the most exact first: `(("tench, Tinca tinca",
            "tench"), ...)`. Where none fits, the outputs count as the data's classes in order.
        class_map: data class by model class (a name, or the number of an output); several may
            have one data class, and outputs without one are not used.
        input_size: side in pixels of what the model sees; default: images as they are stored.
        resize: side to which stored images are resized before the middle `input_size` pixels are
            cut out; default: `input_size`, which cuts nothing off.
        image_size: side of the stored images that the model was made for, if it was for one.
        interpolation: how Pillow resizes.
        mean: subtracted from pixels in 0..1; default for a module: ImageNet's.
        std: divided by after that; default for a module: ImageNet's.
        channels: the order of the channels.
        layout: where the channels are.
        output: whether scores are logits or probabilities; calibration and losses depend on it.

    Raises:
        ValueError: `std` is not positive, one of `mean` and `std` is missing, or `resize` is
            smaller than `input_size`.
    """

    model: nn.Module | Callable[[Tensor], Tensor | np.ndarray]
    classes: Sequence[str] | None = None
    _: KW_ONLY
    synonyms: Sequence[Sequence[str]] | None = None
    class_map: Mapping[str, str] | None = None
    input_size: int | None = None
    resize: int | None = None
    image_size: int | None = None
    interpolation: Interpolation = "bilinear"
    mean: Channels | None = None
    std: Channels | None = None
    channels: ChannelOrder = "rgb"
    layout: Layout = "nchw"
    output: Output = "logits"

    def __post_init__(self) -> None:
        if isinstance(self.classes, str):
            raise ValueError(f"classes must be a list of names, got {self.classes!r}")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std belong together, got one of them; give both")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {self.std}; divide by 1 to divide by none")
        if self.resize is not None and self.resize < (self.input_size or 0):
            raise ValueError(
                f"resize must be at least input_size = {self.input_size}, got {self.resize};\n"
                "the middle input_size pixels are cut out of the resized image"
            )

    @property
    def device(self) -> torch.device:
        """The device that the model computes on."""
        if isinstance(self.model, nn.Module):
            return next((weight.device for weight in self.model.parameters()), torch.device("cpu"))
        return torch.device("cpu")

    @property
    def normalisation(self) -> tuple[Channels, Channels] | None:
        """The mean and standard deviation that pixels are normalised by; None: uint8 pixels."""
        if self.mean is not None and self.std is not None:
            return self.mean, self.std
        return (IMAGENET_MEAN, IMAGENET_STD) if isinstance(self.model, nn.Module) else None

    def view(self, images: Images) -> Views:
        """Resize stored images and cut out the middle, as the model takes them."""
        target = self.resize or self.input_size
        if target is not None:
            images = resize_square(images, target, self.interpolation)
        return images if self.input_size is None else crop_middle(images, self.input_size)

    def logits(self, views: Views) -> Float32[Tensor, "n k"]:
        """Return the model's scores of views as logits.

        Raises:
            UserError: it returns no scores `[n, k]`, or no probabilities where it should.
        """
        pixels = views.flip(1) if self.channels == "bgr" else views
        if self.normalisation is not None:
            mean, std = (
                torch.tensor(values, device=views.device).mul(255).reshape(1, 3, 1, 1)
                for values in ordered(self.normalisation, self.channels)
            )
            pixels = (pixels.float() - mean) / std
        if self.layout == "nhwc":
            pixels = pixels.permute(0, 2, 3, 1).contiguous()
        scores = torch.as_tensor(self.model(pixels)).float()
        check_scores(scores, len(views))
        if self.output == "logits":
            return scores
        check_probabilities(scores)
        return scores.clamp_min(SMALLEST).log()


def ordered(values: tuple[Channels, ...], channels: ChannelOrder) -> list[list[float]]:
    """Return values for red, green and blue in the order in which the model takes them."""
    return [list(each if channels == "rgb" else reversed(each)) for each in values]


def check_scores(scores: Tensor, n: int) -> None:
    """Raise UserError unless these are scores of n images for two classes or more."""
    if scores.ndim != 2 or len(scores) != n or scores.shape[1] < 2:
        raise UserError(
            f"scores must be [n, k], one row an image and one column a class, got "
            f"{list(scores.shape)} for {n} images;\nreturn the scores of all classes, and no others"
        )


def check_probabilities(scores: Float32[Tensor, "n k"]) -> None:
    """Raise UserError unless these are probabilities, to float16's precision."""
    if not are_probabilities(scores):
        raise UserError(
            "the scores are no probabilities: each row must be positive and sum to 1;\n"
            "use logits for the output (--output logits, or leave it out)"
        )


def are_probabilities(scores: Float32[Tensor, "n k"]) -> bool:
    """Return whether each row is positive and sums to 1, to float16's precision."""
    return bool((scores >= 0).all()) and bool(((scores.sum(1) - 1).abs() < 1e-2).all())
