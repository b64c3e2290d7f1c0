"""Models of timm, with weights from safetensors files only and their own preprocessing."""

import textwrap
from pathlib import Path
from types import ModuleType
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from ruggedize.core.errors import UserError, did_you_mean
from ruggedize.core.reading import read_json
from ruggedize.models.hub import MODEL, hub_file
from ruggedize.models.predictor import Predictor
from ruggedize.models.resizing import Interpolation

MAX_ERROR_LENGTH = 240  # characters; torch lists all keys
INTERPOLATIONS: dict[str, Interpolation] = {
    "": "bicubic",
    "random": "bilinear",
    "nearest": "nearest",
    "bilinear": "bilinear",
    "bicubic": "bicubic",
    "lanczos": "lanczos",
    "box": "box",
    "hamming": "hamming",
}


def load_timm(name: str, file: Path | None = None, *, download: bool = False) -> Predictor:
    """Load a timm model with its published weights, or with those in a file.

    Args:
        name: a name from `timm.list_models`, with or without a tag: `resnet18.a1_in1k`.
        file: a safetensors file of this model's weights, which sets the number of classes.
        download: download published weights that are not in the cache of the Hugging Face Hub.

    Raises:
        UserError: timm cannot be imported, the model does not exist, or its weights are missing or
            only published as pickles.
    """
    timm = imported_timm()
    check_name(timm, name)
    found = timm.get_pretrained_cfg(name)
    described = found.to_dict() if found else {}
    own = {"custom_load": False, "source": ""}
    if file is None:
        file = published_weights(name, described, download=download)
    else:
        own["num_classes"] = num_classes_in(file, described) or described.get("num_classes", 1000)
    own["file"] = str(file)
    try:
        network = timm.create_model(
            name,
            pretrained=True,
            pretrained_cfg_overlay=own,
            num_classes=own.get("num_classes"),
        )
    except (RuntimeError, KeyError, SafetensorError) as error:
        raise UserError(
            f"{file} does not contain the weights of timm's {name}: {shortened(error)};\n"
            "use the name of the model that the file was saved from"
        ) from error
    return predictor_of(timm, network)


def load_timm_folder(folder: Path) -> Predictor:
    """Load a folder with `config.json` and `model.safetensors`, as timm writes it for the Hub.

    Raises:
        UserError: timm cannot be imported, or the folder is not one of a timm model.
    """
    timm = imported_timm()
    config = read_json(folder / "config.json")
    name = config.get("architecture") if isinstance(config, dict) else None
    if not isinstance(name, str):
        raise UserError(
            f"{folder / 'config.json'} does not describe a timm model;\n"
            "use a model of timm or ruggedize with hf:, as safetensors"
        )
    check_name(timm, name)
    try:
        return predictor_of(timm, timm.create_model(f"local-dir:{folder}", pretrained=True))
    except Exception as error:  # its config.json may hold anything
        raise UserError(
            f"{folder} does not contain a complete timm model {name}: {first_line(error)};\n"
            "download it again, or use another model"
        ) from error


def imported_timm() -> ModuleType:
    """Import timm; raise UserError if it is missing or does not match torch."""
    try:
        import timm
    except ModuleNotFoundError as error:
        raise UserError(
            f"timm/NAME needs the package {error.name}, which is not installed;\n"
            "pip install 'ruggedize[timm]'"
        ) from error
    except (ImportError, RuntimeError, OSError) as error:  # from a torchvision for another torch
        raise UserError(
            f"timm cannot be imported: {first_line(error)};\n"
            "install torch and torchvision from the same index, for a machine without a GPU: pip "
            "install --force-reinstall torch torchvision --index-url "
            "https://download.pytorch.org/whl/cpu"
        ) from error
    return timm


def check_name(timm: ModuleType, name: str) -> None:
    """Raise UserError unless timm has a model of this name."""
    base, _, tag = name.partition(".")
    if not timm.is_model(base):
        listing = "`python -c 'import timm; print(timm.list_models())'` lists them"
        guess = did_you_mean(base, timm.list_models(), prefix="timm/") or listing
        raise UserError(f"timm has no model {base};\n{guess}")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{base}.*")]
    if tag and tag not in tags:
        raise UserError(
            f"timm has no weights {tag} for {base};\nuse one of {', '.join(sorted(tags))}"
        )


def published_weights(name: str, described: dict[str, Any], *, download: bool) -> Path:
    """Return the path of a model's published weights in the Hub cache."""
    repository = described.get("hf_hub_id")
    if not repository:
        raise UserError(
            f"timm publishes no weights of {name} as safetensors, and pickles are never read;\n"
            f"pass a file: timm/{name}@FILE.safetensors"
        )
    named = str(described.get("hf_hub_filename") or MODEL)
    stem = named.rpartition(".")[0].replace("pytorch_model", "model")
    wanted = named if named.endswith(".safetensors") else f"{stem}.safetensors"
    return hub_file(repository, wanted, download=download)


def num_classes_in(file: Path, described: dict[str, Any]) -> int | None:
    """Return the number of classes of the weights in a file; None if it cannot be determined."""
    if not file.is_file():
        raise UserError(f"there is no file {file};\nuse the path of a .safetensors file")
    if file.suffix != ".safetensors":
        raise UserError(
            f"{file} must be a .safetensors file; pickles are never read, because they can run "
            "code;\n"
            "save the weights with safetensors.torch.save_file(model.state_dict(), FILE)"
        )
    head = described.get("classifier") or ()
    names = [head] if isinstance(head, str) else head
    try:
        with safe_open(file, "pt") as weights:
            shapes = {key: weights.get_slice(key).get_shape() for key in weights.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(
            f"{file} is not a complete safetensors file ({error});\nsave the weights again"
        ) from error
    return next((shapes[f"{n}.weight"][0] for n in names if f"{n}.weight" in shapes), None)


def predictor_of(timm: ModuleType, network: nn.Module) -> Predictor:
    """Build a predictor with the model's own preprocessing and class names."""
    from timm.data.config import resolve_model_data_config  # part of timm

    config = resolve_model_data_config(network)
    size = config["input_size"][-1]
    way = str(config["interpolation"])
    return Predictor(
        network.eval(),
        synonyms=class_names(network),
        input_size=size,
        resize=max(size, int(size / config["crop_pct"])),
        interpolation=INTERPOLATIONS[way],
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )


def class_names(network: nn.Module) -> list[tuple[str, ...]] | None:
    """Return the names of each class: the model's own, or ImageNet's if their number matches."""
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    config: dict[str, Any] = network.pretrained_cfg  # pyright: ignore
    if labels := config.get("label_names"):
        return [(str(name),) for name in labels]
    subset = infer_imagenet_subset(network)
    if subset is None:
        return None
    info = ImageNetInfo(subset)
    return [
        (synset, description, *description.split(", "))
        for synset, description in zip(info.label_names(), info.label_descriptions(), strict=True)
    ]


def shortened(error: BaseException) -> str:
    """Return an error's message on one line, cut to MAX_ERROR_LENGTH characters."""
    text = textwrap.shorten(str(error), MAX_ERROR_LENGTH, placeholder=" ...")
    return text or type(error).__name__


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return str(error).strip().partition("\n")[0].rstrip(".:") or type(error).__name__
