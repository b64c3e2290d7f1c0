"""The summary of a finished run: one small JSON file, committed with the results. No torch."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ruggedize.assess import Assessment, ModelAssessment, load_assessment, mean_accuracy
from ruggedize.core import files
from ruggedize.core.errors import UserError, shown
from ruggedize.core.files import read_lines, sha256
from ruggedize.core.reading import read_json
from ruggedize.recipe import Recipe, is_skipped
from ruggedize.report import table_without_places

if TYPE_CHECKING:
    from ruggedize.study.planning import PlannedRun
    from ruggedize.study.reading import Study

FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
VALIDATION = "validation.json"  # an assessment on the validation images
DIGITS = 6  # of an accuracy


class StageSummary(BaseModel):
    """A training: its length, and the SHA-256 of the model that it delivered."""

    model_config = FROZEN
    epochs: int
    seconds: float  # of the training steps, without validation
    pflop: float
    precision: str | None = None  # fp32 or bf16; None: not recorded by earlier versions
    model: str


class ModelSummary(BaseModel):
    """Accuracies of a model, as fractions; None: not all cells were assessed."""

    model_config = FROZEN
    clean: float
    severity5_top1: float | None
    c15: float | None
    c19: float | None
    corruptions: dict[str, float]  # means over the severities that were assessed
    severity5: dict[str, float]  # by corruption


class ValidationSummary(BaseModel):
    """Accuracies of the last stage's model on the validation images."""

    model_config = FROZEN
    clean: float
    extras: float  # mean over the four extra corruptions and all severities
    corruptions: dict[str, float]


class RunSummary(BaseModel):
    """What is kept of a run. Its last model is the result of its arm."""

    model_config = FROZEN
    schema_version: Literal[1] = 1
    study: str
    arm: str
    seed: int
    budget: str | None
    recipe: dict[str, Any]
    data: dict[str, dict[str, Any]]  # digests by split
    images: dict[str, int]  # training, validation, test
    stages: dict[str, StageSummary]
    seconds: float
    pflop: float
    models: dict[str, ModelSummary]
    validation: ValidationSummary
    environment: dict[str, Any]

    @property
    def name(self) -> str:
        """Return the name of the run."""
        return f"{self.arm}-seed{self.seed}"

    @property
    def result(self) -> ModelSummary:
        """Return the accuracies of the last model."""
        return self.models[list(self.stages)[-1]]


def summarise(study: "Study", run: "PlannedRun", out: Path) -> RunSummary:
    """Summarise a finished run from its files."""
    folder = run.folder(out)
    assessment = load_assessment(folder / "assessment.json")
    validation = load_assessment(folder / VALIDATION)
    names = trained_stages(folder, run.recipe)
    stages = {name: stage_summary(run, name, folder / name) for name in names}
    data = assessment.facts.data
    note = read_json(folder / list(stages)[-1] / "delivered.json")["training"]["images"]
    return RunSummary(
        study=study.name,
        arm=run.arm,
        seed=run.seed,
        budget=None if run.budget is None else str(run.budget),
        recipe=portable_recipe(run.recipe),
        data={} if data is None else {n: part.model_dump() for n, part in data.parts.items()},
        images={
            "training": note["training"],
            "validation": validation.images.num_images,
            "test": assessment.images.num_images,
        },
        stages=stages,
        seconds=round(sum(stage.seconds for stage in stages.values()), 1),
        pflop=significant(sum(stage.pflop for stage in stages.values())),
        models={name: model_summary(assessment.models[name]) for name in stages},
        validation=validation_summary(validation),
        environment=read_json(folder / "environment.json"),
    )


def trained_stages(folder: Path, recipe: Recipe) -> list[str]:
    """Return the stages of a finished run, without those that it has skipped."""
    return [name for name in recipe.all_stages if not is_skipped(folder, name)]


def portable_recipe(recipe: Recipe) -> dict[str, Any]:
    """Return a recipe as a table without paths of this machine."""
    return table_without_places(recipe.model_dump(mode="json", exclude_none=True))


def stage_summary(run: "PlannedRun", name: str, folder: Path) -> StageSummary:
    """Summarise a finished training."""
    rows = read_lines(folder / "metrics.jsonl") if name in run.recipe.trainings else []
    return StageSummary(
        epochs=len(rows),
        seconds=round(sum(row["seconds"] for row in rows), 1),
        pflop=significant(run.work[name].after(len(rows))),
        precision=read_json(folder / "delivered.json")["precision"],
        model=sha256(folder / "model.safetensors"),
    )


def model_summary(model: ModelAssessment) -> ModelSummary:
    """Summarise the assessment of a model."""
    values = {
        name: None if value is None else round(value, DIGITS)
        for name, value in model.summary.items()
        if name in ("clean", "severity5_top1", "c15", "c19")
    }
    severity5 = {c.corruption: round(c.accuracy, DIGITS) for c in model.cells if c.severity == 5}
    return ModelSummary.model_validate(
        {**values, "corruptions": by_corruption(model), "severity5": severity5}
    )


def validation_summary(assessment: Assessment) -> ValidationSummary:
    """Summarise the assessment on the validation images."""
    (model,) = assessment.models.values()
    return ValidationSummary(
        clean=round(model.clean.accuracy, DIGITS),
        extras=round(mean_accuracy(model.cells), DIGITS),
        corruptions=by_corruption(model),
    )


def by_corruption(model: ModelAssessment) -> dict[str, float]:
    """Return the accuracy under each corruption, averaged over its severities."""
    names = dict.fromkeys(cell.corruption for cell in model.cells)
    return {
        name: round(mean_accuracy(c for c in model.cells if c.corruption == name), DIGITS)
        for name in names
    }


def significant(value: float) -> float:
    """Return a value with six significant digits."""
    return float(f"{value:.6g}")


def write_summary(folder: Path, summary: RunSummary) -> Path:
    """Write a summary into the folder of a study's results; return its path."""
    path = folder / f"{summary.name}.json"
    files.write_json(path, summary.model_dump(mode="json"))
    return path


def load_summary(path: Path) -> RunSummary:
    """Load a summary.

    Raises:
        UserError: the file is damaged.
    """
    try:
        return RunSummary.model_validate(read_json(path))
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        place = shown(".".join(map(str, fault["loc"]))) or "its content"
        raise UserError(
            f"{shown(path)} is damaged at {place}: {shown(fault['msg'])};\n"
            "restore it, or delete it and run the study again"
        ) from None


def load_summaries(folder: Path) -> list[RunSummary]:
    """Load all summaries in a folder, by arm and seed; none if there is no folder."""
    found = [load_summary(path) for path in sorted(folder.glob("*.json"))]
    return sorted(found, key=lambda summary: (summary.arm, summary.seed))
