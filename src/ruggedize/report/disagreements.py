"""Example images, and how often the first and the last model disagree."""

from typing import NamedTuple

import numpy as np

from ruggedize.assess import chosen_examples
from ruggedize.report.compare import shown_severity
from ruggedize.report.record import Picture, RunRecord


class Answer(NamedTuple):
    """One model's prediction of an example."""

    model: str
    class_name: str
    confidence: float
    right: bool


class Example(NamedTuple):
    """A picture with its label and the models' predictions."""

    picture: Picture
    label: str
    answers: list[Answer]


class Disagreements(NamedTuple):
    """How often only the last model is right, or only the first, at the highest severity."""

    gained: int
    lost: int
    num_images: int
    num_corruptions: int


def grouped_examples(record: RunRecord) -> dict[str, list[Example]]:
    """Group the examples by the model that is right; for one model, mistakes come first."""
    names = list(record.predictions)
    found = [example(record, picture) for picture in in_turns(record)]
    rights = [(each, each.answers[0].right, each.answers[-1].right) for each in found]
    if len(names) == 1:
        return {
            f"{names[0]} is wrong": [each for each, right, _ in rights if not right],
            f"{names[0]} is right": [each for each, right, _ in rights if right],
        }
    return {
        f"Only {names[-1]} is right": [e for e, first, last in rights if last and not first],
        f"Only {names[0]} is right": [e for e, first, last in rights if first and not last],
    }


def in_turns(record: RunRecord) -> list[Picture]:
    """Sort the pictures into the order in which they were chosen."""
    predictions = list(record.predictions.values())
    rows = predictions[0].index
    chosen = [(e.corruption, e.severity, rows[e.row]) for e in chosen_examples(predictions)]
    places = {cell_and_index: place for place, cell_and_index in enumerate(chosen)}
    return sorted(
        (picture for picture in record.examples if answered(record, picture)),
        key=lambda each: places.get((each.corruption, each.severity, each.index), len(places)),
    )


def answered(record: RunRecord, picture: Picture) -> bool:
    """Return whether the predictions contain this image in this cell; later ones may not."""
    return all(
        (picture.corruption, picture.severity) in predictions.cells
        and picture.index in predictions.index
        for predictions in record.predictions.values()
    )


def example(record: RunRecord, picture: Picture) -> Example:
    """Look up the models' predictions of an example."""
    classes = record.assessment.images.classes
    first = next(iter(record.predictions.values()))
    row = int(np.searchsorted(first.index, picture.index))
    label = int(first.labels[row])
    answers = []
    for name, predictions in record.predictions.items():
        top = predictions.cells[picture.corruption, picture.severity]
        predicted, confidence = int(top.classes[row, 0]), float(top.confidences[row, 0])
        answers.append(Answer(name, classes[predicted], confidence, predicted == label))
    return Example(picture, classes[label], answers)


def disagreements(record: RunRecord) -> Disagreements:
    """Count the images, at the highest severity, where only the last or only the first is right."""
    predictions = list(record.predictions.values())
    first, last = predictions[0], predictions[-1]
    severity = shown_severity(record.assessment)
    cells = [cell for cell in first.cells if cell[1] == severity]
    rights = [(first.correct(cell), last.correct(cell)) for cell in cells]
    return Disagreements(
        gained=sum(int((after & ~before).sum()) for before, after in rights),
        lost=sum(int((before & ~after).sum()) for before, after in rights),
        num_images=len(first.labels),
        num_corruptions=len(cells),
    )
