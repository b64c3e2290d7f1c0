"""Tables of every cell, and the cells with the lowest accuracy. Imports no torch."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ruggedize.assess import Interval
from ruggedize.report.compare import severities_assessed
from ruggedize.report.intervals import cell_interval, share_interval, unpaired_interval
from ruggedize.report.record import RunRecord

NUM_WORST = 6
Place = tuple[str, int]  # corruption, severity


class Heat(NamedTuple):
    """A difference with its interval in every cell; None where a cell was not assessed."""

    title: str
    severities: list[int]
    rows: list[tuple[str, list[Interval | None]]]
    largest: float


class Confusion(NamedTuple):
    """The most common mistake in a cell."""

    label: str
    predicted: str
    num_images: int


class WorstCell(NamedTuple):
    """A cell with a low accuracy."""

    corruption: str
    severity: int
    accuracy: Interval
    drop: Interval
    confusion: Confusion | None


def heats(record: RunRecord) -> list[Heat]:
    """Compute each model's drop from clean, then the others' differences from the baseline.

    With a single severity, the differences are already in the table by corruption.
    """
    if not next(iter(record.predictions.values())).cells:
        return []
    baseline, *others = record.assessment.models
    minus = "\N{MINUS SIGN}"
    found = [
        heat(
            record, f"{name} {minus} {baseline}", lambda place, name=name: gain(record, name, place)
        )
        for name in others
        if len(severities_assessed(record.assessment)) > 1
    ]
    return found + [
        heat(
            record, f"{name}, change from clean", lambda place, name=name: drop(record, name, place)
        )
        for name in record.assessment.models
    ]


def heat(record: RunRecord, title: str, value: Callable[[Place], Interval]) -> Heat:
    """Compute a value in every cell."""
    severities = severities_assessed(record.assessment)
    cells = next(iter(record.assessment.models.values())).cells
    values = {place: value(place) for place in ((c.corruption, c.severity) for c in cells)}
    rows = [
        (corruption, [values.get((corruption, severity)) for severity in severities])
        for corruption in dict.fromkeys(corruption for corruption, _ in values)
    ]
    return Heat(title, severities, rows, max(abs(each.difference) for each in values.values()))


def gain(record: RunRecord, name: str, place: Place) -> Interval:
    """Return the difference of a model from the baseline in a cell."""
    baseline = next(iter(record.predictions.values())).correct(place)
    return paired_interval(record.predictions[name].correct(place), baseline)


def drop(record: RunRecord, name: str, place: Place) -> Interval:
    """Return the difference of a model's accuracy in a cell from its clean accuracy."""
    predictions = record.predictions[name]
    correct, clean = predictions.correct(place), predictions.correct(None)
    if predictions.clean_rows is None:
        return paired_interval(correct, clean)
    shares = (share_interval(int(right.sum()), len(right)) for right in (correct, clean))
    return unpaired_interval(*shares)


def paired_interval(after: np.ndarray, before: np.ndarray) -> Interval:
    """Return the difference of two accuracies on the same images."""
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    return cell_interval(gained, lost, len(after))


def worst_cells(record: RunRecord, name: str) -> list[WorstCell]:
    """Return the cells in which a model has the lowest accuracy, the lowest first."""
    cells = sorted(record.assessment.models[name].cells, key=lambda cell: cell.accuracy)
    return [
        WorstCell(
            cell.corruption,
            cell.severity,
            share_interval(cell.correct, cell.n),
            drop(record, name, (cell.corruption, cell.severity)),
            commonest_mistake(record, name, (cell.corruption, cell.severity)),
        )
        for cell in cells[:NUM_WORST]
    ]


def commonest_mistake(record: RunRecord, name: str, place: Place) -> Confusion | None:
    """Return the most common confusion of two classes in a cell; None without mistakes."""
    predictions, classes = record.predictions[name], record.assessment.images.classes
    predicted = predictions.cells[place].classes[:, 0].astype(np.int64)
    wrong = predicted != predictions.labels
    if not wrong.any():
        return None
    pairs = predictions.labels[wrong] * len(classes) + predicted[wrong]
    values, counts = np.unique(pairs, return_counts=True)
    label, taken_for = divmod(int(values[counts.argmax()]), len(classes))
    return Confusion(classes[label], classes[taken_for], int(counts.max()))
