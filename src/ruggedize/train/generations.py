"""Stages that are skipped because the generation before them brought no gain."""

import logging
from collections.abc import Mapping
from pathlib import Path

from ruggedize.core import files
from ruggedize.core.reading import read_json
from ruggedize.train.delivery import MODEL, delivered_note
from ruggedize.train.options import StageOptions, TrainingOptions

SKIPPED = "skipped.json"  # in the folder of a stage: why it is skipped
log = logging.getLogger(__name__)


def is_skipped(folder: Path, name: str) -> bool:
    """Return whether a run has decided to skip a stage."""
    return (folder / name / SKIPPED).exists()


def skip_without_gain(
    folder: Path, name: str, stages: Mapping[str, TrainingOptions], *, record: bool
) -> bool:
    """Return whether a stage is to be skipped; the decision is final once it is recorded.

    A stage is skipped if one of its teachers was, or if it requires a gain and the validation
    accuracy of its teacher is not above that of the teacher's own teacher.

    Args:
        folder: the run folder.
        name: the stage.
        stages: the options of all stages.
        record: write and log the decision; for the first process.
    """
    place = folder / name / SKIPPED
    if (folder / name / MODEL).exists():
        return False
    if place.exists():
        if record:
            log.info("%s: skipped, because %s", name, read_json(place).get("reason"))
        return True
    reason = skip_reason(folder, name, stages)
    if reason and record:
        log.warning("%s: skipped, because %s", name, reason)
        files.write_json(place, {"reason": reason})
    return bool(reason)


def skip_reason(folder: Path, name: str, stages: Mapping[str, TrainingOptions]) -> str:
    """Return why a stage is to be skipped; empty if it is to be trained."""
    options = stages[name]
    for teacher in options.teachers:
        if is_skipped(folder, teacher) and options.objective.uses_teacher:
            return f"its teacher {teacher} was skipped"
    if not (isinstance(options, StageOptions) and options.requires_gain):
        return ""
    (teacher,) = options.teachers
    (before,) = stages[teacher].teachers
    now, then = (
        delivered_note(folder / each)["validation"]["accuracy"] for each in (teacher, before)
    )
    if now > then:
        return ""
    return (
        f"the validation accuracy of {teacher} ({100 * now:.2f} %) is not above that of {before} "
        f"({100 * then:.2f} %)"
    )
