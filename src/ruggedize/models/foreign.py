"""Loading of models that ruggedize did not write, by the names used on the command line."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from ruggedize.core.errors import UserError
from ruggedize.models.classifier import Classifier
from ruggedize.models.contract import Contract, option
from ruggedize.models.hub import MODEL, hub_file
from ruggedize.models.model_files import METADATA_KEY, load_model
from ruggedize.models.onnx_models import load_onnx
from ruggedize.models.own_code import made_by, names_function
from ruggedize.models.predictor import Predictor
from ruggedize.models.timm_models import load_timm, load_timm_folder

Kind = Literal["timm", "hf", "onnx", "module", "function"]
TAKEN: Mapping[Kind, frozenset[str]] = {  # which properties of a contract have an effect
    "timm": frozenset({"resize"}),
    "hf": frozenset({"resize"}),
    "onnx": frozenset(Contract._fields),
    "module": frozenset(Contract._fields) - {"layout"},
    "function": frozenset({"input_size", "resize", "output"}),
}
UNPICKLED = (".pt", ".pth", ".pt2", ".ckpt", ".bin", ".pkl", ".pickle", ".tar", ".jit")


NOTHING_SAID = Contract()


@dataclass(frozen=True)
class ForeignOptions:
    """Options for models that ruggedize did not write.

    Args:
        contract: how the models take images and return scores, as far as they do not declare it.
        classes: the names of the outputs, in order.
        class_map: the data class of each model class.
        download: download published weights that are not in the cache.
    """

    contract: Contract = NOTHING_SAID
    classes: tuple[str, ...] | None = None
    class_map: Mapping[str, str] | None = None
    download: bool = False


def kind_of(text: str) -> Kind | None:
    """Return what kind of model a text names; None for a file or folder written by ruggedize.

    Raises:
        UserError: the text names a file whose loader would unpickle it.
    """
    if text.startswith("timm/"):
        return "timm"
    if text.startswith("hf:"):
        return "hf"
    if text.lower().endswith(".onnx"):
        return "onnx"
    if names_function(text) and not Path(text).exists():
        return "function"
    if text.lower().endswith(UNPICKLED) and not Path(text).is_dir():
        raise UserError(
            f"{text} is a pickle or contains one, which can run code when it is opened;\n"
            "write a function that builds the network and loads its weights, and pass "
            "package.module:function (or timm/NAME@FILE.safetensors)"
        )
    return None


def load_foreign(
    texts: Sequence[str], options: ForeignOptions, device: torch.device
) -> dict[str, Classifier | Predictor]:
    """Load models that ruggedize did not write onto a device; return them by their texts.

    Raises:
        UserError: a model cannot be loaded, or an option has no effect on any of them.
    """
    loaded: dict[str, Classifier | Predictor] = {}
    kinds: dict[str, Kind | None] = {}
    for text in texts:
        try:
            model, kinds[text] = load_one(text, options, device)
        except ValueError as error:  # a contract that contradicts itself
            raise UserError(f"{text}: {error}") from error
        loaded[text] = model if kinds[text] is None else with_classes(text, model, options)
        if isinstance(model, nn.Module):
            model.to(device)
        elif isinstance(model.model, nn.Module):
            model.model.to(device)
    reject_idle(kinds, options)
    return loaded


def load_one(
    text: str, options: ForeignOptions, device: torch.device
) -> tuple[Classifier | Predictor, Kind | None]:
    """Load one model and return its kind, which is None if it declares its whole contract."""
    kind, contract = kind_of(text), options.contract
    if kind == "timm":
        name, _, file = text.removeprefix("timm/").partition("@")
        place = Path(file) if file else None
        model = load_timm(name, place, download=options.download)
        return with_resize(model, contract.resize), kind
    if kind == "hf":
        hub = load_hub(text.removeprefix("hf:"), download=options.download)
        is_ours = isinstance(hub, Classifier)
        return (hub, None) if is_ours else (with_resize(hub, contract.resize), kind)
    if kind == "onnx":
        return load_onnx(Path(text), contract, device), kind
    made = made_by(text)
    if isinstance(made, Classifier | Predictor):
        return made, None
    own: Kind = "module" if isinstance(made, nn.Module) else "function"
    parts = {name: getattr(contract, name) for name in contract.given if name in TAKEN[own]}
    return Predictor(made, **parts), own


def load_hub(repository: str, *, download: bool) -> Classifier | Predictor:
    """Load a ruggedize or timm model from the Hugging Face Hub, without running code from there."""
    from safetensors import SafetensorError, safe_open

    file = hub_file(repository, MODEL, download=download)
    try:
        with safe_open(file, "pt") as weights:
            is_ours = METADATA_KEY in (weights.metadata() or {})
    except SafetensorError as error:
        raise UserError(
            f"{MODEL} of {repository} is not a whole safetensors file ({error});\n"
            "download it again, or use another model"
        ) from None
    if is_ours:
        return load_model(file)
    config = hub_file(repository, "config.json", download=download)
    if config.parent != file.parent:
        raise UserError(
            f"config.json and {MODEL} of {repository} are cached in different versions;\n"
            "add --download once"
        )
    return load_timm_folder(config.parent)


def with_resize(model: Predictor, resize: int | None) -> Predictor:
    """Return the predictor with another resize before its centre crop; None changes nothing."""
    return model if resize is None else replace(model, resize=resize)


def with_classes(
    text: str, model: Classifier | Predictor, options: ForeignOptions
) -> Classifier | Predictor:
    """Return the predictor with the class names and the class map from the options.

    Raises:
        UserError: an ONNX file that ruggedize exported declares other names.
    """
    if isinstance(model, Classifier):
        return model
    if options.classes is not None:
        own = model.classes if kind_of(text) == "onnx" else None
        if own is not None and list(own) != list(options.classes):
            raise UserError(
                f"--classes must be {', '.join(own[:3])}{', ...' * (len(own) > 3)}, as {text} "
                "declares, in its order;\nomit the option"
            )
        model = replace(model, classes=options.classes, synonyms=None)
    return model if options.class_map is None else replace(model, class_map=options.class_map)


def reject_idle(kinds: Mapping[str, Kind | None], options: ForeignOptions) -> None:
    """Raise UserError for an option that has no effect on any model."""
    named = ", ".join(kinds) or "models of ruggedize"
    for name in options.contract.given:
        if not any(name in TAKEN[kind] for kind in kinds.values() if kind):
            raise UserError(
                f"{option(name)} has no effect on {named}: the models define it themselves;\n"
                "omit the option"
            )
    if not any(kinds.values()) and (options.classes is not None or options.class_map is not None):
        name = "--class-map" if options.classes is None else "--classes"
        raise UserError(
            f"{name} has no effect on {named}: the models define their classes;\nomit the option"
        )
    if options.download and not any(text.startswith(("timm/", "hf:")) for text in kinds):
        raise UserError(
            "--download has no effect: only timm/NAME and hf:ORG/NAME can be downloaded;\n"
            "omit the option"
        )
