"""Who may import whom: the table of docs/architecture.md, enforced."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

LONGEST_FILE, LONGEST_FUNCTION = 300, 60  # lines
PACKAGE = Path(__file__).resolve().parents[1] / "src" / "ruggedize"
PARTS = frozenset({"assess", "corruptions", "data", "models", "recipe", "report", "train", "views"})
WITH_INTERFACE = PARTS | {"study"}  # have an __init__.pyi, which lists what others may import
BELOW = frozenset({"core", "kernels"})  # every module of theirs may be imported
ALLOWED: dict[str, frozenset[str]] = {
    "core": frozenset(),
    "kernels": frozenset({"core"}),
    "data": BELOW,
    "views": BELOW | {"data"},
    "models": BELOW,
    "train": BELOW | {"corruptions", "data", "views", "models"},
    "corruptions": BELOW | {"data"},
    "assess": BELOW | {"data", "models", "corruptions"},
    "report": frozenset({"core", "assess"}),
    "recipe": frozenset({"core", "assess", "data", "models", "train", "views"}),
    "tracking": frozenset({"core", "assess", "recipe", "report"}),
    "pipeline": BELOW | PARTS | {"tracking"},
    "named_models": BELOW | PARTS | {"pipeline"},
    "assess_models": BELOW | PARTS | {"pipeline", "named_models"},
    "study": BELOW | PARTS | {"pipeline"},
    "card": frozenset({"core", "assess", "models", "report"}),
    "transforms": BELOW | {"corruptions", "train", "views"},
    "cli": BELOW | PARTS | {"pipeline", "assess_models", "study", "card", "tracking"},
    "__main__": frozenset({"cli"}),
    "__init__": frozenset(),
}


def part_of(path: Path) -> str:
    """Name the part that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(source: str) -> set[str]:
    """List the modules of ruggedize that a module imports, anywhere in it: `data.folder`."""
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
        found |= {name.removeprefix("ruggedize.") for name in names if name[:10] == "ruggedize."}
    return found


def violations(part: str, source: str) -> set[str]:
    """Return what a module of this part imports and may not: a part, or the inside of one."""
    found = set()
    for module in imported_modules(source):
        other, _, inside = module.partition(".")
        if other != part and (other not in ALLOWED[part] or (inside and other in WITH_INTERFACE)):
            found.add(module)
    return found


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
    assert violations("report", "def f():\n    import ruggedize.models.build") == {"models.build"}
    assert violations("core", "from ruggedize import pipeline") == {"pipeline"}
    assert violations("views", "from ruggedize.data.folder import x") == {"data.folder"}
    assert violations("views", "from ruggedize.data import x\nimport ruggedize.core.lock") == set()


def test_the_page_on_architecture_holds_this_table() -> None:
    page = (PACKAGE.parents[1] / "docs" / "architecture.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| ([^|]*)\|$", page, re.MULTILINE))
    table = {part: set(re.findall(r"`(\w+)`", allowed)) for part, allowed in rows.items()}
    assert table == {part: set(ALLOWED[part]) for part in ALLOWED if not part.startswith("__")}


def modules_after(statement: str) -> set[str]:
    """Run a statement in a fresh interpreter and list what it imported."""
    code = f"import sys; {statement}; print('\\n'.join(sys.modules))"
    command = [sys.executable, "-c", code]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import ruggedize",
        "import ruggedize.cli.main",
        "import ruggedize.report",
        "from ruggedize.report import write_report",
        "import ruggedize.transforms",
        "from ruggedize.recipe import load_recipe; load_recipe('demo')",
    ],
)
def test_torch_is_not_imported_where_nothing_is_computed(statement: str) -> None:
    assert "torch" not in modules_after(statement)


def test_the_import_check_bites() -> None:
    assert "torch" in modules_after("from ruggedize import load_model")


@pytest.mark.parametrize("stub", sorted(PACKAGE.rglob("__init__.pyi")), ids=lambda p: p.parent.name)
def test_no_public_name_is_also_a_module(stub: Path) -> None:
    """Importing the module would replace the name: older versions of lazy_loader return it then."""
    names = {line.split()[-1] for line in stub.read_text().splitlines() if line.startswith("from")}
    modules = {path.stem for path in stub.parent.iterdir() if path.suffix == ".py"}
    assert not names & modules
