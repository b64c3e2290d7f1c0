"""Types reach the user: a checker finds misuses of the public API and accepts correct uses."""

import importlib
import inspect
import json
import subprocess
import sys
import typing
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from torch import nn

import ruggedize
from tests.distributed.launching import ROOT

HERE = Path(__file__).parent
PARTS = ("assess", "corruptions", "data", "models", "report", "train", "views")
CALLS = ("__init__", "__call__")
MARK = "# error"


def lines_with_errors(file: Path) -> list[int]:
    """Type-check a file as a user's checker would; return the lines to which it objects."""
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--level", "error"]
    result = subprocess.run([*command, str(file)], capture_output=True, text=True, cwd=ROOT)
    found = json.loads(result.stdout)
    assert found["summary"]["filesAnalyzed"] == 1
    return sorted({fault["range"]["start"]["line"] + 1 for fault in found["generalDiagnostics"]})


def marked_lines(file: Path) -> list[int]:
    lines = file.read_text().splitlines()
    return [number for number, line in enumerate(lines, 1) if line.endswith(MARK)]


@pytest.mark.more
def test_every_misuse_is_an_error_and_nothing_else_is() -> None:
    expected = marked_lines(HERE / "misuse.py")
    assert len(expected) >= 10
    assert lines_with_errors(HERE / "misuse.py") == expected


@pytest.mark.more
def test_correct_uses_are_accepted() -> None:
    assert lines_with_errors(HERE / "correct_use.py") == []


def contains_any(annotation: object) -> bool:
    """Whether `Any` stands anywhere in an annotation."""
    return annotation is Any or any(map(contains_any, typing.get_args(annotation)))


@cache
def public_objects() -> dict[str, Any]:
    """Return all public names of the package and its parts, with the classes' public methods."""
    found: dict[str, Any] = {}
    for name in ("ruggedize", *(f"ruggedize.{part}" for part in PARTS)):
        module = importlib.import_module(name)
        found |= {f"{name}.{public}": getattr(module, public) for public in module.__all__}
    for name, value in [*found.items()]:
        if inspect.isclass(value) and value.__module__.startswith("ruggedize"):
            members = {
                key: own for key, own in vars(value).items() if key[0] != "_" or key in CALLS
            }
            found |= {
                f"{name}.{key}": own.fget if isinstance(own, property) else own
                for key, own in members.items()
                if inspect.isfunction(own) or isinstance(own, property)
            }
    return found


def vague(value: object) -> list[str]:
    """Name the parameters or fields of a public object that are annotated with `Any`."""
    own = inspect.get_annotations(value) if inspect.isclass(value) else None
    hints = typing.get_type_hints(value, localns=FOR_CHECKERS)
    return [
        key for key, hint in hints.items() if (own is None or key in own) and contains_any(hint)
    ]


# names that are imported for type checkers alone
FOR_CHECKERS = {"nn": nn} | dict.fromkeys(("Image", "Context", "Objective", "ViewMaker"), object)


@pytest.mark.parametrize("name", public_objects())
def test_no_public_name_is_typed_as_any(name: str) -> None:
    value = public_objects()[name]
    if inspect.isclass(value) or inspect.isfunction(value):
        assert not vague(value), name


def test_the_check_for_any_bites() -> None:
    def loose(images: int, options: dict[str, Any]) -> None: ...

    assert vague(loose) == ["options"]


def test_public_names_are_imported_when_they_are_used() -> None:
    script = "import sys, ruggedize; print('torch' in sys.modules); ruggedize.Classifier; "
    script += "print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.stdout.split() == ["False", "True"]


def test_types_are_announced_to_checkers() -> None:
    package = Path(ruggedize.__file__).parent
    assert (package / "py.typed").exists()
    for part in PARTS:
        assert (package / part / "__init__.pyi").exists()
