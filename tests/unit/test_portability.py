"""Importing the package and asking for help need nothing that only POSIX has."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import ruggedize

PACKAGE = Path(ruggedize.__file__).parent
WITHOUT_POSIX = """
import asyncio, multiprocessing.reduction, os, select, shutil, signal, subprocess, sys, tempfile

sys.platform = "win32"

for module, names in {
    os: ["register_at_fork", "sched_getaffinity", "getuid", "geteuid", "fork", "killpg", "uname"],
    select: ["poll"],
    signal: ["pthread_sigmask", "SIGPIPE", "SIGKILL", "SIGALRM"],
}.items():
    for name in names:
        delattr(module, name)
"""
BLOCKED = """
for name in ("fcntl", "resource", "pwd", "grp", "termios"):
    sys.modules[name] = None
"""


def run_without_posix(code: str, modules: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Run code in a process from which what Windows lacks was taken away.

    Other packages are imported first: their own use of POSIX is guarded by `sys.platform`, as ours
    is, and what they use on Windows is not here.
    """
    before = "".join(f"import {module}\n" for module in modules)
    command = [sys.executable, "-c", before + WITHOUT_POSIX + BLOCKED + code]
    return subprocess.run(command, capture_output=True, text=True)


def modules_of_the_package() -> list[str]:
    files = sorted(PACKAGE.rglob("*.py"))
    parts = [path.relative_to(PACKAGE.parent).with_suffix("").parts for path in files]
    names = [".".join(part).removesuffix(".__init__") for part in parts]
    return [name for name in names if not name.endswith("__main__")]


@pytest.mark.more
def test_every_module_can_be_imported_without_posix() -> None:
    names = modules_of_the_package()
    assert {"ruggedize", "ruggedize.core.lock", "ruggedize.train.loop"} <= set(names)
    others = ["accelerate", "numba", "torch.utils.data", "torch.distributed", "sklearn.datasets"]
    others += ["PIL.Image", "plotly", "pooch", "rich.progress", "tyro", "safetensors.torch"]
    code = "import importlib\nfor name in sys.argv[1:]: importlib.import_module(name)"
    code = code.replace("sys.argv[1:]", repr(names))
    result = run_without_posix(code, others)
    assert result.returncode == 0, result.stderr


def test_the_help_is_shown_without_posix() -> None:
    code = "sys.argv[1:] = ['--help']\nfrom ruggedize.cli.main import main\nmain()"
    result = run_without_posix(code, ["tyro", "rich.progress"])
    assert result.returncode == 0, result.stderr
    assert "train-teacher" in result.stdout


def test_the_lock_can_be_imported_without_posix() -> None:
    assert run_without_posix("import ruggedize.core.lock").returncode == 0
    assert run_without_posix("import os; os.register_at_fork(after_in_child=print)").returncode != 0
    assert run_without_posix("import fcntl").returncode != 0  # must fail
