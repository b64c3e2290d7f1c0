"""Predictors: models of any origin, with their preprocessing and the meaning of their outputs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from ruggedize.core.errors import UserError
from ruggedize.kernels.pictures import Fit
from ruggedize.kernels.types import Images, Views
from ruggedize.kernels.warp import resize
from ruggedize.models.classifier import Channels, reject_unknown
from ruggedize.models.resizing import Interpolation, crop_middle, resize_square

IMAGENET_MEAN: Channels = (0.485, 0.456, 0.406)
IMAGENET_STD: Channels = (0.229, 0.224, 0.225)
SMALLEST = torch.finfo(torch.float32).tiny  # lower bound of probabilities: log(0) is infinite
Layout = Literal["nchw", "nhwc"]
ChannelOrder = Literal["rgb", "bgr"]
Output = Literal["logits", "probabilities"]
KNOWN: dict[str, tuple[str | None, ...]] = {
    "interpolation": (*get_args(Interpolation), "tf"),
    "channels": get_args(ChannelOrder),
    "layout": get_args(Layout),
    "output": get_args(Output),
    "fit": (*get_args(Fit), None),
}


@dataclass(frozen=True, eq=False)
class Predictor:
    """A model of any origin, with everything that is needed to assess it.

    Args:
        model: an `nn.Module` or a function that returns scores `[n, k]`. A module receives floats
            that are normalised with `mean` and `std`. A function receives uint8 `[n, 3, h, w]` on
            the CPU, or normalised floats if `mean` and `std` are set.
        classes: the names of the k outputs; default: the classes of the data, in alphabetical
            order.
        synonyms: alternative names of each output, the most specific first: `(("tench, Tinca
            tinca", "tench"), ...)`. If none match, the outputs are taken to be the classes of the
            data, in order.
        class_map: the data class of each model class (a name, or the number of an output). Several
            model classes may map to the same data class; outputs without a data class are not used.
        input_size: side in pixels of the model's input; default: the size of stored images.
        resize: side in pixels to which stored images are resized before the central `input_size`
            pixels are cropped; default: `input_size`, which crops nothing.
        image_size: side in pixels of the stored images that the model expects, if there is one.
        interpolation: Pillow's filter for resizing, or "tf" (bilinear, not antialiased).
        mean: mean of red, green and blue, subtracted from pixels in 0..1; default for a module:
            that of ImageNet.
        std: standard deviation, by which the differences are divided; default for a module: that of
            ImageNet.
        channels: order of the colour channels.
        layout: whether the channels come before or after height and width.
        output: whether scores are logits or probabilities, which matters for calibration and
            losses.
        fit: how images of a folder are made square for the model; default: as the data says.

    Raises:
        ValueError: an option has an unknown or impossible value, `std` is not positive, only one of
            `mean` and `std` is set, or `resize` is smaller than `input_size`.
    """

    model: nn.Module | Callable[[Tensor], Tensor | np.ndarray]
    classes: Sequence[str] | None = None
    _: KW_ONLY
    synonyms: Sequence[Sequence[str]] | None = None
    class_map: Mapping[str, str] | None = None
    input_size: int | None = None
    resize: int | None = None
    image_size: int | None = None
    interpolation: Interpolation | Literal["tf"] = "bilinear"
    mean: Channels | None = None
    std: Channels | None = None
    channels: ChannelOrder = "rgb"
    layout: Layout = "nchw"
    output: Output = "logits"
    fit: Fit | None = None

    def __post_init__(self) -> None:
        for name, known in KNOWN.items():
            reject_unknown(name, getattr(self, name), known)
        for name in ("input_size", "resize", "image_size"):
            if (size := getattr(self, name)) is not None and size < 1:
                raise ValueError(f"{name} must be at least 1, got {size};\nset a size in pixels")
        if isinstance(self.classes, str):
            raise ValueError(
                f"classes must be a list of names, got {self.classes!r};\n"
                f"use [{self.classes!r}, ...]"
            )
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std must be set together, got only one of them;\nset both")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(
                f"std must be positive, got {self.std};\nuse 1 to leave the scale unchanged"
            )
        if self.resize is not None and self.resize < (self.input_size or 0):
            raise ValueError(
                f"resize must be at least input_size = {self.input_size}, got {self.resize};\n"
                "increase it, or omit it to crop nothing"
            )

    @property
    def device(self) -> torch.device:
        """The device that the model runs on."""
        if isinstance(self.model, nn.Module):
            return next((weight.device for weight in self.model.parameters()), torch.device("cpu"))
        return torch.device("cpu")

    @property
    def normalisation(self) -> tuple[Channels, Channels] | None:
        """The mean and standard deviation for normalising pixels; None for uint8 inputs."""
        if self.mean is not None and self.std is not None:
            return self.mean, self.std
        return (IMAGENET_MEAN, IMAGENET_STD) if isinstance(self.model, nn.Module) else None

    def view(self, images: Images) -> Views:
        """Resize stored images and crop their centre to the model's input size."""
        target = self.resize or self.input_size
        how = self.interpolation
        if target is not None:
            images = resize(images, target) if how == "tf" else resize_square(images, target, how)
        return images if self.input_size is None else crop_middle(images, self.input_size)

    def logits(self, views: Views) -> Float32[Tensor, "n k"]:
        """Return the model's scores for views as logits.

        Raises:
            UserError: the model does not return scores `[n, k]`, or not the probabilities that
                `output` declares.
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
    """Return values for red, green and blue in the channel order of the model."""
    return [list(each if channels == "rgb" else reversed(each)) for each in values]


def check_scores(scores: Tensor, n: int) -> None:
    """Raise UserError unless scores are those of n images for at least two classes."""
    if scores.ndim != 2 or len(scores) != n or scores.shape[1] < 2:
        raise UserError(
            f"scores must be [n, k], with a row per image and a column per class, got "
            f"{list(scores.shape)} for {n} images;\nreturn one score for every class, and nothing "
            "else"
        )


def check_probabilities(scores: Float32[Tensor, "n k"]) -> None:
    """Raise UserError unless scores are probabilities, within the precision of float16."""
    if not are_probabilities(scores):
        raise UserError(
            "scores must be probabilities, with each row non-negative and summing to 1;\n"
            "use logits as the output (--output logits, or omit the option)"
        )


def are_probabilities(scores: Float32[Tensor, "n k"]) -> bool:
    """Return whether each row is non-negative and sums to 1, within the precision of float16."""
    return bool((scores >= 0).all()) and bool(((scores.sum(1) - 1).abs() < 1e-2).all())
