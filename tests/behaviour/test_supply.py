"""What SECURITY.md promises: nothing is unpickled, and the network is used by `fetch` alone."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.behaviour.runs import command, tiny_demo

SOURCE = Path(__file__).resolve().parents[2] / "src"
UNPICKLERS = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
LOADERS = {"torch.load", "torch.hub", "pandas.read_pickle", "yaml.load", "np.load", "numpy.load"}
WATCH = """
import os, sys

def hook(event, arguments):
    is_pair = event == "socket.__new__" and arguments[1] == 1  # AF_UNIX: within this process
    if event.startswith("socket.") and event != "socket.gethostname" and not is_pair:
        with open(os.environ["SEEN"], "a") as file:
            file.write(f"{event} {arguments!r}\\n")

sys.addaudithook(hook)
"""
IMPORT_ALL = """
import importlib, pkgutil, ruggedize
for module in pkgutil.walk_packages(ruggedize.__path__, "ruggedize."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
CONNECT = "import socket; socket.socket().connect_ex(('127.0.0.1', 9))"


def unpicklers_in(source: str) -> set[str]:
    """Name what in a module could run code that a file brings along."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & UNPICKLERS
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or ""} & UNPICKLERS
            found |= {f"{node.module}.{alias.name}" for alias in node.names} & LOADERS
        elif isinstance(node, ast.Attribute):
            found |= {ast.unparse(node)} & LOADERS
        elif isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            found |= {"allow_pickle"} if ast.unparse(node.value) != "False" else set()
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            found |= {node.func.id} & {"eval", "exec"}
    return found


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.stem)
def test_nothing_in_the_source_could_unpickle(path: Path) -> None:
    assert not unpicklers_in(path.read_text())


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "def f():\n    from joblib import load",
        "from torch import load",
        "import torch\nmodel = torch.load('model.pt')",
        "import numpy as np\nlabels = np.load('labels.npy')",
        "f(path, allow_pickle=True)",
        "eval(text)",
    ],
)
def test_the_search_for_unpicklers_bites(source: str) -> None:
    assert unpicklers_in(source)


def sockets_of(arguments: list[str], folder: Path) -> str:
    """Run Python under watch; give what it and the processes that it started did with sockets."""
    seen = folder / "seen"
    seen.touch()
    (folder / "sitecustomize.py").write_text(WATCH)
    places = [str(folder), str(SOURCE), os.environ.get("PYTHONPATH", "")]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(places), "SEEN": str(seen)}
    done = subprocess.run(arguments, capture_output=True, text=True, env=env, cwd=folder)
    assert done.returncode == 0, done.stderr
    return seen.read_text()


@pytest.mark.more
def test_an_import_opens_no_socket(tmp_path: Path) -> None:
    assert sockets_of([sys.executable, "-c", IMPORT_ALL], tmp_path) == ""


@pytest.mark.more
def test_a_whole_run_opens_no_socket(tmp_path: Path) -> None:
    assert sockets_of(command(*tiny_demo(tmp_path / "run")), tmp_path) == ""
    assert (tmp_path / "run" / "report.html").exists()


def test_the_watch_for_sockets_bites(tmp_path: Path) -> None:
    assert "socket.connect" in sockets_of([sys.executable, "-c", CONNECT], tmp_path)
