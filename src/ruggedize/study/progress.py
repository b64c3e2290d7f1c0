"""The states of the runs of a study, read from their files."""

from pathlib import Path
from typing import NamedTuple

from ruggedize.core.files import read_lines
from ruggedize.study.planning import PlannedRun
from ruggedize.study.sharing import MODEL
from ruggedize.study.summary import RunSummary


class RunState(NamedTuple):
    """The state of a run, and what it has cost so far."""

    text: str
    pflop: float
    seconds: float


def state_of(run: PlannedRun, out: Path, summary: RunSummary | None) -> RunState:
    """Return the state of a run."""
    if summary is not None:
        return RunState("finished", summary.pflop, summary.seconds)
    folder, pflop, seconds, text = run.folder(out), 0.0, 0.0, "waiting"
    for name, options in run.recipe.trainings.items():
        rows = read_lines(folder / name / "metrics.jsonl")
        if rows:
            pflop += run.work[name].after(len(rows))
            seconds += sum(row["seconds"] for row in rows)
        if (folder / name / MODEL).exists():
            text = f"{name} trained"
        elif (folder / name).exists():
            text = f"{name} epoch {len(rows)}/{options.epochs}"
    if (folder / "assessment.json").exists():
        text = "assessed on test"
    return RunState(text, pflop, seconds)
