"""Pages that MkDocs generates while it builds the site, and links that leave it."""

import contextlib
import importlib
import io
import json
import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

from docs.notebook import NOTEBOOK, page_of
from ruggedize.cli.commands import COMMANDS
from ruggedize.cli.parsing import parse

ROOT = Path(__file__).parents[1]
PARTS = (
    "assess",
    "corruptions",
    "data",
    "models",
    "recipe",
    "report",
    "train",
    "transforms",
    "views",
)
RELATIVE = re.compile(r"\[([^\]\n]+)\]\((\.\./[^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the tutorial, the command reference and the Python reference."""
    pages = {
        "tutorial.md": page_of(json.loads(NOTEBOOK.read_text())),
        "reference/commands.md": command_reference(),
        "reference/python.md": package_page("ruggedize"),
    }
    pages |= {f"reference/{part}.md": package_page(f"ruggedize.{part}") for part in PARTS}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def command_reference() -> str:
    """Return the help of every command."""
    parts = ["# Commands", "*Generated from `--help`.*", help_of(())]
    for name in COMMANDS:
        parts += [f"## {name}", help_of((name,))]
    return "\n\n".join(parts) + "\n"


def help_of(arguments: tuple[str, ...]) -> str:
    """Return what `--help` prints, as a block."""
    os.environ["COLUMNS"] = "76"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        parse([*arguments, "--help"])
    lines = (line.rstrip() for line in printed.getvalue().strip().splitlines())
    return "```text\n" + "\n".join(lines) + "\n```"


def package_page(package: str) -> str:
    """Return a page with every public name of a package."""
    module = importlib.import_module(package)
    names = sorted(module.__all__, key=str.lower)
    heading = [f"# `{package}`", f"*Generated from the docstrings.* {module.__doc__ or ''}"]
    documented = [name for name in names if is_documented(getattr(module, name))]
    return "\n\n".join([*heading, *(f"::: {package}.{name}" for name in documented)]) + "\n"


def is_documented(value: Any) -> bool:
    """Return whether a public name is a class or a function, and not a constant."""
    return callable(value) and hasattr(value, "__module__")


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Link to the tutorial's page, and replace links to files outside the site by their text.

    Raises:
        PluginError: there is no such file.
    """
    folder = ROOT / "docs" / PurePosixPath(page.file.src_uri).parent

    def replaced(match: re.Match[str]) -> str:
        target = (folder / match[2]).resolve()
        if (ROOT / "docs") in (target, *target.parents):
            return match[0]
        if not target.exists():
            raise PluginError(f"{page.file.src_uri} links to {match[2]}, which does not exist")
        return match[1]

    return RELATIVE.sub(replaced, markdown.replace("tutorial.ipynb)", "tutorial.md)"))
