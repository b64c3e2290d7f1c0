"""The images on which the first and the last model disagree, and how many there are."""

from typing import NamedTuple

import numpy as np

from ruggedize.assess import choose_examples
from ruggedize.report.compare import shown_severity
from ruggedize.report.record import Picture, RunRecord


class Answer(NamedTuple):
    """What one model said of an example."""

    model: str
    class_name: str
    confidence: float
    right: bool


class Example(NamedTuple):
    """A picture with its truth and the models' answers."""

    picture: Picture
    label: str
    answers: list[Answer]


class Disagreements(NamedTuple):
    """How often only the last model is right, and only the first, among all pairs of a severity."""

    gained: int
    lost: int
    num_images: int
    num_corruptions: int


def grouped_examples(record: RunRecord) -> dict[str, list[Example]]:
    """Sort the examples that speak for the last model before those that speak for the first."""
    names = list(record.predictions)
    found = [example(record, picture) for picture in in_turns(record)]
    return {
        f"Only {names[-1]} is right": [each for each in found if each.answers[-1].right],
        f"Only {names[0]} is right": [each for each in found if each.answers[0].right],
    }


def in_turns(record: RunRecord) -> list[Picture]:
    """Order the pictures as they were chosen: corruptions take turns."""
    first, last = (list(record.predictions.values())[place] for place in (0, -1))
    chosen = [(e.corruption, e.severity, first.index[e.row]) for e in choose_examples(first, last)]
    places = {cell_and_index: place for place, cell_and_index in enumerate(chosen)}
    return sorted(
        (picture for picture in record.examples if answered(record, picture)),
        key=lambda each: places.get((each.corruption, each.severity, each.index), len(places)),
    )


def answered(record: RunRecord, picture: Picture) -> bool:
    """Return whether the predictions hold this image in this cell: they may be of a later one."""
    return all(
        (picture.corruption, picture.severity) in predictions.cells
        and picture.index in predictions.index
        for predictions in record.predictions.values()
    )


def example(record: RunRecord, picture: Picture) -> Example:
    """Look up in the predictions what the models said of an example."""
    classes = record.assessment.images.classes
    first = next(iter(record.predictions.values()))
    row = int(np.searchsorted(first.index, picture.index))
    label = int(first.labels[row])
    answers = []
    for name, predictions in record.predictions.items():
        top = predictions.cells[picture.corruption, picture.severity]
        said, sure = int(top.classes[row, 0]), float(top.confidences[row, 0])
        answers.append(Answer(name, classes[said], sure, said == label))
    return Example(picture, classes[label], answers)


def disagreements(record: RunRecord) -> Disagreements:
    """Count where only the last model is right and where only the first is, highest severity."""
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
