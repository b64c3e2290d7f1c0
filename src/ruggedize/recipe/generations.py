"""Stages that are skipped because the generation before them was no improvement."""

import logging
from collections.abc import Sequence
from pathlib import Path

from ruggedize.core import files
from ruggedize.core.reading import read_json
from ruggedize.train import validation_accuracy

MODEL = "model.safetensors"
SKIPPED = "skipped.json"  # in the folder of a stage: why it is skipped
log = logging.getLogger(__name__)


def is_skipped(folder: Path, name: str) -> bool:
    """Return whether a run has decided to skip a stage."""
    return (folder / name / SKIPPED).exists()


def skip_stage(
    folder: Path, name: str, needed: Sequence[str], gain: tuple[str, str] | None, *, record: bool
) -> bool:
    """Return whether a stage is to be skipped; the decision is final once it is recorded.

    Args:
        folder: the run folder.
        name: the stage.
        needed: the stages whose models it needs; it is skipped if one of them was.
        gain: it is skipped unless the validation accuracy of the first is above that of the second.
        record: write and log the decision; for the first process.
    """
    place = folder / name / SKIPPED
    if (folder / name / MODEL).exists():
        return False
    if place.exists():
        if record:
            log.info("%s: skipped, because %s", name, read_json(place).get("reason"))
        return True
    reason = skip_reason(folder, needed, gain)
    if reason and record:
        log.warning("%s: skipped, because %s", name, reason)
        files.write_json(place, {"reason": reason})
    return bool(reason)


def skip_reason(folder: Path, needed: Sequence[str], gain: tuple[str, str] | None) -> str:
    """Return why a stage is to be skipped; empty if it is to be trained."""
    for other in needed:
        if is_skipped(folder, other):
            return f"it needs {other}, which was skipped"
    if gain is None:
        return ""
    now, then = (validation_accuracy(folder / each) for each in gain)
    if now > then:
        return ""
    return (
        f"the validation accuracy of {gain[0]} ({100 * now:.2f} %) is not above that of {gain[1]} "
        f"({100 * then:.2f} %)"
    )
