"""Load models that are named as on the command line: our own, and those of other origin."""

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
from ruggedize.recipe import Recipe, load_recipe, models_of


def loaded_models(
    named: Mapping[str, Path | str], foreign: ForeignOptions, device: torch.device
) -> dict[str, Classifier | Predictor]:
    """Load models to a device.

    Raises:
        UserError: a model is missing or damaged, or an option applies to none of them.
    """
    others = load_foreign(
        [each for each in named.values() if isinstance(each, str)], foreign, device
    )
    return {
        name: others[place] if isinstance(place, str) else load_model(place).to(device)
        for name, place in named.items()
    }


def named_models(places: Sequence[Path | str]) -> dict[str, Path | str]:
    """Return models by unique name: our files as paths (a run has several), others as given.

    A model is named after itself or its folder; if such names clash, longer ones are used.
    """
    found: list[Path | str] = []
    for place in places:
        found += [str(place)] if kind_of(str(place)) else models_at(Path(place))
    if not found:
        raise UserError("there is no model to assess;\ngive a run folder or a model.safetensors")
    short = [named(model) for model in found]
    if len(set(short)) == len(short):
        return dict(zip(short, found, strict=True))
    long = [long_name(model) for model in found]
    if len(set(long)) < len(long):
        raise UserError(
            f"several of these models have the same name: {', '.join(long)};\n"
            "pass each model only once, rename run folders, or assess the models separately"
        )
    return dict(zip(long, found, strict=True))


def models_at(place: Path) -> list[Path]:
    """Return the trained models of a run folder, or the file itself."""
    if not place.is_dir():
        if not place.suffix:
            files.reject_missing_run(
                place, "use a run folder or a model file (.safetensors, .onnx)"
            )
        return [place]
    written = place / "recipe.toml"
    models = [place / name / "model.safetensors" for name in NAMES]
    if written.exists():
        models = [*models_of(place, load_recipe(written)).values()]
    found = [file for file in models if file.exists()]
    if not found:
        raise UserError(
            f"{place} contains no teacher/ or student/model.safetensors;\nfinish the run first"
        )
    return found


def named(model: Path | str) -> str:
    """Return a short name, such as student for student/model.safetensors."""
    if isinstance(model, Path):
        return model.resolve().parent.name if model.stem == "model" else model.stem
    if kind_of(model) == "onnx":
        return Path(model).stem
    last = re.split("[/:]", model.partition("@")[0])[-1]
    return safe(last)


def long_name(model: Path | str) -> str:
    """Return a longer name: with the run folder, or the whole reference."""
    if isinstance(model, str):
        return safe(model)
    return f"{model.resolve().parent.parent.name}-{named(model)}"


def safe(name: str) -> str:
    """Return a name that is a valid file name."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-.")


def earlier_recipe(places: Sequence[Path]) -> Recipe | None:
    """Load the recipe of the first run folder among these; None if no folder holds one.

    Data that is no longer where the run found it is looked up as if the recipe named no folder.
    """
    for place in places:
        if (place / "recipe.toml").exists():
            recipe = load_recipe(place / "recipe.toml")
            if recipe.data.root is None or recipe.data.root.is_dir():
                return recipe
            without = recipe.data.model_copy(update={"root": None})
            return recipe.model_copy(update={"data": without})
    return None
