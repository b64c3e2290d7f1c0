"""The command that runs studies: each run in a process of its own."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ruggedize.cli.args import Folder, Name, StudyFile, Switch
from ruggedize.cli.display import Bars, console, table
from ruggedize.cli.variables import RUN_OF_STUDY
from ruggedize.cli.watchdog import GRACE_SECONDS
from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.core.signals import name_of_signal
from ruggedize.core.tables import toml_string

if TYPE_CHECKING:
    from ruggedize.study import ArmRow, PlannedRun, RunSummary, Study


def study(
    file: StudyFile,
    /,
    *,
    out: Folder = None,
    data_root: Folder = None,
    only: Name = None,
    status: Switch = False,
) -> None:
    """Run several recipes with several seeds at equal compute, and compare them.

    Each run has its own process. After an interruption, the same command resumes: finished runs are
    skipped. Equal teachers are trained once. `ruggedize report DIR` writes a page about all runs.

    Args:
        file: A TOML file with the recipes (arms), seeds and budget (docs/studies.md).
        out: Folder for the runs. Default: runs/studies/NAME.
        data_root: Folder that contains the data set, e.g. cifar-10-batches-bin.
        only: Run only this run, in this process: ARM-seedN.
        status: Only show the state of the runs.
    """
    from ruggedize.study import keep_study_file, load_study, plan, reject_changed_study

    if status and only is not None:
        raise UserError("--status shows all runs, --only starts one;\nuse one of them")
    found = load_study(file)
    folder = out or Path("runs") / "studies" / found.name
    root = () if data_root is None else (f"data.root={toml_string(str(data_root.absolute()))}",)
    runs = plan(found, root)
    reject_changed_study(found, runs, folder)
    if not status:
        files.reject_unwritable_folder(folder)
        keep_study_file(found, folder)
        if only is not None:
            run_here(found, only, runs, folder)
            return
        run_all(found, runs, folder, data_root)
    print_tables(found, runs, folder)


def run_here(study: "Study", name: str, runs: Sequence["PlannedRun"], out: Path) -> None:
    """Execute one run of a study in this process."""
    from ruggedize.study import perform

    named = {run.name: run for run in runs}
    if name not in named:
        raise UserError(
            f"study {study.name} has no run {name};\nuse one of {', '.join(list(named)[:8])}"
            + (", ..." if len(named) > 8 else "")
        )
    with Bars() as bars:
        path = perform(study, named[name], runs, out, bars)
    console.print(f"summary: {path}", soft_wrap=True)


def run_all(
    study: "Study", runs: Sequence["PlannedRun"], out: Path, data_root: Path | None
) -> None:
    """Execute all unfinished runs, one after the other, each in its own process.

    Raises:
        UserError: some runs failed; the others have been executed.
    """
    from ruggedize.study import unfinished

    failed = {}
    waiting = unfinished(study, runs, out)
    for place, run in enumerate(waiting, 1):
        console.print(f"{run.name} ({place} of {len(waiting)}, {run.pflop:.3g} PFLOP)")
        command = [sys.executable, "-P", "-m", "ruggedize", "study", str(study.path)]
        command += ["--out", str(out), "--only", run.name]
        command += [] if data_root is None else ["--data-root", str(data_root)]
        if code := exit_code_of(command):
            failed[run.name] = code
    if failed:
        causes = ", ".join(
            f"{name} ({name_of_signal(code) or 'its error is above'})"
            for name, code in failed.items()
        )
        raise UserError(
            f"{len(failed)} of {len(waiting)} runs failed: {causes};\n"
            "the same command repeats only these runs"
        )


def exit_code_of(command: list[str]) -> int:
    """Run a command and return its exit code; if this process is stopped, stop the command first.

    The command has its own session, so that Ctrl-C reaches it once, from here, as SIGTERM.
    """
    env = os.environ | {RUN_OF_STUDY: "1"}
    process = subprocess.Popen(command, start_new_session=True, env=env)
    try:
        return process.wait()
    except BaseException:
        process.terminate()
        try:
            process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        raise


def print_tables(study: "Study", runs: Sequence["PlannedRun"], out: Path) -> None:
    """Print the state of all runs, and the arms with finished runs side by side."""
    from ruggedize.study import arm_rows, best_on_validation, load_summaries

    names = {run.name for run in runs}  # the folder may have those of other studies, too
    summaries = [each for each in load_summaries(study.results(out)) if each.name in names]
    console.print(table(f"study {study.name}", STATUS, status_rows(runs, summaries, out)))
    rows = arm_rows(summaries, study.baseline, list(study.tables))
    if not rows:
        return
    title = f"mean ± deviation over seeds; difference from {study.baseline}, 95 % interval"
    console.print(table(title, ARMS, compared(rows), num_texts=2))
    if best := best_on_validation(rows):
        console.print(
            f"highest on the validation extras, over the seeds that all arms have: {best}"
        )
    console.print(f"summaries: {study.results(out)}", soft_wrap=True)


STATUS = ["run", "state", "PFLOP", "seconds"]
ARMS = ["images", "arm (seeds)", "accuracy, %", "difference"]


def status_rows(
    runs: Sequence["PlannedRun"], summaries: Sequence["RunSummary"], out: Path
) -> list[list[str]]:
    """Return one row per run: its state, and its arithmetic and seconds so far."""
    from ruggedize.study import state_of

    done = {summary.name: summary for summary in summaries}
    rows = []
    for run in runs:
        state = state_of(run, out, done.get(run.name))
        pflop = f"{state.pflop:.3g} of {run.pflop:.3g}"
        rows.append([run.name, state.text, pflop, f"{state.seconds:.0f}"])
    return rows


def compared(rows: Sequence["ArmRow"]) -> list[list[str]]:
    """Return one row per kind of images and arm: accuracy and difference from the baseline."""
    from ruggedize.study import COLUMNS, columns_of, difference_text, spread_text

    texts = []
    for name in columns_of(rows):
        title = COLUMNS[name][0]
        for number, row in enumerate(rows):
            difference = difference_text(row.differences[name], len(row.runs))
            cells = [spread_text(row.values[name]), difference]
            images = "" if number else title.removeprefix("validation, ")
            texts.append([images, f"{row.arm} ({len(row.runs)})", *cells])
    return texts


def with_runs_of_studies(places: tuple[Path, ...]) -> list[Path]:
    """Replace the folder of each study by those of its assessed runs."""
    from ruggedize.study import run_folders

    return [each for place in places for each in run_folders(place) or [place]]
