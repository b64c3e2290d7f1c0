"""Tables of accuracies and differences, from assessments and predictions. Imports no torch."""

from typing import NamedTuple

from ruggedize.assess import (
    CLEAN,
    COMPLETE,
    Assessment,
    Cell,
    Comparison,
    Interval,
    ModelAssessment,
    compare,
    mean_accuracy,
)
from ruggedize.report.intervals import cell_interval
from ruggedize.report.record import RunRecord

STAND_INS = {"severity5_present": "severity5_top1", "present_mean": "c19"}


class SummaryRow(NamedTuple):
    """One summary of all models; `values` are None if its cells are incomplete."""

    name: str
    title: str
    coverage: str  # why there is no value; empty if complete
    values: dict[str, float | None]
    comparisons: dict[str, Comparison]  # by model, against the baseline


class CorruptionRow(NamedTuple):
    """One corruption at one severity; `intervals` are of the other models minus the first."""

    corruption: str
    values: dict[str, float]
    over_severities: dict[str, float]
    intervals: dict[str, Interval]
    overlapping: list[str]  # noise of the training that overlaps it

    @property
    def interval(self) -> Interval | None:
        """Return the difference of the last model from the first; None for a single model."""
        return list(self.intervals.values())[-1] if self.intervals else None


class QualityRow(NamedTuple):
    """One model beyond top-1, clean or over all corruptions at one severity."""

    model: str
    images: str
    top3: float
    negative_log_likelihood: float
    calibration_error: float
    same_as_clean: float | None  # None for clean images, or if the suite has others


def summary_rows(assessment: Assessment) -> list[SummaryRow]:
    """Return clean and every summary that applies, with the reason if it is incomplete.

    The mean over the corruptions assessed is shown only where the full summary is incomplete.
    """
    models = assessment.models
    first = next(iter(models.values()))
    return [
        SummaryRow(
            name,
            summary_title(name, first.cells),
            lacking(name, first, is_generated="preset" in assessment.suite_facts),
            {model: found.summary[name] for model, found in models.items()},
            {c.model: c for c in assessment.comparisons if c.summary == name},
        )
        for name in first.summary
        if name not in STAND_INS or stands_in(name, first)
    ]


def over_control(record: RunRecord, rows: list[SummaryRow]) -> dict[str, Comparison]:
    """Compare the last model with the control in each complete summary; empty without one.

    Where the suite's images are not the clean ones, the clean summary has draws of its own.
    """
    if record.control is None:
        return {}
    last = list(record.assessment.models)[-1]
    names = [row.name for row in rows if not row.coverage]
    groups = [names]
    if record.assessment.unpaired:
        groups = [[name for name in names if (name == CLEAN) == clean] for clean in (True, False)]
    found = [
        comparison
        for group in groups
        if group
        for comparison in compare(record.control, last, record.predictions, group)
    ]
    return {comparison.summary: comparison for comparison in found}


def stands_in(name: str, model: ModelAssessment) -> bool:
    """Return whether a mean over the cells assessed adds to the full summaries."""
    if model.summary[name] is None or model.summary[STAND_INS[name]] is not None:
        return False
    return name != "present_mean" or any(cell.severity != 5 for cell in model.cells)


def lacking(name: str, model: ModelAssessment, *, is_generated: bool) -> str:
    """Return why a summary has no value and how to get one; empty if it is complete.

    A suite of files may lack corruptions.
    """
    coverage = model.coverage.get(name)
    if name not in COMPLETE or coverage is None or coverage.present == coverage.needed:
        return ""
    corruptions, severities = COMPLETE[name]
    there = {cell.corruption for cell in model.cells} & set(corruptions)
    needs, fixes = [], []
    if len(there) < len(corruptions):
        needs.append(f"all {len(corruptions)} corruptions, {len(there)} assessed")
        fixes.append("without --corruptions" + ("" if is_generated else " on a suite that has all"))
    if not {cell.severity for cell in model.cells}.issuperset(severities):
        span = f"{severities[0]}-{severities[-1]}" if len(severities) > 1 else str(severities[0])
        needs.append(f"severit{'ies' if len(severities) > 1 else 'y'} {span}")
        fixes.insert(0, f"with --severities {span}")
    if not needs:
        return "not assessed (some cells are missing)"
    return f"not assessed (needs {' and '.join(needs)}; assess {' and '.join(fixes)})"


def summary_title(name: str, cells: tuple[Cell, ...]) -> str:
    """Return a summary's title."""
    at_5 = len({cell.corruption for cell in cells if cell.severity == 5})
    return {
        CLEAN: "clean",
        "severity5_top1": "severity 5, all 19 corruptions",
        "c15": "C15: 15 corruptions, severities 1-5",
        "c19": "C19: 19 corruptions, severities 1-5",
        "severity5_present": f"severity 5, the {at_5} corruptions assessed"
        if at_5 > 1
        else "severity 5, the one assessed",
        "present_mean": f"all {len(cells)} cells assessed"
        if len(cells) > 1
        else "the one cell assessed",
    }[name]


def shown_severity(assessment: Assessment) -> int | None:
    """Return the severity shown in the tables by corruption: the highest assessed."""
    return max(severities_assessed(assessment), default=None)


def severities_assessed(assessment: Assessment) -> list[int]:
    """List the severities assessed."""
    return sorted({cell.severity for cell in next(iter(assessment.models.values())).cells})


def corruption_rows(record: RunRecord) -> list[CorruptionRow]:
    """Compare corruption by corruption at the highest severity assessed."""
    models = record.assessment.models
    severity = shown_severity(record.assessment)
    first = next(iter(models.values()))
    corruptions = list(dict.fromkeys(cell.corruption for cell in first.cells))
    return [
        CorruptionRow(
            corruption,
            {name: accuracy(found.cells, corruption, severity) for name, found in models.items()},
            {name: accuracy(found.cells, corruption, None) for name, found in models.items()},
            differences_in(record, corruption, severity),
            record.overlaps.get(corruption, []),
        )
        for corruption in corruptions
    ]


def accuracy(cells: tuple[Cell, ...], corruption: str, severity: int | None) -> float:
    """Return the accuracy on a corruption at one severity, or over all (None)."""
    return mean_accuracy(
        cell
        for cell in cells
        if cell.corruption == corruption and severity in (None, cell.severity)
    )


def differences_in(record: RunRecord, corruption: str, severity: int | None) -> dict[str, Interval]:
    """Compare every other model with the first in one cell."""
    (_, first), *others = record.predictions.items()
    if severity is None:
        return {}
    before, found = first.correct((corruption, severity)), {}
    for name, predictions in others:
        after = predictions.correct((corruption, severity))
        gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
        found[name] = cell_interval(gained, lost, len(after))
    return found


def severity_profile(assessment: Assessment) -> dict[str, list[tuple[int, float]]]:
    """Return each model's mean accuracy over the corruptions at each severity; 0 is clean."""
    profile = {}
    for name, model in assessment.models.items():
        severities = sorted({cell.severity for cell in model.cells})
        means = [
            (severity, mean_accuracy(cell for cell in model.cells if cell.severity == severity))
            for severity in severities
        ]
        profile[name] = [(0, model.clean.accuracy), *means]
    return profile


def quality_rows(assessment: Assessment) -> list[QualityRow]:
    """Compute metrics besides top-1, clean and at the highest severity."""
    severity = shown_severity(assessment)
    rows = []
    for name, model in assessment.models.items():
        hardest = [cell for cell in model.cells if cell.severity == severity]
        for images, cells in (("clean", [model.clean]), (f"severity {severity}", hardest)):
            if cells:
                rows.append(quality(name, images, cells))
    return rows


def quality(model: str, images: str, cells: list[Cell]) -> QualityRow:
    """Compute the metrics of some cells; the calibration error is the mean over the cells."""
    n = sum(cell.n for cell in cells)
    agreeing = [cell.agreeing for cell in cells if cell.agreeing is not None and cell.severity]
    return QualityRow(
        model,
        images,
        sum(cell.top3_correct for cell in cells) / n,
        sum(cell.negative_log_likelihood_sum for cell in cells) / n,
        sum(cell.calibration_error for cell in cells) / len(cells),
        sum(agreeing) / n if len(agreeing) == len(cells) else None,
    )
