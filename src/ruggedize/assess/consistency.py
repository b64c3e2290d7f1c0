"""Consistency checks of an assessment, whose file may be damaged or edited. Imports no torch."""

from typing import TYPE_CHECKING

from ruggedize.core.errors import shown

if TYPE_CHECKING:
    from ruggedize.assess.assessment import Assessment, Cell, Coverage, ModelAssessment


def check_cell(cell: "Cell") -> None:
    """Raise ValueError if a cell counts more images than it has."""
    if not all(0 <= count <= cell.n for count in (cell.correct, cell.top3_correct)):
        raise ValueError(f"correct and top3_correct must be in 0..{cell.n}")
    if cell.agreeing is not None and not 0 <= cell.agreeing <= cell.n:
        raise ValueError(f"agreeing must be in 0..{cell.n}")


def check_model(
    model: "ModelAssessment",
    summary: "dict[str, float | None]",
    coverage: "dict[str, Coverage]",
) -> None:
    """Raise ValueError if the summaries do not match the cells, or a cell occurs twice."""
    if len(cells_of(model)) != len(model.cells):
        raise ValueError("each cell must occur only once")
    if len({cell.n for cell in model.cells}) > 1:
        raise ValueError("all cells must have the same number of images")
    if model.coverage != coverage or model.summary.keys() != summary.keys():
        raise ValueError("the summaries must match the cells")
    for name, value in model.summary.items():
        if (value is None) != (summary[name] is None) or not 0 <= (value or 0) <= 1:
            raise ValueError(f"the summary {name} must match the cells")


def check_models(assessment: "Assessment") -> None:
    """Raise ValueError if models or comparisons are missing, or models have different cells."""
    if not assessment.models:
        raise ValueError("there must be at least one model")
    if not assessment.images.classes:
        raise ValueError("there must be at least one class")
    baseline, *others = assessment.models
    first = assessment.models[baseline]
    for name, model in assessment.models.items():
        if not is_file_name(name):
            raise ValueError(f"a model's name must be a valid folder name, got {shown(name[:80])}")
        if list(cells_of(model)) != list(cells_of(first)) or model.clean.n != first.clean.n:
            raise ValueError("all models must have the same cells and images")
    complete = [name for name, value in first.summary.items() if value is not None]
    needed = [(baseline, other, name) for other in others for name in complete]
    if needed != [(c.baseline, c.model, c.summary) for c in assessment.comparisons]:
        raise ValueError("every model must be compared with the first in every complete summary")


def cells_of(model: "ModelAssessment") -> dict[tuple[str, int], int]:
    """Return the number of images of every cell, by corruption and severity."""
    return {(cell.corruption, cell.severity): cell.n for cell in model.cells}


def is_file_name(name: str) -> bool:
    """Return whether a name is a single path component that cannot leave its folder."""
    return bool(name) and name not in (".", "..") and not any(c in name for c in "/\\\0")
