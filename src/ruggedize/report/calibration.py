"""Compare confidence with accuracy, bin by bin. Imports no torch."""

from typing import NamedTuple

import numpy as np

from ruggedize.assess import Predictions
from ruggedize.report.compare import shown_severity
from ruggedize.report.record import RunRecord

NUM_BINS = 15  # as in the expected calibration error of each cell


class Bin(NamedTuple):
    """The predictions whose confidence lies in an interval, open below and closed above."""

    low: float
    high: float
    num: int
    confidence: float
    accuracy: float


class Reliability(NamedTuple):
    """One model's confidence and accuracy on some images."""

    model: str
    images: str
    confidence: float
    accuracy: float
    error: float  # the mean of the cells' expected calibration errors
    bins: list[Bin]


def reliabilities(record: RunRecord) -> list[Reliability]:
    """Compare confidence with accuracy, clean and at the highest severity, for each model."""
    severity = shown_severity(record.assessment)
    found = []
    for name, predictions in record.predictions.items():
        model = record.assessment.models[name]
        found.append(
            reliability((name, "clean"), predictions, [None], [model.clean.calibration_error])
        )
        hard = [cell for cell in model.cells if cell.severity == severity]
        if hard:
            places = [(cell.corruption, cell.severity) for cell in hard]
            errors = [cell.calibration_error for cell in hard]
            title = (name, f"severity {severity}")
            found.append(reliability(title, predictions, places, errors))
    return found


def reliability(
    title: tuple[str, str],
    predictions: Predictions,
    cells: list[tuple[str, int] | None] | list[tuple[str, int]] | list[None],
    errors: list[float],
) -> Reliability:
    """Sort the predictions of several cells together into bins of confidence."""
    correct = np.concatenate([predictions.correct(cell) for cell in cells])
    tops = [predictions.clean if cell is None else predictions.cells[cell] for cell in cells]
    confidences = np.concatenate([top.confidences[:, 0] for top in tops]).astype(np.float64)
    places = (np.ceil(confidences * NUM_BINS).astype(np.int64) - 1).clip(0, NUM_BINS - 1)
    counts, sure, right = (
        np.bincount(places, weights, NUM_BINS) for weights in (None, confidences, correct)
    )
    bins = [
        Bin(
            place / NUM_BINS,
            (place + 1) / NUM_BINS,
            int(counts[place]),
            float(sure[place] / counts[place]),
            float(right[place] / counts[place]),
        )
        for place in np.flatnonzero(counts).tolist()
    ]
    error = sum(errors) / len(errors)
    return Reliability(*title, float(confidences.mean()), float(correct.mean()), error, bins)
