"""Accuracy by class, and the accuracy of trivial guesses. Imports no torch."""

from typing import NamedTuple

import numpy as np

from ruggedize.assess import Predictions
from ruggedize.report.compare import shown_severity
from ruggedize.report.record import RunRecord

UNEQUAL = 1.5  # ratio of the largest class to the smallest
NUM_DEVIATIONS = 3.0  # of the counts if all classes are equally likely
MOST_CLASSES = 20  # in the table of recall


class Guessing(NamedTuple):
    """Accuracies that can be reached without looking at any image."""

    chance: float  # a uniform guess
    majority_share: float  # always the largest class
    majority: str
    is_unequal: bool


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


def guessing(record: RunRecord) -> Guessing:
    """Return chance level and majority share of the images that were assessed."""
    classes = record.assessment.images.classes
    counts = np.bincount(next(iter(record.predictions.values())).labels, minlength=len(classes))
    return Guessing(
        1 / len(classes),
        float(counts.max() / counts.sum()),
        classes[int(counts.argmax())],
        are_unequal(counts),
    )


def are_unequal(counts: np.ndarray) -> bool:
    """Return whether class sizes differ by half or more, and by more than sampling explains."""
    largest, smallest = int(counts.max()), int(counts.min())
    by_chance = NUM_DEVIATIONS * float(counts.mean()) ** 0.5
    return largest >= UNEQUAL * smallest and largest - smallest > by_chance


def class_table(record: RunRecord) -> ClassTable | None:
    """Compute recall by class and balanced accuracy where the classes are of unequal size."""
    if not guessing(record).is_unequal:
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
