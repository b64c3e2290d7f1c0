"""Experiment trackers through Accelerate. They mirror a run; `metrics.jsonl` remains the record."""

import copy
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator
from accelerate.tracking import filter_trackers
from accelerate.utils import ProjectConfiguration

from ruggedize.assess import load_assessment
from ruggedize.core import files
from ruggedize.core.errors import UserError, shown
from ruggedize.core.extras import can_import
from ruggedize.core.places import user_path
from ruggedize.core.reading import read_json
from ruggedize.core.tables import flat
from ruggedize.recipe import TrackerName
from ruggedize.report import load_summary_rows, summary_rows

PROJECT = "ruggedize"  # or MLflow's experiment; the run is named like its folder
TRACKED = "tracked.json"  # in the run's folder: what each tracker has received
PACKAGES: dict[TrackerName, str] = {
    "tensorboard": "'ruggedize[track]'",
    "wandb": "wandb",
    "mlflow": "mlflow",
    "trackio": "trackio",
}
"""For each tracker, whose module has the same name, what pip installs for it."""

log = logging.getLogger(__name__)


@dataclass
class Tracker:
    """One tracker of a run, and what it has received."""

    name: TrackerName
    folder: Path  # of the run
    run_id: str
    received: dict[str, Any]  # number of rows by stage, hash of every file
    accelerator: Accelerator  # a copy that logs to this tracker alone

    def send(self, part: str, version: int | str, action: Callable[[], None]) -> None:
        """Send a part of the run, unless this version of it has been sent.

        It is recorded before it is sent, so that a run killed in between does not send it twice.
        """
        earlier = dict(self.received)
        if earlier.get(part) == version:
            return
        self.received[part] = version
        self.save()
        try:
            action()
        except Exception:
            self.received = earlier
            self.save()
            raise

    def save(self) -> None:
        """Record what this tracker has received; the others' records stay as they are."""
        records = tracked(self.folder) | {self.name: {"id": self.run_id, "received": self.received}}
        files.write_json(self.folder / TRACKED, records)


class Tracking:
    """The working trackers of a run; each is started when it first receives something.

    Only the first process has any.
    """

    def __init__(
        self, names: Sequence[TrackerName], folder: Path, accelerator: Accelerator
    ) -> None:
        self.names = list(dict.fromkeys(names)) if accelerator.is_main_process else []
        self.folder, self.accelerator = folder, accelerator
        self.trackers: dict[TrackerName, Tracker] = {}

    def on_rows(self, stage: str, rows: list[dict[str, Any]]) -> None:
        """Send the rows of a stage that have not been sent; see `OnRows`."""
        self.each(lambda tracker: send_rows(tracker, stage, rows))

    def on_stage(self, stage: str, folder: Path) -> None:
        """Send the remaining rows of a finished stage, such as one trained without this tracker."""
        self.each(lambda tracker: send_rows(tracker, stage, rows_of(folder)))

    def on_picture(self, picture: Path) -> None:
        """Send the sheet of views, which may have been deleted since the run began."""
        if picture.exists():
            self.each(lambda tracker: send_once(tracker, picture, send_picture))

    def on_assessment(self, assessment: Path) -> None:
        """Send the table of accuracies."""
        self.each(lambda tracker: send_once(tracker, assessment, send_table))

    def each(self, action: Callable[[Tracker], None]) -> None:
        """Run an action for every tracker; a tracker that fails is not used again."""
        for name in list(self.names):
            try:
                if name not in self.trackers:
                    self.trackers[name] = started(name, self.folder, self.accelerator)
                action(self.trackers[name])
            except Exception as error:
                self.names.remove(name)
                warn(name, error)

    def close(self) -> None:
        """Close all trackers. `Accelerator.end_training` would also end the process group."""
        for name, tracker in self.trackers.items():
            try:
                for each in tracker.accelerator.trackers:
                    each.finish()
            except Exception as error:
                warn(name, error)


def warn(name: str, error: Exception) -> None:
    """Log that a tracker has failed; the run goes on."""
    log.warning(
        "tracking with %s failed (%s); the run goes on without it, metrics.jsonl has all metrics",
        name,
        shown(f"{type(error).__name__}: {error}".partition("\n")[0][:300]),
    )


def reject_missing_trackers(names: Sequence[TrackerName]) -> None:
    """Raise UserError if the package of a tracker is not installed."""
    for name in names:
        if not can_import(name):
            raise UserError(
                f'track = "{name}" needs the package {name}, which is not installed;\n'
                f"pip install {PACKAGES[name]}"
            )


@contextmanager
def tracking_of(
    names: Sequence[TrackerName], folder: Path, accelerator: Accelerator
) -> Iterator[Tracking]:
    """Yield the trackers of a run, and close them at the end.

    What earlier calls with the same folder have sent is not sent again.
    """
    tracking = Tracking(names, user_path(folder), accelerator)
    try:
        yield tracking
    finally:
        tracking.close()


def tracked(folder: Path) -> dict[str, Any]:
    """Return the record of what the trackers of a run have received."""
    path = folder / TRACKED
    return read_json(path) if path.exists() else {}


def started(name: TrackerName, folder: Path, accelerator: Accelerator) -> Tracker:
    """Start a tracker, or resume its earlier run for the same folder."""
    folder.mkdir(parents=True, exist_ok=True)
    record = tracked(folder).get(name, {"id": "", "received": {}})
    run_id = record["id"] or ("" if name == "mlflow" else uuid.uuid4().hex)
    own = copy.copy(accelerator)  # the caller may log with the given one
    own.trackers = []  # the copy is shallow
    own.project_configuration = ProjectConfiguration(logging_dir=str(folder))
    own.log_with = filter_trackers([name], folder)
    project = name if name == "tensorboard" else PROJECT  # TensorBoard's is a folder in the run's
    own.init_trackers(project, init_kwargs={name: settings(name, folder, run_id)})
    if name == "mlflow":
        active_run: Any = own.get_tracker(name, unwrap=True)
        run_id = active_run.info.run_id
    tracker = Tracker(name, folder, run_id, record["received"], own)
    tracker.save()
    return tracker


def settings(name: TrackerName, folder: Path, run_id: str) -> dict[str, Any]:
    """Return the settings that start a tracker's run, or resume the run with this ID."""
    title = folder.resolve().name
    options: dict[TrackerName, dict[str, Any]] = {
        "tensorboard": {},
        "wandb": {"name": title, "id": run_id, "resume": "allow", "dir": str(folder)},
        "mlflow": {"run_id": run_id} if run_id else {"run_name": title},
        "trackio": {"name": f"{title}-{run_id[:8]}", "resume": "allow"},
    }
    return options[name]


def rows_of(stage: Path) -> list[dict[str, Any]]:
    """Return the rows that a stage has written: one for each epoch, or for each alpha."""
    curve = stage / "interpolation.json"
    return (
        read_json(curve)["points"] if curve.exists() else files.read_lines(stage / "metrics.jsonl")
    )


def send_rows(tracker: Tracker, stage: str, rows: list[dict[str, Any]]) -> None:
    """Send the rows that a tracker has not received; a row's step is its number, from 1."""
    for number in range(tracker.received.get(stage, 0) + 1, len(rows) + 1):
        values = {f"{stage}/{key}": value for key, value in numbers(rows[number - 1]).items()}
        tracker.send(stage, number, lambda v=values, n=number: send_values(tracker, v, n))


def numbers(row: dict[str, Any]) -> dict[str, float]:
    """Return the numbers of a row by name: validation/raw/accuracy."""
    return {
        key.replace(".", "/"): value
        for key, value in flat(row).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def send_values(tracker: Tracker, values: dict[str, float], step: int) -> None:
    """Send values at a step of their stage.

    Steps of wandb must increase over the whole run, so its x-axis is `STAGE/epoch`.
    """
    tracker.accelerator.log(values, step=None if tracker.name == "wandb" else step)


def send_once(tracker: Tracker, file: Path, action: Callable[[Tracker, Path], None]) -> None:
    """Send a file, unless the tracker has received the same content."""
    tracker.send(file.name, files.sha256(file), lambda: action(tracker, file))


def send_picture(tracker: Tracker, file: Path) -> None:
    """Send a picture: an artifact of MLflow, an image elsewhere."""
    own: Any = tracker.accelerator.get_tracker(tracker.name)
    if tracker.name == "mlflow":
        own.log_artifact(str(file))
        return
    from PIL import Image

    with Image.open(file) as opened:
        images = np.asarray(opened.convert("RGB"))[None]
    if tracker.name == "tensorboard":
        own.log_images({file.stem: images}, step=0, dataformats="NHWC")
    elif tracker.name == "wandb":
        own.log_images({file.stem: images})
    else:
        image = import_module(tracker.name).Image(images[0])
        tracker.accelerator.log({file.stem: image}, step=0)


def send_table(tracker: Tracker, assessment: Path) -> None:
    """Send all accuracies as values, and as the table that the command line prints."""
    found = [row for row in summary_rows(load_assessment(assessment)) if row.values]
    values = {
        f"accuracy/{model}/{row.name}": value
        for row in found
        for model, value in row.values.items()
        if value is not None
    }
    send_values(tracker, values, 0)
    columns, rows = load_summary_rows(assessment)
    own: Any = tracker.accelerator.get_tracker(tracker.name)
    if tracker.name == "tensorboard":
        own.log({"accuracy": markdown(columns, rows)}, step=0)
    elif tracker.name == "wandb":
        own.log_table("accuracy", columns=columns, data=rows)
    elif tracker.name == "mlflow":
        own.log_artifact(str(assessment.with_name("report.html")))
    else:
        frame = import_module("pandas").DataFrame(rows, columns=columns)
        table = import_module(tracker.name).Table(dataframe=frame)
        tracker.accelerator.log({"accuracy": table}, step=0)


def markdown(columns: list[str], rows: list[list[str]]) -> str:
    """Return a table as Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
