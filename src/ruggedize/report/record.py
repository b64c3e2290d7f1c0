"""Load the files of a run folder, or of an assessment without a run."""

import re
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel

from ruggedize.assess import (
    FILE_NAME,
    Assessment,
    ModelAssessment,
    Predictions,
    examples_folder,
    load_assessment,
    load_predictions,
    predictions_folder,
)
from ruggedize.core.errors import UserError
from ruggedize.core.files import read_lines, reject_missing_run
from ruggedize.core.reading import parsed_json, read_bytes, reject_outside
from ruggedize.core.tables import is_too_deep
from ruggedize.report.shapes import (
    Curve,
    Delivered,
    Environment,
    Recipe,
    Rows,
    Skipped,
    check_shape,
)

OF_A_RUN = "assessment.json"
TAUGHT = ("consistency", "noisy-student")  # objectives with a teacher
PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class Picture:
    """One example: the clean image next to the corrupted one."""

    corruption: str
    severity: int
    index: int
    png: bytes


@dataclass(frozen=True)
class RunRecord:
    """Everything stored about a run; missing parts are empty.

    An assessment without a run folder has no recipe, environment or metrics.
    """

    name: str
    recipe: dict[str, Any]
    recipe_text: str
    environment: dict[str, Any]
    assessment: Assessment
    predictions: dict[str, Predictions]
    metrics: dict[str, list[dict[str, Any]]]  # by model, one row per epoch
    delivered: dict[str, dict[str, Any]]  # by model: which weights of which epoch
    curves: dict[str, list[dict[str, Any]]]  # by interpolated model: accuracy by alpha
    views: bytes | None
    examples: tuple[Picture, ...]
    skipped: dict[str, str] = field(default_factory=dict)  # reason, by stage
    joined: dict[str, str] = field(default_factory=dict)  # models by their names before joining

    @property
    def seed(self) -> int | None:
        """Return the seed of the whole run; None without a recipe."""
        return self.recipe.get("seed")

    @property
    def overlaps(self) -> dict[str, list[str]]:
        """Return, by corruption, the training noise that overlaps it."""
        found: dict[str, list[str]] = {}
        for operation, corruptions in (self.assessment.facts.overlaps or {}).items():
            for corruption in corruptions:
                found.setdefault(corruption, []).append(operation)
        return found

    @property
    def control(self) -> str | None:
        """Return the control of the last model: trained on noisy views with labels only."""
        *others, _ = self.assessment.models
        found = [name for name in others if is_control(self.stage(name))]
        return found[-1] if found else None

    def stage(self, name: str) -> dict[str, Any]:
        """Return the options of a stage in the recipe; empty if there are none."""
        found = self.recipe.get(name) or self.recipe.get("stages", {}).get(name)
        return found if isinstance(found, dict) else {}

    def teacher_of(self, name: str) -> str | None:
        """Return the model that taught another one; None if none was assessed."""
        parents = self.delivered[name].get("training", {}).get("parents")
        if parents is None:  # a training of an earlier version, or a recipe alone
            parents = [self.recipe_teacher(name)]
        found = next(iter(parents), None)
        return found if found in self.assessment.models else None

    def recipe_teacher(self, name: str) -> str | None:
        """Return the teacher of a stage according to the recipe alone, or None."""
        options = self.stage(name)
        if options.get("objective", {}).get("kind", "consistency") not in TAUGHT:
            return None
        found = options.get("learns_from", "teacher" if name == "student" else None)
        return next(iter(found), None) if isinstance(found, list) else found


def read_record(place: Path) -> RunRecord:
    """Load a run folder, or an assessment's JSON file with its predictions next to it.

    Raises:
        UserError: there is no assessment, or it does not match its predictions.
    """
    if place.suffix != ".json":
        return read_run(place)
    if place.name == OF_A_RUN and (place.parent / "recipe.toml").exists():
        return read_run(place.parent)
    name = place.stem if place.name != OF_A_RUN else place.resolve().parent.name
    return record_of(place, name, examples_folder(place))


def read_run(folder: Path) -> RunRecord:
    """Load a run folder.

    Raises:
        UserError: it contains no assessment, or the assessment does not match its predictions.
    """
    reject_missing_run(folder, "use a run folder or an assessment (.json)")
    record = record_of(folder / OF_A_RUN, folder.resolve().name, folder / "examples")
    recipe_text = read_text(folder, "recipe.toml")
    names, recipe = record.assessment.models, parsed_recipe(folder / "recipe.toml", recipe_text)
    return replace(
        record,
        recipe=recipe,
        skipped=read_skipped(folder, recipe),
        recipe_text=recipe_text,
        environment=read_object(folder, "environment.json", Environment),
        metrics={name: read_rows(folder, f"{name}/metrics.jsonl") for name in names},
        delivered={
            name: read_object(folder, f"{name}/delivered.json", Delivered) for name in names
        },
        curves={
            name: read_object(folder, f"{name}/interpolation.json", Curve).get("points", [])
            for name in names
        },
        views=read_png(folder, "views.png") if (folder / "views.png").exists() else None,
    )


def read_skipped(folder: Path, recipe: dict[str, Any]) -> dict[str, str]:
    """Return why stages were skipped, by stage."""
    names = [name for name in recipe.get("stages", {}) if re.fullmatch(r"[a-z0-9_-]+", name)]
    found = {name: read_object(folder, f"{name}/skipped.json", Skipped) for name in names}
    return {name: note["reason"] for name, note in found.items() if note}


def record_of(path: Path, name: str, examples: Path) -> RunRecord:
    """Load an assessment, its predictions and its example pictures."""
    reject_outside(path, path.parent)
    assessment = load_assessment(path)
    predictions = {
        model: predictions_of(path.parent, predictions_folder(path) / f"{model}.safetensors", found)
        for model, found in assessment.models.items()
    }
    reject_other_predictions(path, assessment, predictions)
    return RunRecord(
        name=name,
        recipe={},
        recipe_text="",
        environment={},
        assessment=assessment,
        predictions=predictions,
        metrics={model: [] for model in assessment.models},
        delivered={model: {} for model in assessment.models},
        curves={},
        views=None,
        examples=tuple(read_examples(examples, assessment)),
    )


def predictions_of(folder: Path, path: Path, model: ModelAssessment) -> Predictions:
    """Load the predictions of a model; reject more images than it was assessed on."""
    if path.exists():
        reject_outside(path, folder)
    return load_predictions(path, max(cell.n for cell in (model.clean, *model.cells)))


def reject_other_predictions(
    path: Path, assessment: Assessment, predictions: dict[str, Predictions]
) -> None:
    """Raise UserError if the predictions do not add up to the assessment's counts."""
    first = next(iter(predictions.values()))
    for name, model in assessment.models.items():
        kept = predictions[name]
        cells = {(cell.corruption, cell.severity): cell.correct for cell in model.cells}
        same_cells = cells.keys() == kept.cells.keys() and model.clean.n == len(kept.clean.classes)
        num_classes = len(assessment.images.classes)
        if (
            not same_cells
            or any(kept.correct(cell).sum() != n for cell, n in cells.items())
            or not is_within(kept, num_classes)
            or not np.array_equal(kept.index, first.index)
        ):
            raise UserError(
                f"{path} does not match the predictions of {name} next to it;\nassess again"
            )


def is_within(predictions: Predictions, num_classes: int) -> bool:
    """Return whether image indices ascend and all classes are in 0..num_classes - 1."""
    tops = (predictions.clean, *predictions.cells.values())
    labels = [predictions.labels, *(predictions.clean_rows or ())[1:]]
    known = [*labels, *(top.classes for top in tops)]
    is_sorted = bool((np.diff(predictions.index) > 0).all())
    return is_sorted and all(0 <= each.min() <= each.max() < num_classes for each in known)


def is_control(stage: dict[str, Any]) -> bool:
    """Return whether a stage learns from the labels only, on noisy views."""
    kind = stage.get("objective", {}).get("kind")
    return kind == "supervised" and stage.get("views") == "noisy"


def read_text(folder: Path, name: str) -> str:
    """Read a text file of a run; return an empty string if it is missing."""
    path = folder / name
    if not path.exists():
        return ""
    reject_outside(path, folder)
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError:
        raise UserError(f"{path} is not text in UTF-8;\nrestore it, or delete it") from None


def parsed_recipe(path: Path, text: str) -> dict[str, Any]:
    """Parse the recipe of a run; raise UserError if it is damaged."""
    try:
        recipe = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not valid TOML: {error};\nrestore it, or delete it") from None
    if is_too_deep(recipe):
        raise UserError(f"{path} is nested too deeply;\nrestore it, or delete it")
    check_shape(path, recipe, Recipe)
    return recipe


def read_object(folder: Path, name: str, shape: type[BaseModel]) -> dict[str, Any]:
    """Read a JSON object of a run; return an empty one if the file is missing."""
    text = read_text(folder, name)
    content = parsed_json(folder / name, text.encode()) if text else {}
    if content != {}:
        check_shape(folder / name, content, shape)
    return content


def read_rows(folder: Path, name: str) -> list[dict[str, Any]]:
    """Read the metrics of a training, one row per epoch."""
    path = folder / name
    if path.exists():
        reject_outside(path, folder)
    rows = read_lines(path)
    check_shape(path, rows, Rows)
    return rows


def read_png(folder: Path, name: str) -> bytes:
    """Read a PNG picture of a run; raise UserError for other content or a link elsewhere."""
    path = folder / name
    reject_outside(path, folder)
    picture = read_bytes(path)
    if not picture.startswith(PNG):
        raise UserError(f"{path} is not a PNG picture;\nremove it")
    return picture


def read_examples(folder: Path, assessment: Assessment) -> list[Picture]:
    """Load the pictures in a folder that the assessment names, in order of their names.

    An assessment of an earlier version names none: all pictures in the folder are loaded.
    """
    pictures, named = [], assessment.facts.examples
    for path in sorted(folder.glob("*.png")):
        match = FILE_NAME.fullmatch(path.name)
        if match and (named is None or path.name in named):
            severity, index = int(match["severity"]), int(match["index"])
            picture = read_png(folder.parent, f"{folder.name}/{path.name}")
            pictures.append(Picture(match["corruption"], severity, index, picture))
    return pictures
