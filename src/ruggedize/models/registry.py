"""Building of initialised classifiers from model options."""

import importlib

import torch
from torch import nn

from ruggedize.core.errors import UserError
from ruggedize.kernels.spread import evenly_spread
from ruggedize.kernels.types import ImageSource
from ruggedize.models import timm_networks
from ruggedize.models.architecture import Architecture
from ruggedize.models.classifier import Classifier, in_eval_mode
from ruggedize.models.options import TIMM, CustomModel, ModelOptions, TimmOptions

NETS = "ruggedize.models.nets"
NUM_FIT_IMAGES = 2_000  # images that a fitted layer is fitted to


def create_model(
    options: ModelOptions,
    classes: tuple[str, ...],
    image_size: int,
    input_size: int,
    seed: int,
    images: ImageSource | None = None,
) -> Classifier:
    """Build a classifier with initial weights that depend on the seed (`airbench`: and on images).

    Global random state is neither read nor changed: the network is built on the meta device and
    initialised from a separate generator. Pretrained weights of timm's networks are loaded.

    Args:
        options: the architecture.
        classes: class names.
        image_size: side in pixels of stored images.
        input_size: side in pixels of the network's input.
        seed: seed of the initial weights.
        images: stored training images; required for `airbench`, to fit its first layer.

    Raises:
        ValueError: the architecture requires images, but there are none.
        UserError: the options name a custom network without its code, or it returns logits of the
            wrong shape.
    """
    if isinstance(options, TimmOptions):
        return timm_classifier(options, classes, image_size, input_size, seed)
    if isinstance(options, CustomModel):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = options.layout(len(classes))
        custom = Classifier(
            network,
            architecture=options,
            classes=classes,
            image_size=image_size,
            input_size=input_size,
        )
        check_logits(custom)
        return custom
    architecture = architecture_of(options)
    classifier = uninitialised(options, classes, image_size, input_size)
    generator = torch.Generator().manual_seed(seed)
    architecture.fill(classifier.network, generator)
    if architecture.fit:
        if images is None:
            raise ValueError(
                f"{options.name} needs images to fit its first layer, got none;\n"
                "pass create_model(..., images=...)"
            )
        sample = images[torch.from_numpy(evenly_spread(len(images), NUM_FIT_IMAGES))]
        architecture.fit(classifier.network, classifier.normalised(classifier.test_view(sample)))
    return classifier


def timm_classifier(
    options: TimmOptions, classes: tuple[str, ...], image_size: int, input_size: int, seed: int
) -> Classifier:
    """Build a classifier of timm, with pretrained weights if the options name any.

    Its `architecture` leaves out options that only matter in training.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = timm_networks.timm_network(options, len(classes), input_size)
    if options.pretrained:
        weights = timm_networks.find_pretrained(options)
        timm_networks.load_pretrained(network, options, input_size, weights)
    mean, std = timm_networks.normalisation(network)
    return Classifier(
        network,
        architecture=TimmOptions(architecture=options.architecture),
        classes=classes,
        image_size=image_size,
        input_size=input_size,
        mean=mean,
        std=std,
    )


def architecture_of(options: ModelOptions) -> Architecture:
    """Return the architecture named in the options, from its module in `models.nets`."""
    return importlib.import_module(f"{NETS}.{options.name}").ARCHITECTURE


def uninitialised(
    options: ModelOptions, classes: tuple[str, ...], image_size: int, input_size: int
) -> Classifier:
    """Build a classifier with uninitialised weights on the CPU."""
    return Classifier(
        meta_model(options, len(classes)).to_empty(device="cpu"),
        architecture=options,
        classes=tuple(classes),
        image_size=image_size,
        input_size=input_size,
    )


def meta_model(options: ModelOptions, num_classes: int, input_size: int | None = None) -> nn.Module:
    """Build a network on the meta device, where tensors have shapes but no values.

    Some networks of timm have weights whose shape depends on the input size; it defaults to
    timm's own.
    """
    with torch.device("meta"):
        if isinstance(options, CustomModel):
            return options.layout(num_classes)
        if isinstance(options, TimmOptions):
            return timm_networks.timm_network(options, num_classes, input_size)
        return architecture_of(options).layout(options, num_classes)


@torch.no_grad()
def check_logits(classifier: Classifier) -> None:
    """Raise UserError unless a network returns one logit per class for each of two images."""
    size, expected = classifier.input_size, (2, len(classifier.classes))
    with in_eval_mode(classifier):
        logits = classifier(torch.zeros(2, 3, size, size, dtype=torch.uint8))
    if logits.shape != expected:
        raise UserError(
            f"the network must return {list(expected)} for 2 images and {expected[1]} classes, got "
            f"{list(logits.shape)};\ngive its last layer one output per class"
        )


def reject_too_small(options: ModelOptions, input_size: int) -> None:
    """Raise UserError if the input is too small for the network; allocates no memory."""
    if isinstance(options, CustomModel):
        return
    if not takes(options, input_size):
        raise UserError(
            f"views of {input_size} pixels are too small for {title_of(options)};\n"
            "use larger images (data.image_size, views.resize) or another model"
        )


def takes(options: ModelOptions, input_size: int) -> bool:
    """Return whether one of our own networks or of timm's takes images of this size."""
    if not isinstance(options, TimmOptions):
        return input_size >= architecture_of(options).smallest_input
    network = meta_model(options, 2, input_size).eval()
    try:
        network(torch.empty(1, 3, input_size, input_size, device="meta"))
    except RuntimeError:
        return False
    return True


def title_of(options: ModelOptions) -> str:
    """Return the name of a network as a recipe writes it: resnet9, timm/resnet18."""
    is_timm = isinstance(options, TimmOptions)
    return f"{TIMM}{options.architecture}" if is_timm else options.name


def num_parameters(module: nn.Module) -> int:
    """Count parameters as Keras does, including batch norm's running means and variances."""
    statistics = [buffer for buffer in module.buffers() if buffer.is_floating_point()]
    return sum(tensor.numel() for tensor in [*module.parameters(), *statistics])
