"""Model files: weights and a description in one safetensors file, without executable code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ruggedize.core.errors import UserError
from ruggedize.core.files import write_atomically
from ruggedize.core.places import user_path
from ruggedize.core.reading import open_regular
from ruggedize.kernels.centre_crop import LEAST_CROP_PCT, TestFilter
from ruggedize.models.classifier import HALF, Channels, Classifier, Fit
from ruggedize.models.hub import model_file
from ruggedize.models.options import CustomModel, ModelOptions, TimmOptions
from ruggedize.models.registry import meta_model, reject_too_small, title_of
from ruggedize.models.timm_networks import timm_network

LARGEST_SIDE = 1024  # of images, as in recipes, so that a damaged file cannot exhaust memory
INPUT = {"image_size", "input_size", "mean", "std", "fit", "crop_pct", "test_filter"}
METADATA_KEY = "ruggedize"  # a single key, because safetensors does not preserve their order
PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class Description(BaseModel):
    """Description of the weights in a model file.

    It contains neither dates nor paths, so that equal runs write equal files.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal["ruggedize-model-1"] = "ruggedize-model-1"
    architecture: ModelOptions
    classes: tuple[str, ...] = Field(min_length=1)
    image_size: int = Field(ge=1, le=LARGEST_SIDE)
    input_size: int = Field(ge=1, le=LARGEST_SIDE)
    mean: Channels = HALF
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = HALF
    fit: Fit = "crop"
    crop_pct: float = Field(default=1.0, ge=LEAST_CROP_PCT, le=1)
    test_filter: TestFilter = "tf"
    parents: dict[str, str] = {}


def save_model(
    classifier: Classifier, path: Path | str, parents: Mapping[str, str] | None = None
) -> None:
    """Write a model file.

    `parents` maps the names of the models that this one was trained from to their SHA-256.
    """
    write_atomically(user_path(path), packed_model(classifier, parents))


def packed_model(classifier: Classifier, parents: Mapping[str, str] | None = None) -> bytes:
    """Return the bytes of a model file, which depend only on the weights and the description."""
    is_custom = isinstance(classifier.architecture, CustomModel)  # its code is not in the file
    description = Description(
        architecture=CustomModel() if is_custom else classifier.architecture,
        classes=classifier.classes,
        image_size=classifier.image_size,
        input_size=classifier.input_size,
        mean=classifier.mean,
        std=classifier.std,
        fit=classifier.fit,
        crop_pct=classifier.crop_pct,
        test_filter=classifier.test_filter,
        parents=dict(parents or {}),
    )
    metadata = {METADATA_KEY: json.dumps(description.model_dump(mode="json"), sort_keys=True)}
    weights = {
        name: tensor.detach().cpu().contiguous()
        for name, tensor in classifier.network.state_dict().items()
    }
    return save(weights, metadata)


def load_model(
    path: Path | str,
    *,
    architecture: ModelOptions | None = None,
    classes: tuple[str, ...] | None = None,
    network: nn.Module | None = None,
    download: bool = False,
) -> Classifier:
    """Load a model as a classifier on the CPU, in eval mode, with float32 weights.

    Nothing is unpickled.

    Args:
        path: a model file, a folder that contains one, or `hf:ORG/NAME` on the Hugging Face Hub;
            from a run folder, the last model of its report is loaded.
        architecture: required architecture.
        classes: required class names.
        network: the network to load the weights into; required for a custom model only.
        download: download `hf:ORG/NAME` from the Hub; otherwise only the local cache is read.

    Raises:
        UserError: the file is missing or not a model file, or does not meet the requirements.
    """
    path = model_file(path, download=download)
    description, weights = read_model_file(path)
    if architecture is not None and description.architecture != architecture:
        raise UserError(
            f"{path} must contain {spelled(architecture)}, got "
            f"{spelled(description.architecture)};\n"
            "use another model file, or change the recipe's model"
        )
    if classes is not None and description.classes != tuple(classes):
        raise UserError(
            f"{path} has {len(description.classes)} classes ({listed(description.classes)}), but "
            f"the data has {len(classes)} ({listed(classes)});\n"
            "use a model that was trained on these classes"
        )
    if network is not None and description.architecture.name != "custom":
        raise UserError(
            f"{path} contains {spelled(description.architecture)}, not a custom model;\n"
            "remove the argument network"
        )
    target = meta_network(description) if network is None else network
    reject_other_weights(path, description, target.state_dict(), weights)  # before allocating
    reject_too_small(description.architecture, description.input_size)
    classifier = Classifier(
        target if network is not None else loadable(description, target),
        architecture=description.architecture,
        classes=description.classes,
        **description.model_dump(include=INPUT),
    )
    load_weights(classifier.network, weights)
    return classifier.eval()


def meta_network(description: Description) -> nn.Module:
    """Build the described network on the meta device."""
    num_classes, input_size = len(description.classes), description.input_size
    return meta_model(description.architecture, num_classes, input_size)


def load_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy weights into a network; one on the meta device, without memory, gets new tensors."""
    own = network.state_dict()
    new = {name: weight.to(own[name].dtype, copy=True) for name, weight in weights.items()}
    is_empty = any(weight.is_meta for weight in own.values())
    network.load_state_dict(new, assign=is_empty)


def loadable(description: Description, network: nn.Module) -> nn.Module:
    """Return a network to load weights into, given the same network on the meta device.

    A network of timm may have buffers that no file holds, so it is built anew.
    """
    architecture = description.architecture
    if not isinstance(architecture, TimmOptions):
        return network
    with torch.random.fork_rng(devices=[]):
        return timm_network(architecture, len(description.classes), description.input_size)


def read_description(path: Path | str) -> Description:
    """Read the description of a model file, including its parents' hashes."""
    return read_model_file(user_path(path))[0]


def read_model_file(path: Path) -> tuple[Description, dict[str, Tensor]]:
    """Read the description and the weights; raise UserError if it is not a model file."""
    if not path.is_file():
        raise UserError(f"there is no model file {path};\nuse the path of a model.safetensors")
    with open_regular(path) as file:
        start = file.read(4)
    if start.startswith(PICKLE_STARTS):
        raise UserError(
            f"{path} is a pickle or an archive, which could run code when opened;\n"
            "use a model.safetensors written by ruggedize"
        )
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, RuntimeError) as error:  # RuntimeError: impossible shapes
        hint = " (only assess takes ONNX files)" if path.suffix == ".onnx" else ""
        raise UserError(
            f"{path} is not a complete safetensors file ({error});\n"
            f"use a model.safetensors written by ruggedize{hint}"
        ) from error
    return parsed_description(path, metadata), weights


def parsed_description(path: Path, metadata: Mapping[str, str]) -> Description:
    """Parse the description in a file's metadata."""
    if METADATA_KEY not in metadata:
        raise UserError(
            f"{path} contains weights without a description of their model;\n"
            "for weights from elsewhere, use a function that returns the network: "
            "package.module:function"
        )
    try:
        return Description.model_validate_json(metadata[METADATA_KEY])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the description"
        raise UserError(
            f"{path} has a description that this version cannot read: {place}: {first['msg']};\n"
            "update ruggedize, or train the model again"
        ) from error


def reject_other_weights(
    path: Path,
    description: Description,
    expected: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
) -> None:
    """Raise UserError if the names or shapes of the weights do not match the described model."""
    for name in sorted(expected.keys() | found.keys()):
        required, got = (
            tuple(weights[name].shape) if name in weights else "missing"
            for weights in (expected, found)
        )
        if required != got:
            raise UserError(
                f"{path} is described as {spelled(description.architecture)} with "
                f"{len(description.classes)} classes, but {name} is {got} instead of {required};\n"
                "the file was changed or damaged: train the model again"
            )


def spelled(architecture: ModelOptions) -> str:
    """Format an architecture on one line, such as `wide_resnet(depth=28, width=10)`."""
    if isinstance(architecture, TimmOptions):
        return title_of(architecture)
    options = architecture.model_dump(exclude={"name"})
    inside = ", ".join(f"{name}={value}" for name, value in options.items())
    return f"{architecture.name}({inside})" if inside else architecture.name


def listed(classes: tuple[str, ...]) -> str:
    """Format the first three class names."""
    return ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
