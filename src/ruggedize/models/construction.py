"""From a model's description to a freshly initialised classifier."""

import torch
from torch import nn

from ruggedize.images.types import Images, ImageSource
from ruggedize.models import initialisation
from ruggedize.models.classifier import Classifier
from ruggedize.models.nets.airbench import Airbench
from ruggedize.models.nets.preact_resnet18 import PreActResNet18
from ruggedize.models.nets.resnet9 import ResNet9
from ruggedize.models.nets.resnet50v2 import ResNet50V2
from ruggedize.models.nets.wide_resnet import WideResNet
from ruggedize.models.options import (
    AirbenchOptions,
    ModelOptions,
    PreActResNet18Options,
    ResNet9Options,
    ResNet50V2Options,
    WideResNetOptions,
)
from ruggedize.runs import UserError

FITTED_TO = 2_000  # images whose patches a fitted layer looks at


def build(
    options: ModelOptions,
    classes: tuple[str, ...],
    image_size: int,
    input_size: int,
    seed: int,
    images: ImageSource | None = None,
) -> Classifier:
    """Make a classifier whose weights follow from the seed (and the images, where it is said).

    No global random state is read or changed: the network is laid out without values, then
    filled from a generator of its own.

    Args:
        options: the architecture.
        classes: their names.
        image_size: side in pixels of stored images.
        input_size: side in pixels of what the network sees.
        seed: of the weights.
        images: stored training images, which `airbench` fits its first layer to.
    """
    classifier = blank(options, classes, image_size, input_size)
    generator = torch.Generator().manual_seed(seed)
    initialisation.fill(classifier.network, options.name, generator)
    if isinstance(classifier.network, Airbench):
        if images is None:
            raise ValueError("airbench fits its first layer to images; give build(..., images=...)")
        some = evenly_spread(images)
        classifier.network.whitening.fit(classifier.normalised(classifier.test_view(some)))
    return classifier


def blank(
    options: ModelOptions, classes: tuple[str, ...], image_size: int, input_size: int
) -> Classifier:
    """Make a classifier on the CPU whose weights have yet to be filled in."""
    return Classifier(
        outline(options, len(classes)).to_empty(device="cpu"),
        architecture=options,
        classes=tuple(classes),
        image_size=image_size,
        input_size=input_size,
    )


def outline(options: ModelOptions, num_classes: int) -> nn.Module:
    """Lay out a network on the meta device: shapes without values."""
    with torch.device("meta"):
        match options:
            case ResNet50V2Options():
                return ResNet50V2(num_classes)
            case ResNet9Options():
                return ResNet9(num_classes, options.width, options.batch_norm_momentum)
            case AirbenchOptions():
                return Airbench(num_classes, options.width, options.batch_norm_momentum)
            case PreActResNet18Options():
                return PreActResNet18(num_classes, options.width)
            case WideResNetOptions():
                return WideResNet(num_classes, options.depth, options.width)


def refuse_too_small(options: ModelOptions, input_size: int) -> None:
    """Refuse views of which a network's pooling would leave nothing; shapes alone are computed."""
    try:
        outline(options, 2)(torch.empty(2, 3, input_size, input_size, device="meta"))
    except RuntimeError:
        raise UserError(
            f"{options.name} leaves nothing of views of {input_size} pixels;\n"
            "take larger images (data.image_size, views.resize) or another model"
        ) from None


def evenly_spread(images: ImageSource) -> Images:
    """Take enough images to fit a layer to, evenly spread over a set that may be in some order."""
    number = min(len(images), FITTED_TO)
    return images[torch.arange(number) * len(images) // max(1, number)]


def num_parameters(module: nn.Module) -> int:
    """Count as Keras does: all weights, and batch norm's running means and variances."""
    statistics = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
    return sum(tensor.numel() for tensor in [*module.parameters(), *statistics])
