"""Saving of an assessment with the predictions it is based on. Imports no torch."""

from glob import escape
from pathlib import Path
from typing import NamedTuple

from ruggedize.assess.assessment import Assessment, write_assessment
from ruggedize.assess.facts import AssessmentFacts
from ruggedize.assess.predictions import Predictions, predictions_folder, save_predictions
from ruggedize.core.places import user_path


class AssessmentResult(NamedTuple):
    """Result of `assess`: the assessment, and each model's predictions by name."""

    assessment: Assessment
    predictions: dict[str, Predictions]


def save_assessment(
    result: AssessmentResult, place: Path | str, facts: AssessmentFacts | None = None
) -> Path:
    """Save the predictions, then the assessment with these facts; return its path.

    `place` is a run folder (for `assessment.json`) or a `.json` file. The assessment is written
    last: if it exists, so do its predictions. The progress that `assess` saved for it is removed.
    """
    place = user_path(place)
    path = place if place.suffix == ".json" else place / "assessment.json"
    for name, predictions in result.predictions.items():
        save_predictions(predictions, predictions_folder(path) / f"{name}.safetensors")
    found = result.assessment
    write_assessment(path, found.model_copy(update={"facts": facts}) if facts else found)
    remove_progress(path)
    return path


def progress_file(assessment: Path, rank: int = 0) -> Path:
    """Return where a process saves its progress: next to the assessment, and named after it."""
    return assessment.with_name(f"{prefix(assessment)}{rank}.safetensors")


def remove_progress(assessment: Path) -> None:
    """Remove the progress of all processes."""
    for path in assessment.parent.glob(f"{escape(prefix(assessment))}[0-9]*.safetensors"):
        path.unlink(missing_ok=True)


def prefix(assessment: Path) -> str:
    """Return how the names of an assessment's progress files begin."""
    return f"{assessment.name.removesuffix('.json')}-progress-"
