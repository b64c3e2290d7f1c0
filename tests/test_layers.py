"""Who may import whom: the table of ARCHITECTURE, enforced."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

LONGEST_FILE, LONGEST_FUNCTION = 300, 60  # lines
PACKAGE = Path(__file__).resolve().parents[1] / "src" / "ruggedize"
PUBLIC_ENTRY = frozenset(
    {"assess", "corruptions", "data", "models", "report", "training", "views"}
    | {"recipe", "runs", "locking", "seeding", "chain", "examining", "display"}
)
OPTIONS = frozenset({"assess", "data", "models", "training", "views"})
ALLOWED: dict[str, frozenset[str]] = {
    "seeding": frozenset(),
    "runs": frozenset(),
    "memory": frozenset(),
    "progress": frozenset(),
    "locking": frozenset({"runs"}),
    "images": frozenset({"seeding"}),
    "data": frozenset({"runs", "locking", "memory", "seeding", "images"}),
    "views": frozenset({"seeding", "images", "data"}),
    "models": frozenset({"runs", "memory", "images"}),
    "training": frozenset(
        {"seeding", "runs", "memory", "progress", "locking", "images", "data", "views", "models"}
    ),
    "corruptions": frozenset({"seeding", "runs", "locking", "images", "data"}),
    "assess": frozenset({"seeding", "runs", "images", "data", "models", "corruptions"}),
    "report": frozenset({"runs", "assess"}),
    "recipe": frozenset({"runs", "recipe_tables"}) | OPTIONS,
    "recipe_tables": frozenset({"runs"}),
    "display": frozenset({"progress"}),
    "chain": PUBLIC_ENTRY,
    "examining": PUBLIC_ENTRY,
    "arguments": frozenset({"corruptions"}),
    "data_commands": PUBLIC_ENTRY | {"arguments"},
    "commands": PUBLIC_ENTRY | {"arguments", "data_commands"},
    "watchdog": frozenset(),
    "cli": frozenset({"commands", "display", "runs", "watchdog"}),
    "__main__": frozenset({"cli"}),
    "__init__": frozenset(),
}


def part_of(path: Path) -> str:
    """Name the part that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(source: str) -> set[str]:
    """List the parts of ruggedize that a module imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
            if node.module == "ruggedize":
                names = [f"ruggedize.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("ruggedize.")}
    return found


def violations(part: str, source: str) -> set[str]:
    """Return what a module of this part imports and may not."""
    return imported_parts(source) - ALLOWED[part] - {part}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_a_part_imports_only_what_it_may(path: Path) -> None:
    forbidden = violations(part_of(path), path.read_text())
    assert not forbidden, f"{path.relative_to(PACKAGE)} must not import {sorted(forbidden)}"


def long_functions(source: str) -> list[str]:
    """Name the functions of more than sixty lines."""
    nodes = ast.walk(ast.parse(source))
    functions = [node for node in nodes if isinstance(node, ast.FunctionDef)]
    return [f.name for f in functions if (f.end_lineno or 0) - f.lineno >= LONGEST_FUNCTION]


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.stem)
def test_files_and_functions_are_short(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= LONGEST_FILE
    assert not long_functions(source)


def test_the_check_of_lengths_bites() -> None:
    assert long_functions("def f():\n" + "    x = 1\n" * 59) == []
    assert long_functions("def f():\n" + "    x = 1\n" * 60) == ["f"]


def test_the_check_bites() -> None:
    assert violations("corruptions", "from ruggedize.views import randaugment") == {"views"}
    assert violations("report", "def f():\n    import ruggedize.models.build") == {"models"}
    assert violations("runs", "from ruggedize import seeding") == {"seeding"}


def modules_after(statement: str) -> set[str]:
    """Run a statement in a fresh interpreter and list what it imported."""
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    command = [sys.executable, "-c", code]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import ruggedize",
        "import ruggedize.cli",
        "import ruggedize.report",
        "from ruggedize.report import write_report",
        "from ruggedize.recipe import load_recipe; load_recipe('demo')",
    ],
)
def test_torch_is_not_imported_where_nothing_is_computed(statement: str) -> None:
    assert "torch" not in modules_after(statement)


def test_the_import_check_bites() -> None:
    assert "torch" in modules_after("from ruggedize import load_model")
