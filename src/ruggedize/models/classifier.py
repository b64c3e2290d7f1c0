"""A classifier that takes uint8 pixels and normalises them itself."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float32, Int64
from PIL import Image
from torch import Tensor, nn

from ruggedize.kernels.centre_crop import LEAST_CROP_PCT, TestFilter, resized_middle
from ruggedize.kernels.inputs import Pictures, as_images, whole_number
from ruggedize.kernels.pictures import Fit, square, upright_copy
from ruggedize.kernels.types import Images, Views
from ruggedize.models.inference import inference_batch_size, logits_of
from ruggedize.models.options import CustomModel, ModelOptions

HALF_RANGE = 127.5  # maps pixels 0..255 to -1..1
HALF = (0.5, 0.5, 0.5)
Channels = tuple[float, float, float]  # one value for red, green and blue


class Prediction(NamedTuple):
    """Predicted labels, their confidences and all probabilities for `n` images."""

    labels: Int64[Tensor, " n"]
    confidences: Float32[Tensor, " n"]
    probabilities: Float32[Tensor, "n k"]


class Classifier(nn.Module):
    """A network together with its class names, its normalisation and its test view.

    Args:
        network: maps normalised float images `[n, 3, h, w]` to logits `[n, k]`.
        classes: the names of the k classes, in the order of the logits.
        input_size: side in pixels of the network's square inputs.
        image_size: side in pixels of stored images, before the test view; default: `input_size`.
        mean: mean of red, green and blue, subtracted from pixels in 0..1.
        std: standard deviation, by which the differences are divided; the defaults map pixels to
            -1..1.
        fit: how training images were made square.
        crop_pct: share of the side that the test view keeps: the middle.
        test_filter: how the test view is resized: "tf" (bilinear, not antialiased), "bilinear"
            or "bicubic" (antialiased).
        architecture: options that the network was built from; default: a custom model.

    Raises:
        ValueError: `classes` is a single string, `std` is not positive, or a size, `fit`,
            `crop_pct` or `test_filter` is impossible.
    """

    offset: Tensor | None
    scale: Tensor | None

    def __init__(  # noqa: PLR0913
        self,
        network: nn.Module,
        *,
        classes: Sequence[str],
        input_size: int,
        image_size: int | None = None,
        mean: Channels = HALF,
        std: Channels = HALF,
        fit: Fit = "crop",
        crop_pct: float = 1.0,
        test_filter: TestFilter = "tf",
        architecture: ModelOptions | None = None,
    ) -> None:
        super().__init__()
        if isinstance(classes, str) or min(std) <= 0:
            raise ValueError(
                f"classes must be a list of names and std positive, got {classes!r} and {std};\n"
                "pass Classifier(..., classes=[...], std=(...))"
            )
        reject_impossible(input_size, image_size, fit, crop_pct, test_filter)
        self.network = network
        self.architecture: ModelOptions = architecture or CustomModel()
        self.classes = tuple(classes)
        self.image_size = input_size if image_size is None else image_size
        self.input_size = input_size
        self.mean, self.std = mean, std
        self.fit: Fit = fit
        self.crop_pct = crop_pct
        self.test_filter: TestFilter = test_filter
        is_default = (mean, std) == (HALF, HALF)  # needs no buffers
        self.register_buffer("offset", None if is_default else per_channel(mean), persistent=False)
        self.register_buffer("scale", None if is_default else per_channel(std), persistent=False)

    if TYPE_CHECKING:  # nn.Module.__call__ is untyped

        def __call__(self, images: Images) -> Float32[Tensor, "n k"]:
            """Return float32 logits for uint8 images of the input size."""
            ...

    def forward(self, images: Images) -> Float32[Tensor, "n k"]:
        """Return float32 logits for uint8 images of the input size."""
        if images.dtype != torch.uint8:
            raise TypeError(
                f"images must be uint8 (0..255), got {images.dtype};\n"
                "do not normalise them, because the Classifier does"
            )
        return self.network(self.normalised(images)).float()

    def normalised(self, images: Images) -> Tensor:
        """Return normalised pixels in the dtype and memory layout of the network.

        Values are rounded only once. The default normalisation is Keras' `Rescaling(1 / 127.5, -1)`
        with the subtraction first, which is exact even in bfloat16.
        """
        weight = next(self.network.parameters())
        device = weight.device.type
        autocast = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if autocast else weight.dtype
        layout = torch.contiguous_format if weight.is_contiguous() else torch.channels_last
        if self.offset is None or self.scale is None:
            return (images.to(dtype, memory_format=layout) - HALF_RANGE) / HALF_RANGE
        pixels = images.to(torch.float32, memory_format=layout)
        return ((pixels - self.offset) / self.scale).to(dtype)

    def test_view(self, images: Images) -> Views:
        """Return the middle of stored images at the input size; all of them if crop_pct is 1."""
        return resized_middle(images, self.input_size, self.crop_pct, self.test_filter)

    def stored_images(self, images: Pictures) -> Images:
        """Return square images on the CPU; Pillow images are also resized to `image_size`."""
        if isinstance(images, Image.Image):
            images = [images]
        if isinstance(images, list | tuple) and images:
            pictures = [image for image in images if isinstance(image, Image.Image)]
            if len(pictures) == len(images):
                return self.squares([upright_copy(picture) for picture in pictures])
        found = as_images(images.cpu() if isinstance(images, Tensor) else images)
        if found.shape[2] == found.shape[3]:
            return found
        planes = found.permute(0, 2, 3, 1).numpy()
        return self.squares([Image.fromarray(np.ascontiguousarray(image)) for image in planes])

    def squares(self, pictures: Sequence[Image.Image]) -> Images:
        """Make RGB images square as in training, and resize them to `image_size`."""
        arrays = [square(picture, self.image_size, self.fit) for picture in pictures]
        return torch.from_numpy(np.stack(arrays))

    @torch.no_grad()
    def predict(self, images: Pictures, batch_size: int | None = None) -> Prediction:
        """Classify images of any size.

        The network runs in eval mode without gradients, and its previous mode is restored. Results
        are on the CPU. Images that are not square are made square as in training.

        Args:
            images: uint8 RGB `[n, 3, h, w]`, as a tensor or NumPy array; or one or several Pillow
                images of any mode and size.
            batch_size: images per batch; default: chosen by input size. A batch that does not fit
                into memory is halved.

        Raises:
            ValueError: the images or the batch size are invalid, or the network does not return a
                logit for each class; the message contains the fix.
            UserError: not even a single image fits into memory.
        """
        stored = self.stored_images(images)
        default = inference_batch_size(self.input_size)
        size = default if batch_size is None else whole_number(batch_size, "batch_size", 256)
        if size < 1:
            raise ValueError(
                f"batch_size must be at least 1, got {size};\nomit it to use the default"
            )
        device = next(self.network.parameters()).device
        with in_eval_mode(self):
            views = (self.test_view(batch).to(device) for batch in stored.split(size))
            logits = [logits_of(self, view).cpu() for view in views]
        reject_other_number(logits[0].shape[1], self.classes)
        probabilities = torch.cat(logits).softmax(1)
        confidences, labels = probabilities.max(1)
        return Prediction(labels, confidences, probabilities)


def reject_impossible(
    input_size: int, image_size: int | None, fit: str, crop_pct: float, test_filter: str
) -> None:
    """Raise ValueError for sizes or a test view that do not exist."""
    if min(input_size, input_size if image_size is None else image_size) < 1:
        raise ValueError(
            f"input_size and image_size must be at least 1, got {input_size} and {image_size};\n"
            "set sizes in pixels"
        )
    if not LEAST_CROP_PCT <= crop_pct <= 1:
        raise ValueError(
            f"crop_pct must be in {LEAST_CROP_PCT}..1, got {crop_pct};\nuse 1 to crop nothing"
        )
    for name, value, kind in (("fit", fit, Fit), ("test_filter", test_filter, TestFilter)):
        reject_unknown(name, value, get_args(kind))


def reject_other_number(num_logits: int, classes: Sequence[str]) -> None:
    """Raise ValueError unless there is one logit for each class."""
    if num_logits != len(classes):
        raise ValueError(
            f"the network returns {num_logits} logits for {len(classes)} classes;\n"
            "pass Classifier(..., classes=[...]) with a name for each logit"
        )


def reject_unknown(name: str, value: object, known: Sequence[str | None]) -> None:
    """Raise ValueError for a word that an option does not know."""
    if value not in known:
        words = [word for word in known if word]
        raise ValueError(
            f"{name} must be one of {', '.join(words)}, got {value!r};\nuse {words[0]!r}"
        )


@contextmanager
def in_eval_mode(network: nn.Module) -> Iterator[None]:
    """Set a network to eval mode in this block; afterwards restore the mode of every module."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def per_channel(values: Channels) -> Float32[Tensor, "1 3 1 1"]:
    """Scale one value per channel from the pixel range 0..1 to 0..255."""
    return torch.tensor(values, dtype=torch.float32).mul(255).reshape(1, 3, 1, 1)
