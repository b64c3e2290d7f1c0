"""Models by the names that the command line takes: ours, and those of other origin."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.models import (
    Classifier,
    ForeignOptions,
    Predictor,
    kind_of,
    load_foreign,
    load_model,
)
from ruggedize.pipeline import NAMES
from ruggedize.recipe import load_recipe, models_of


def loaded_models(
    named: Mapping[str, Path | str], foreign: ForeignOptions, device: torch.device
) -> dict[str, Classifier | Predictor]:
    """Load the models, onto the device.

    Raises:
        UserError: a model is missing or damaged, or an option has no effect on any.
    """
    others = load_foreign(
        [each for each in named.values() if isinstance(each, str)], foreign, device
    )
    return {
        name: others[place] if isinstance(place, str) else load_model(place).to(device)
        for name, place in named.items()
    }


def named_models(places: Sequence[Path | str]) -> dict[str, Path | str]:
    """Name the models: our files (a run's teacher and student), and what others are called by.

    A name is that of a file's folder or of the model, or a longer one where that is unclear.
    """
    found: list[Path | str] = []
    for place in places:
        found += [str(place)] if kind_of(str(place)) else models_at(Path(place))
    if not found:
        raise UserError("there is no model to assess; give a run folder or a model.safetensors")
    short = [named(model) for model in found]
    if len(set(short)) == len(short):
        return dict(zip(short, found, strict=True))
    long = [long_name(model) for model in found]
    if len(set(long)) < len(long):
        raise UserError(
            f"these models cannot be told apart by name: {', '.join(long)};\n"
            "rename their run folders, or assess them one by one"
        )
    return dict(zip(long, found, strict=True))


def models_at(place: Path) -> list[Path]:
    """Return a run folder's two models, or the file itself."""
    if not place.is_dir():
        if not place.suffix:
            files.reject_missing_run(place)
        return [place]
    written = place / "recipe.toml"
    models = [place / name / "model.safetensors" for name in NAMES]
    if written.exists():
        models = [*models_of(place, load_recipe(written)).values()]
    found = [file for file in models if file.exists()]
    if not found:
        raise UserError(f"{place} holds no teacher/ or student/model.safetensors; run it first")
    return found


def named(model: Path | str) -> str:
    """Name a model: `student/model.safetensors` is student, `timm/resnet18` is resnet18."""
    if isinstance(model, Path):
        return model.resolve().parent.name if model.stem == "model" else model.stem
    if kind_of(model) == "onnx":
        return Path(model).stem
    last = re.split("[/:]", model.partition("@")[0])[-1]
    return safe(last)


def long_name(model: Path | str) -> str:
    """Name a model by more than its last part."""
    if isinstance(model, str):
        return safe(model)
    return f"{model.resolve().parent.parent.name}-{named(model)}"


def safe(name: str) -> str:
    """Return a name that can be a file's."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-.")
