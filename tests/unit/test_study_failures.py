"""What is said about the runs of a study that fail."""

import signal
from pathlib import Path

import pytest

from ruggedize.cli import studying
from ruggedize.core.errors import UserError
from ruggedize.study import load_study, plan
from tests.tiny_study import tiny_study


def test_a_run_that_was_killed_has_no_error_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_study(tiny_study(tmp_path))
    runs = plan(study)[:3]
    codes = iter([0, 2, -signal.SIGKILL])
    monkeypatch.setattr(studying, "exit_code_of", lambda command: next(codes))
    _, failed, killed = (run.name for run in runs)
    with pytest.raises(UserError) as error:
        studying.run_all(study, runs, tmp_path / "runs", None)
    assert str(error.value) == (
        f"2 of 3 runs failed: {failed} (its error is above), {killed} (Killed);\n"
        "the same command repeats only these runs"
    )
