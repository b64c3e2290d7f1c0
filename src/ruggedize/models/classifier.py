"""A network that takes uint8 pixels: it normalises inside, so no two models can disagree."""

from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from ruggedize.images.types import Images, Views
from ruggedize.images.warp import resize
from ruggedize.models.inference import answer_in_parts, images_at_once
from ruggedize.models.options import ModelOptions

HALF_RANGE = 127.5  # pixels 0..255 become -1..1


class Prediction(NamedTuple):
    """What a model says of `n` images."""

    labels: Int64[Tensor, " n"]
    confidences: Float32[Tensor, " n"]
    probabilities: Float32[Tensor, "n k"]


class Classifier(nn.Module):
    """A network together with its class names, its normalisation and its test view."""

    def __init__(
        self,
        network: nn.Module,
        *,
        architecture: ModelOptions,
        classes: tuple[str, ...],
        image_size: int,
        input_size: int,
    ) -> None:
        super().__init__()
        self.network = network
        self.architecture = architecture
        self.classes = classes
        self.image_size = image_size
        self.input_size = input_size

    if TYPE_CHECKING:  # nn.Module's own is untyped

        def __call__(self, images: Images) -> Float32[Tensor, "n k"]:
            """Return float32 logits of uint8 images of the input size."""
            ...

    def forward(self, images: Images) -> Float32[Tensor, "n k"]:
        """Return float32 logits of uint8 images of the input size."""
        if images.dtype != torch.uint8:
            raise TypeError(
                f"a Classifier takes uint8 pixels 0..255, got {images.dtype}; "
                "give the images as they are stored: it normalises them itself"
            )
        return self.network(self.normalised(images)).float()

    def normalised(self, images: Images) -> Tensor:
        """Scale pixels to -1..1 in the dtype and memory layout that the network computes in.

        Pixels minus 127.5 are exact even in bfloat16, so the result is rounded only once.
        Source: Keras' `Rescaling(1 / 127.5, -1)`.
        """
        weight = next(self.network.parameters())
        device = weight.device.type
        autocast = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if autocast else weight.dtype
        layout = torch.contiguous_format if weight.is_contiguous() else torch.channels_last
        return (images.to(dtype, memory_format=layout) - HALF_RANGE) / HALF_RANGE

    def test_view(self, images: Images) -> Views:
        """Resize stored images to the input size; images of that size come back as they are."""
        return resize(images, self.input_size)

    @torch.no_grad()
    def predict(self, images: Images, batch_size: int | None = None) -> Prediction:
        """Classify uint8 images of any stored size, RGB `[n, 3, h, w]`.

        Runs in eval mode without gradients and leaves the model in the mode it was in; the
        answer is on the CPU. By default larger images are looked at fewer at a time; where memory
        is too small for a batch, it is divided.
        """
        device = next(self.network.parameters()).device
        was_training = self.training
        self.eval()
        try:
            batches = images.split(batch_size or images_at_once(self.input_size))
            views = (self.test_view(batch.cpu()).to(device) for batch in batches)
            logits = [answer_in_parts(self, view).cpu() for view in views]
        finally:
            self.train(was_training)
        probabilities = torch.cat(logits).softmax(1)
        confidences, labels = probabilities.max(1)
        return Prediction(labels, confidences, probabilities)
