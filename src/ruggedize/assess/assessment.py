"""The results of an assessment: counts per cell, summaries, JSON on disk. Imports no torch."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from ruggedize.assess.consistency import check_cell, check_model, check_models
from ruggedize.assess.facts import AssessmentFacts
from ruggedize.core import files
from ruggedize.core.errors import UserError, shown
from ruggedize.core.reading import read_json
from ruggedize.corruptions import ALL, BENCHMARK, SEVERITIES

SCHEMA_VERSION = 1
CLEAN = "clean"  # as a cell: severity 0
COMPLETE = {
    "severity5_top1": (ALL, (5,)),
    "c15": (BENCHMARK, SEVERITIES),
    "c19": (ALL, SEVERITIES),
}
"""Summaries that have a value only if all of their cells were assessed.

Source: `severity5_top1` is the Keras example's "mean top-1"; `c15` is what RobustBench ranks by.
"""
PRESENT = (
    "severity5_present",
    "present_mean",
)  # over the cells assessed; not comparable with the above
FROZEN = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Cell(BaseModel):
    """One model on one corruption at one severity: sums and counts over the images.

    `agreeing` counts the images classified like their clean version; it is null if the suite's
    images are not those of the clean set.
    """

    model_config = FROZEN
    corruption: str = Field(pattern=r"^[a-z][a-z0-9_]{0,99}$")
    severity: int = Field(ge=0, le=5)
    n: int = Field(ge=1)
    correct: int
    top3_correct: int
    agreeing: int | None
    negative_log_likelihood_sum: float
    calibration_error: float

    @model_validator(mode="after")
    def counts(self) -> "Cell":
        """Raise a ValueError if a count is impossible."""
        check_cell(self)
        return self

    @property
    def accuracy(self) -> float:
        """Return the top-1 accuracy, as a fraction."""
        return self.correct / self.n

    @property
    def negative_log_likelihood(self) -> float:
        """Return the mean negative log likelihood, in nats."""
        return self.negative_log_likelihood_sum / self.n


class Coverage(BaseModel):
    """How many of a summary's corruptions were assessed at all of its severities."""

    model_config = FROZEN
    present: int
    needed: int


class ModelAssessment(BaseModel):
    """All results of one model; a summary with missing cells is null."""

    model_config = FROZEN
    summary: dict[str, float | None]
    coverage: dict[str, Coverage]
    clean: Cell
    cells: tuple[Cell, ...]

    @model_validator(mode="after")
    def summaries(self) -> "ModelAssessment":
        """Raise a ValueError if the summaries do not match the cells."""
        check_model(self, *summarised(self.clean, self.cells))
        return self


class Comparison(BaseModel):
    """The difference in one summary, model minus baseline, as a fraction, with its interval."""

    model_config = FROZEN
    baseline: str
    model: str
    summary: str
    difference: float
    low: float
    high: float
    level: float
    method: str
    resamples: int
    seed: int
    n: int


class ImageFacts(BaseModel):
    """The test images: how many were assessed of how many, classes, and stored size in pixels."""

    model_config = FROZEN
    num_images: int
    available: int
    classes: tuple[str, ...]
    image_size: int | None = None  # not in assessments of earlier versions


class InputFacts(BaseModel):
    """How stored images are preprocessed for a model, and what it returns.

    Args:
        input_size: input size in pixels; None: the stored size.
        resize: size to which images are resized before the centre crop; None: `input_size`.
        image_size: stored size that the model was trained on; None: any.
        crop_pct: share of the side that the test view keeps, its middle, before it is resized.
        interpolation: filter for resizing; "tf" is bilinear without antialiasing.
        mean: mean of each channel, subtracted from pixels in 0..1; None: uint8 pixels.
        std: standard deviation of each channel, which pixels are then divided by.
        channels: order of the channels: rgb or bgr.
        layout: nchw or nhwc.
        output: logits or probabilities.
    """

    model_config = FROZEN
    input_size: int | None = None
    resize: int | None = None
    image_size: int | None = None
    crop_pct: float = 1.0
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    channels: str = "rgb"
    layout: str = "nchw"
    output: str = "logits"


class UnpairedFacts(BaseModel):
    """A suite whose images are not those of the clean set: why, and how many were assessed."""

    model_config = FROZEN
    reason: str
    num_images: int
    available: int


class Assessment(BaseModel):
    """Everything measured on one suite; the content of `assessment.json`."""

    model_config = FROZEN
    schema_version: Literal[1] = SCHEMA_VERSION
    ruggedize: str
    suite: str
    suite_facts: dict[str, str]
    images: ImageFacts
    unpaired: UnpairedFacts | None = None
    precision: dict[str, str]
    inputs: dict[str, InputFacts] = {}  # empty in assessments of earlier versions
    facts: AssessmentFacts = AssessmentFacts()
    models: dict[str, ModelAssessment]
    comparisons: tuple[Comparison, ...]

    @model_validator(mode="after")
    def parts(self) -> "Assessment":
        """Raise a ValueError if models and comparisons do not match."""
        check_models(self)
        return self


def model_assessment(clean: Cell, cells: Iterable[Cell]) -> ModelAssessment:
    """Summarise a model's cells; counts are summed first and divided once."""
    cells = tuple(cells)
    summary, coverage = summarised(clean, cells)
    return ModelAssessment(summary=summary, coverage=coverage, clean=clean, cells=cells)


def summarised(
    clean: Cell, cells: tuple[Cell, ...]
) -> tuple[dict[str, float | None], dict[str, Coverage]]:
    """Return value and coverage of each summary."""
    summary: dict[str, float | None] = {CLEAN: clean.accuracy}
    coverage: dict[str, Coverage] = {}
    for name in (*COMPLETE, *PRESENT):
        chosen = summary_cells(name, ((cell.corruption, cell.severity) for cell in cells))
        coverage[name] = coverage_of(name, cells)
        complete = coverage[name].present == coverage[name].needed
        counted = [cell for cell in cells if (cell.corruption, cell.severity) in chosen]
        summary[name] = mean_accuracy(counted) if complete and counted else None
    return summary, coverage


def summary_cells(name: str, present: Iterable[tuple[str, int]]) -> frozenset[tuple[str, int]]:
    """Return the cells, among those present, that a summary is the mean of."""
    cells = frozenset(present)
    if name in COMPLETE:
        corruptions, severities = COMPLETE[name]
        return cells & {(corruption, s) for corruption in corruptions for s in severities}
    return frozenset(cell for cell in cells if name != "severity5_present" or cell[1] == 5)


def coverage_of(name: str, cells: Iterable[Cell]) -> Coverage:
    """Count the corruptions that are present at every severity of a summary."""
    there = {(cell.corruption, cell.severity) for cell in cells}
    if name not in COMPLETE:
        corruptions = {corruption for corruption, _ in summary_cells(name, there)}
        return Coverage(present=len(corruptions), needed=len(corruptions))
    corruptions, severities = COMPLETE[name]
    whole = [c for c in corruptions if all((c, severity) in there for severity in severities)]
    return Coverage(present=len(whole), needed=len(corruptions))


def mean_accuracy(cells: Iterable[Cell]) -> float:
    """Return the mean top-1 accuracy over cells with equal numbers of images."""
    cells = tuple(cells)
    return sum(cell.correct for cell in cells) / sum(cell.n for cell in cells)


def write_assessment(path: Path, assessment: Assessment) -> None:
    """Write `assessment.json`; equal assessments have equal bytes."""
    files.write_json(path, assessment.model_dump(mode="json"))


def load_assessment(path: Path) -> Assessment:
    """Load `assessment.json`.

    Raises:
        UserError: it is missing, not an assessment, or of another schema version.
    """
    if not path.exists():
        raise UserError(
            f"there is no {path};\ncreate it with `ruggedize assess` or `ruggedize run`"
        )
    content = read_json(path)
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path}: schema_version must be {SCHEMA_VERSION}, got {shown(repr(version))[:80]};\n"
            "assess again, or use the version of ruggedize that wrote it"
        )
    try:
        return Assessment.model_validate(content)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        place = shown(".".join(map(str, fault["loc"]))) or "its content"
        raise UserError(
            f"{path} is damaged at {place[:200]}: {shown(fault['msg'])};\n"
            "delete it and repeat the command that wrote it"
        ) from None
