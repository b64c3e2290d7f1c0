"""Variables that the command line sets before libraries read them."""

import os
import subprocess
import sys

import pytest

from ruggedize.cli.variables import SPIN_COUNT, set_variables

NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "HF_HUB_VERBOSITY")


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, str(SPIN_COUNT)),
        ({"GOMP_SPINCOUNT": "7"}, "7"),
        ({"OMP_WAIT_POLICY": "active"}, None),
    ],
)
def test_waiting_threads_spin_briefly_unless_the_user_decides(
    own: dict[str, str], expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        monkeypatch.setenv(name, "")  # restored afterwards
        monkeypatch.delenv(name)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    set_variables()
    assert os.environ.get("GOMP_SPINCOUNT") == expected
    assert os.environ["HF_HUB_VERBOSITY"] == "error"


def test_they_are_set_before_torch_is_imported() -> None:
    script = """
import sys
from ruggedize.cli import main
def command():
    print("torch" in sys.modules, main.os.environ["GOMP_SPINCOUNT"])
main.parse = lambda arguments: command
main.main()
"""
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == f"False {SPIN_COUNT}\n"
