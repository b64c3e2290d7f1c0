"""The mean corruption error (mCE) of the literature, normalised by a model. Imports no torch.

Source: Hendrycks & Dietterich 2019, section 4.2.
"""

from typing import NamedTuple

from ruggedize.assess import COMPLETE, ModelAssessment
from ruggedize.core.errors import UserError
from ruggedize.report.joining import find_model, same_images_or_draws
from ruggedize.report.record import RunRecord

BENCHMARK, SEVERITIES = COMPLETE["c15"]


class CorruptionError(NamedTuple):
    """mCE and relative mCE as fractions; None if the normalising model makes no errors."""

    mean: float | None
    relative: float | None


class Normaliser(NamedTuple):
    """The model that corruption errors are normalised by; its own mean error is 1."""

    name: str
    record: RunRecord
    model: ModelAssessment
    is_required: bool  # named by --mce-baseline, so that a missing value is an error

    def fits(self, record: RunRecord) -> bool:
        """Return whether a record was assessed on the same cells of the same images."""
        return same_images_or_draws(self.record, record)


def normaliser(
    records: list[RunRecord], baseline: str | None, mce_baseline: str | None
) -> Normaliser | None:
    """Return the model that corruption errors are normalised by; None if none is named.

    Raises:
        UserError: there is no such model, or it was not assessed on any corruption.
    """
    name, option = (mce_baseline, "--mce-baseline") if mce_baseline else (baseline, "--baseline")
    if name is None:
        return None
    record, model = find_model(records, name, option)
    if not record.assessment.models[model].cells:
        if mce_baseline is None:
            return None
        raise UserError(f"{name} was not assessed on any corruption;\nuse another {option}")
    several = sum(model in other.assessment.models for other in records) > 1
    full = f"{record.name}/{model}" if several else model
    return Normaliser(full, record, record.assessment.models[model], mce_baseline is not None)


def corruption_error(model: ModelAssessment, reference: ModelAssessment) -> CorruptionError:
    """Return a model's mCE and relative mCE: mean ratios of its errors to the reference's.

    Errors are summed over the severities before they are divided; relative errors are those in
    excess of the clean error.
    """
    cells, others = cells_of(model), cells_of(reference)
    clean, other_clean = 1 - model.clean.accuracy, 1 - reference.clean.accuracy
    plain, relative = [], []
    for corruption in corruptions_of(model):
        places = [place for place in cells if place[0] == corruption]
        error = sum(1 - cells[place] for place in places)
        other = sum(1 - others[place] for place in places)
        plain.append((error, other))
        relative.append((error - len(places) * clean, other - len(places) * other_clean))
    return CorruptionError(mean_ratio(plain), mean_ratio(relative))


def mean_ratio(pairs: list[tuple[float, float]]) -> float | None:
    """Return the mean of the ratios; None if a denominator is not positive."""
    if any(below <= 1e-12 for _, below in pairs):
        return None
    return sum(above / below for above, below in pairs) / len(pairs)


def corruptions_of(model: ModelAssessment) -> list[str]:
    """List the corruptions that count: the benchmark's fifteen if complete, else all assessed."""
    there = list(dict.fromkeys(cell.corruption for cell in model.cells))
    return list(BENCHMARK) if is_benchmark(model) else there


def is_benchmark(model: ModelAssessment) -> bool:
    """Return whether the benchmark's fifteen were assessed at all five severities."""
    there = cells_of(model).keys()
    return all((name, severity) in there for name in BENCHMARK for severity in SEVERITIES)


def cells_of(model: ModelAssessment) -> dict[tuple[str, int], float]:
    """Return the accuracy in each cell."""
    return {(cell.corruption, cell.severity): cell.accuracy for cell in model.cells}


def what_counts(model: ModelAssessment) -> str:
    """Return a text that lists the cells that the mean is over."""
    if is_benchmark(model):
        return "15 corruptions, severities 1-5"
    num = len(corruptions_of(model))
    severities = sorted({cell.severity for cell in model.cells})
    return (
        f"{num} corruption{'s' if num != 1 else ''} assessed, "
        f"severit{'ies' if len(severities) > 1 else 'y'} {', '.join(map(str, severities))}; "
        "not comparable with published values"
    )
