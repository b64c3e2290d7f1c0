"""From a model's description to a freshly initialised classifier."""

import importlib

import torch
from torch import nn

from ruggedize.core.errors import UserError
from ruggedize.kernels.spread import evenly_spread
from ruggedize.kernels.types import ImageSource
from ruggedize.models.architecture import Architecture
from ruggedize.models.classifier import Classifier
from ruggedize.models.options import CustomModel, ModelOptions

NETS = "ruggedize.models.nets"
FITTED_TO = 2_000  # images that a fitted layer is fitted to


def create_model(
    options: ModelOptions,
    classes: tuple[str, ...],
    image_size: int,
    input_size: int,
    seed: int,
    images: ImageSource | None = None,
) -> Classifier:
    """Return a classifier whose weights follow from the seed (and the images, where it is said).

    No global random state is read or changed: the network is laid out without values, then
    filled from a generator of its own.

    Args:
        options: the architecture.
        classes: their names.
        image_size: side in pixels of stored images.
        input_size: side in pixels of what the network sees.
        seed: of the weights.
        images: stored training images, which `airbench` fits its first layer to.

    Raises:
        ValueError: the architecture is fitted to images, and there are none.
        UserError: the options name a network of one's own without bringing its code.
    """
    if isinstance(options, CustomModel):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = options.layout(len(classes))
        return Classifier(
            network,
            architecture=options,
            classes=classes,
            image_size=image_size,
            input_size=input_size,
        )
    architecture = architecture_of(options)
    classifier = blank(options, classes, image_size, input_size)
    generator = torch.Generator().manual_seed(seed)
    architecture.fill(classifier.network, generator)
    if architecture.fit:
        if images is None:
            raise ValueError(
                f"{options.name} fits its first layer to images; give create_model(..., images=...)"
            )
        some = images[torch.from_numpy(evenly_spread(len(images), FITTED_TO))]
        architecture.fit(classifier.network, classifier.normalised(classifier.test_view(some)))
    return classifier


def architecture_of(options: ModelOptions) -> Architecture:
    """Return the architecture that the options name: a module of `models.nets`."""
    return importlib.import_module(f"{NETS}.{options.name}").ARCHITECTURE


def blank(
    options: ModelOptions, classes: tuple[str, ...], image_size: int, input_size: int
) -> Classifier:
    """Return a classifier on the CPU whose weights have yet to be filled in."""
    return Classifier(
        meta_model(options, len(classes)).to_empty(device="cpu"),
        architecture=options,
        classes=tuple(classes),
        image_size=image_size,
        input_size=input_size,
    )


def meta_model(options: ModelOptions, num_classes: int) -> nn.Module:
    """Return a network on the meta device: shapes without values."""
    with torch.device("meta"):
        if isinstance(options, CustomModel):
            return options.layout(num_classes)
        return architecture_of(options).layout(options, num_classes)


def reject_too_small(options: ModelOptions, input_size: int) -> None:
    """Raise UserError where pooling leaves nothing of the views; computes shapes only."""
    if isinstance(options, CustomModel):
        return
    try:
        meta_model(options, 2)(torch.empty(2, 3, input_size, input_size, device="meta"))
    except RuntimeError:
        raise UserError(
            f"{options.name} leaves nothing of views of {input_size} pixels;\n"
            "take larger images (data.image_size, views.resize) or another model"
        ) from None


def num_parameters(module: nn.Module) -> int:
    """Count as Keras does: all weights, and batch norm's running means and variances."""
    statistics = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
    return sum(tensor.numel() for tensor in [*module.parameters(), *statistics])
