"""Teachers that several runs of a study share are trained once and copied."""

import json
import logging
import secrets
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ruggedize.core.files import PARTIAL, sha256
from ruggedize.recipe import Recipe, stages_needed, teachers_in
from ruggedize.study.planning import PlannedRun
from ruggedize.train import InterpolationOptions, reject_changed_model

MODEL = "model.safetensors"
NOT_COPIED = shutil.ignore_patterns("state", ".lock", f"*{PARTIAL}")
log = logging.getLogger(__name__)


def training_key(recipe: Recipe, stage: str) -> str:
    """Return everything in a recipe that the training of a stage depends on, as JSON."""
    return json.dumps(ingredients(recipe, stage), sort_keys=True)


def ingredients(recipe: Recipe, stage: str) -> dict[str, Any]:
    """Return the options of a stage and of the stages that it needs, the views and the data.

    The name of the stage is included, because random streams depend on it.
    """
    options = recipe.all_stages[stage]
    teachers = {f"teacher {number}": name for number, name in enumerate(teachers_in(recipe, stage))}
    needed = {**teachers, "start": options.start}
    interpolated: dict[str, Any] = {}
    if isinstance(options, InterpolationOptions):  # its alpha is chosen under corruptions
        needed["end"] = options.interpolate
        interpolated["preset"] = recipe.assess.preset
    return {
        "stage": stage,
        "seed": recipe.seed,
        "options": options.model_dump(mode="json"),
        "views": recipe.views.model_dump(mode="json"),
        "data": recipe.data.model_dump(mode="json", exclude={"root"}),
        **interpolated,
        **{
            name: ingredients(recipe, source)
            for name, source in needed.items()
            if source in recipe.all_stages
        },
    }


def reuse_teachers(run: PlannedRun, others: Iterable[PlannedRun], out: Path) -> None:
    """Copy finished stages of other runs into a run that would train the same ones.

    The last stage of a run, which is what its arm is about, is always trained.
    """
    finished = list(others)
    *teachers, _ = run.recipe.all_stages
    for stage in teachers:
        place = run.folder(out) / stage
        if place.exists():  # trained, or begun
            continue
        key = training_key(run.recipe, stage)
        for other in finished:
            source = other.folder(out) / stage
            is_equal = stage in other.recipe.all_stages and training_key(other.recipe, stage) == key
            if other.name == run.name or not is_equal or not (source / MODEL).exists():
                continue
            if has_same_models(source.parent, place.parent, stages_needed(run.recipe, stage)):
                reject_changed_model(source)
                copy_training(source, place)
                log.info("%s: the %s is that of %s", run.name, stage, other.name)
                break


def has_same_models(first: Path, second: Path, stages: Iterable[str]) -> bool:
    """Return whether two runs have the same models of these stages.

    They differ if both runs have trained a stage, on different machines for example.
    """
    files = [(first / name / MODEL, second / name / MODEL) for name in stages]
    return all(a.exists() and b.exists() and sha256(a) == sha256(b) for a, b in files)


def copy_training(source: Path, place: Path) -> None:
    """Copy a finished training without its state; the copy appears all at once."""
    partial = place.with_name(f".{place.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        shutil.copytree(source, partial, ignore=NOT_COPIED)
        partial.rename(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
