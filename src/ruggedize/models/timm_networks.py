"""Networks of timm to be trained: built for the data's classes, from scratch or pretrained."""

from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import nn

from ruggedize.core.errors import UserError
from ruggedize.core.files import sha256
from ruggedize.core.places import user_path
from ruggedize.models.classifier import Channels
from ruggedize.models.layers import copy_weights
from ruggedize.models.options import TIMM, TimmOptions
from ruggedize.models.timm_models import (
    check_name,
    first_line,
    imported_timm,
    num_classes_in,
    published_weights,
    shortened,
)


class Pretrained(NamedTuple):
    """Weights that a training may start from."""

    source: str  # timm/NAME with the tag of published weights, or the name of a file
    file: Path
    license: str | None  # as timm states it; None: not stated

    def to_json(self) -> dict[str, Any]:
        """Return source, hash and licence, as recorded with a training."""
        return {"source": self.source, "sha256": sha256(self.file), "license": self.license}


def timm_network(
    options: TimmOptions, num_classes: int, input_size: int | None = None
) -> nn.Module:
    """Build a network of timm with initial weights from torch's generator.

    Raises:
        UserError: timm cannot be imported, has no such network, or it does not take these options
            or this input size.
    """
    timm = imported_timm()
    check_name(timm, options.architecture)
    rates = {"drop_rate": options.drop_rate, "drop_path_rate": options.drop_path_rate}
    settings = {name: rate for name, rate in rates.items() if rate}
    try:
        return timm.create_model(
            options.architecture,
            num_classes=num_classes,
            **settings,
            **size_setting(timm, options.architecture, input_size),
        )
    except TypeError as error:
        raise UserError(
            f"timm's {options.architecture} does not take {' and '.join(settings)} "
            f"({first_line(error)});\nremove it"
        ) from error
    except (AssertionError, ValueError) as error:
        raise UserError(
            f"timm's {options.architecture} does not take views of {input_size} pixels "
            f"({first_line(error)});\nset views.resize, or use another model"
        ) from error


def size_setting(timm: ModuleType, name: str, input_size: int | None) -> dict[str, int]:
    """Return the input size as an argument for networks that are built for one size."""
    is_fixed = description_of(timm, name).get("fixed_input_size")
    return {"img_size": input_size} if is_fixed and input_size else {}


def description_of(timm: ModuleType, name: str) -> dict[str, Any]:
    """Return how timm describes a network and its published weights."""
    found = timm.get_pretrained_cfg(name)
    return found.to_dict() if found else {}


def normalisation(network: nn.Module) -> tuple[Channels, Channels]:
    """Return mean and standard deviation of the network's data configuration."""
    from timm.data.config import resolve_model_data_config

    config = resolve_model_data_config(network)
    return tuple(config["mean"]), tuple(config["std"])


def find_pretrained(options: TimmOptions, place: str = "model") -> Pretrained:
    """Return the weights that `pretrained` names, downloaded if need be.

    `place` is the dotted name of the model's options (`teacher.model`), for error messages.

    Raises:
        UserError: there is no such file, the weights are not published as safetensors, or they
            are neither in the cache nor can be downloaded.
    """
    timm = imported_timm()
    check_name(timm, options.architecture)
    described = description_of(timm, options.architecture)
    if isinstance(options.pretrained, str):
        file = user_path(options.pretrained)
        num_classes_in(file, described)  # rejects a file that is missing or not safetensors
        return Pretrained(file.name, file, None)
    try:
        file = published_weights(options.architecture, described, download=True)
    except UserError as error:
        cause = str(error).partition("\n")[0]
        raise UserError(
            f"{cause}\nset {place}.name={TIMM}{options.architecture} and "
            f"{place}.pretrained=FILE.safetensors with its weights ({place}.pretrained=false for "
            "random ones), or fetch them where there is a connection (HF_HUB_OFFLINE must not be "
            f"set): `hf download {described.get('hf_hub_id') or f'timm/{options.architecture}'}`"
        ) from error
    name, tag = options.architecture.partition(".")[0], described.get("tag")
    source = f"{TIMM}{name}.{tag}" if tag else f"{TIMM}{name}"
    return Pretrained(source, file, described.get("license") or None)


def load_pretrained(
    network: nn.Module, options: TimmOptions, input_size: int, weights: Pretrained
) -> None:
    """Load pretrained weights into a network, except for its head.

    Raises:
        UserError: the file does not hold the weights of this network.
    """
    donor = pretrained_network(options, input_size, weights)
    copy_weights(donor.state_dict(), network, weights.source, keep_head=False)


def pretrained_network(options: TimmOptions, input_size: int, weights: Pretrained) -> nn.Module:
    """Return a network with pretrained weights and the classes that they were trained on.

    timm loads them: it converts older names, and resamples position embeddings to the input size.

    Raises:
        UserError: the file does not hold the weights of this network.
    """
    timm = imported_timm()
    described = description_of(timm, options.architecture)
    own = {"custom_load": False, "source": "", "file": str(weights.file)}
    num_classes = described.get("num_classes", 1000)
    if isinstance(options.pretrained, str):
        num_classes = num_classes_in(weights.file, described) or num_classes
    try:
        with torch.random.fork_rng(devices=[]):
            return timm.create_model(
                options.architecture,
                pretrained=True,
                pretrained_cfg_overlay=own | {"num_classes": num_classes},
                num_classes=num_classes,
                **size_setting(timm, options.architecture, input_size),
            )
    except (RuntimeError, KeyError, SafetensorError) as error:
        raise UserError(
            f"{weights.file} does not hold the weights of timm's {options.architecture}: "
            f"{shortened(error)};\nset the model that they were trained as"
        ) from error
