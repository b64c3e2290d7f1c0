"""Accuracy by class, and the accuracy of trivial guesses. Imports no torch."""

from typing import NamedTuple

import numpy as np

from ruggedize.assess import Guessing, Predictions, guessing
from ruggedize.report.compare import shown_severity
from ruggedize.report.record import RunRecord

MOST_CLASSES = 20  # in the table of recall


class RecallRow(NamedTuple):
    """The share of a class's images that are classified correctly, by model."""

    name: str
    num_images: int
    clean: dict[str, float | None]  # None: no clean image has this class
    corrupted: dict[str, float]  # at the highest severity


class Balanced(NamedTuple):
    """The mean recall over the classes."""

    model: str
    clean: float
    corrupted: float | None


class ClassTable(NamedTuple):
    """Recall by class, the lowest first; only the first rows are kept."""

    severity: int | None
    balanced: list[Balanced]
    rows: list[RecallRow]
    num_classes: int  # with images


def guess_of(record: RunRecord) -> Guessing:
    """Return chance level and majority share of the images that were assessed."""
    labels = next(iter(record.predictions.values())).labels
    return guessing(record.assessment.images.classes, labels)


def class_table(record: RunRecord) -> ClassTable | None:
    """Compute recall by class and balanced accuracy where the classes are of unequal size."""
    if not guess_of(record).is_unequal:
        return None
    severity = shown_severity(record.assessment)
    clean = {name: recalls(found, None) for name, found in record.predictions.items()}
    hard = {
        name: {} if severity is None else recalls(found, severity)
        for name, found in record.predictions.items()
    }
    labels = next(iter(record.predictions.values())).labels
    there = sorted(set(labels.tolist()))
    last = list(record.predictions)[-1]
    lowest = hard[last] if severity is not None else clean[last]
    there.sort(key=lambda label: lowest.get(label, 1.0))
    rows = [
        RecallRow(
            record.assessment.images.classes[label],
            int((labels == label).sum()),
            {name: found.get(label) for name, found in clean.items()},
            {name: found[label] for name, found in hard.items() if found},
        )
        for label in there[:MOST_CLASSES]
    ]
    balanced = [Balanced(name, mean(clean[name]) or 0.0, mean(hard[name])) for name in clean]
    return ClassTable(severity, balanced, rows, len(there))


def recalls(predictions: Predictions, severity: int | None) -> dict[int, float]:
    """Return each class's recall at a severity, over all corruptions; clean (None)."""
    labels, cells = predictions.labels, [cell for cell in predictions.cells if cell[1] == severity]
    rights = [predictions.correct(cell) for cell in cells]
    if severity is None:
        labels = predictions.clean_rows.labels if predictions.clean_rows else labels
        rights = [predictions.correct(None)]
    share = sum(right.astype(np.float64) for right in rights) / len(rights)
    counts = np.bincount(labels)
    sums = np.bincount(labels, share)
    return {int(label): float(sums[label] / counts[label]) for label in np.flatnonzero(counts)}


def mean(recall: dict[int, float]) -> float | None:
    """Return the mean over the classes; None if there are none."""
    return sum(recall.values()) / len(recall) if recall else None
