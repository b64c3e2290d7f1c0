"""One trained model in one file: its weights and their description, and no code to execute."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ruggedize.core.errors import UserError
from ruggedize.core.files import write_atomically
from ruggedize.models.classifier import HALF, Channels, Classifier
from ruggedize.models.hub import model_file
from ruggedize.models.options import CustomModel, ModelOptions
from ruggedize.models.registry import meta_model

LARGEST_SIDE = 1024  # of images, as a recipe may ask for; a file could claim to need all memory
METADATA_KEY = "ruggedize"  # one key: safetensors does not keep the order of several
PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class Description(BaseModel):
    """What a model file says of its weights; no date and no path, so equal runs agree."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal["ruggedize-model-1"] = "ruggedize-model-1"
    architecture: ModelOptions
    classes: tuple[str, ...]
    image_size: int = Field(ge=1, le=LARGEST_SIDE)
    input_size: int = Field(ge=1, le=LARGEST_SIDE)
    mean: Channels = HALF
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = HALF
    parents: dict[str, str] = {}


def save_model(
    classifier: Classifier, path: Path | str, parents: Mapping[str, str] | None = None
) -> None:
    """Write a model file.

    `parents` names the files that the model was made from and their SHA-256.
    """
    write_atomically(Path(path), packed_model(classifier, parents))


def packed_model(classifier: Classifier, parents: Mapping[str, str] | None = None) -> bytes:
    """Return a model file's bytes: equal for equal weights and descriptions."""
    is_custom = isinstance(classifier.architecture, CustomModel)  # its code is not in the file
    description = Description(
        architecture=CustomModel() if is_custom else classifier.architecture,
        classes=classifier.classes,
        image_size=classifier.image_size,
        input_size=classifier.input_size,
        mean=classifier.mean,
        std=classifier.std,
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
    """Load a model: a classifier on the CPU, in eval mode, with float32 weights.

    Nothing is unpickled.

    Args:
        path: a model file, a folder that holds one, or `hf:ORG/NAME` of the Hugging Face Hub; a
            run folder stands for its student.
        architecture: the architecture that the file must hold.
        classes: the classes that the file must know.
        network: for a file of a network of your own: the network that gets the weights.
        download: fetch `hf:ORG/NAME` from the Hub; without it, only the local cache is read.

    Raises:
        UserError: there is no such file, it is no model file, or it holds another model.
    """
    path = model_file(path, download=download)
    description, weights = read(path)
    if architecture is not None and description.architecture != architecture:
        raise UserError(
            f"{path} holds {spelled(description.architecture)}, not {spelled(architecture)}\n"
            "give the file of such a model, or change the recipe's model"
        )
    if classes is not None and description.classes != tuple(classes):
        raise UserError(
            f"{path} knows {len(description.classes)} classes ({listed(description.classes)}), "
            f"the data has {len(classes)} ({listed(classes)})\n"
            "give a model that was trained on these classes"
        )
    if network is not None and description.architecture.name != "custom":
        raise UserError(
            f"{path} holds {spelled(description.architecture)}, which needs no network of your own;"
            "\nleave network out"
        )
    own = network
    if own is None:
        own = meta_model(description.architecture, len(description.classes))
    reject_other_weights(path, description, own.state_dict(), weights)  # before they take memory
    classifier = Classifier(
        own if network is not None else own.to_empty(device="cpu"),
        architecture=description.architecture,
        classes=description.classes,
        image_size=description.image_size,
        input_size=description.input_size,
        mean=description.mean,
        std=description.std,
    )
    classifier.network.load_state_dict(weights)
    return classifier.eval()


def read_description(path: Path | str) -> Description:
    """Read what a model file says of itself, its parents' hashes included."""
    return read(Path(path))[0]


def read(path: Path) -> tuple[Description, dict[str, Tensor]]:
    """Read description and weights, or say why this is no model file of ours."""
    if not path.is_file():
        raise UserError(f"there is no model file {path}; give the path of a model.safetensors")
    with path.open("rb") as file:
        start = file.read(4)
    if start.startswith(PICKLE_STARTS):
        raise UserError(
            f"{path} is a pickle or an archive, which could run code when opened\n"
            "give a model.safetensors that ruggedize wrote"
        )
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, RuntimeError) as error:  # shapes that no tensor can have
        raise UserError(
            f"{path} is not a whole safetensors file ({error})\n"
            "give a model.safetensors that ruggedize wrote"
        ) from error
    return described(path, metadata), weights


def described(path: Path, metadata: Mapping[str, str]) -> Description:
    """Read the description out of a file's metadata."""
    if METADATA_KEY not in metadata:
        raise UserError(
            f"{path} holds weights but does not say of which model\n"
            "give a model.safetensors that ruggedize wrote"
        )
    try:
        return Description.model_validate_json(metadata[METADATA_KEY])
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the description"
        raise UserError(
            f"{path} is described in a way unknown to this version: {place}: {first['msg']}\n"
            "update ruggedize, or train the model again"
        ) from error


def reject_other_weights(
    path: Path,
    description: Description,
    expected: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
) -> None:
    """Reject weights that are not those of the described model, naming the first difference."""
    for name in sorted(expected.keys() | found.keys()):
        wanted, got = (
            tuple(part[name].shape) if name in part else "nothing" for part in (expected, found)
        )
        if wanted != got:
            raise UserError(
                f"{path} says {spelled(description.architecture)} with "
                f"{len(description.classes)} classes, but {name} is {got} instead of {wanted}\n"
                "the file was changed or damaged: train the model again"
            )


def spelled(architecture: ModelOptions) -> str:
    """Write an architecture in one line, such as `wide_resnet(depth=28, width=10)`."""
    options = architecture.model_dump(exclude={"name"})
    inside = ", ".join(f"{name}={value}" for name, value in options.items())
    return f"{architecture.name}({inside})" if inside else architecture.name


def listed(classes: tuple[str, ...]) -> str:
    """Write the first few class names."""
    return ", ".join(classes[:3]) + (", ..." if len(classes) > 3 else "")
