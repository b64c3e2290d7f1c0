"""An assessment together with the predictions that it was counted from, on disk. No torch."""

from pathlib import Path
from typing import NamedTuple

from ruggedize.assess.assessment import Assessment, write_assessment
from ruggedize.assess.facts import AssessmentFacts
from ruggedize.assess.predictions import Predictions, predictions_folder, save_predictions
from ruggedize.core.places import user_path


class AssessmentResult(NamedTuple):
    """What `assess` gives: the figures, and each model's predictions."""

    assessment: Assessment
    predictions: dict[str, Predictions]


def save_assessment(
    result: AssessmentResult, place: Path | str, facts: AssessmentFacts | None = None
) -> Path:
    """Save the predictions, then the assessment with these facts; return its path.

    `place` is a run folder (which gets `assessment.json`) or a `.json` file. The assessment is
    written last: where it exists, all of it does.
    """
    place = user_path(place)
    path = place if place.suffix == ".json" else place / "assessment.json"
    for name, predictions in result.predictions.items():
        save_predictions(predictions, predictions_folder(path) / f"{name}.safetensors")
    found = result.assessment
    write_assessment(path, found.model_copy(update={"facts": facts}) if facts else found)
    return path
