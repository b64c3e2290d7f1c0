"""Find the examples in Markdown pages that are marked to run, and run them as printed.

A block under `<!-- runs -->` must work as it stands; `<!-- runs, given images -->` needs the named
values. A TOML block, or a Python block that begins with `# NAME.py`, is written to that file. In
console blocks, lines that begin with `$ ` are commands; `given cifar10` sets the data root.
Trainings are shortened by `SHORTER` and `FEW_IMAGES`, nothing else is changed.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

BLOCK = re.compile(
    r"^<!-- runs(?:, given (?P<given>[\w, ]+))? -->\n"
    r"```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
MODULE = re.compile(r"# \w+\.py\n")
SHORTER = (
    "teacher.epochs=1",
    "student.epochs=1",
    "teacher.batch_size=32",
    "student.batch_size=32",
    "teacher.model.width=8",
    "student.model.width=8",
)
ASSESS_LESS = (
    "assess.severities=[5]",
    "assess.num_images=8",
    "assess.corruption_options.frost.textures=procedural",
)
FEW_IMAGES = ("data.num_train=64", "data.validation=64")  # of CIFAR-10
SHORTER_PYTHON = f"""
import ruggedize.recipe
whole = ruggedize.recipe.load_recipe
shorter = {SHORTER + ASSESS_LESS!r}
ruggedize.recipe.load_recipe = lambda name, changes=(): whole(name, shorter + tuple(changes))
"""
SHORTER_COMMAND = f"""
import sys
from ruggedize.cli.main import main
if sys.argv[1:2] == ["run"]:
    changes = {SHORTER + ASSESS_LESS!r}
    if sys.argv[2] in ("cifar10-cpu", "keras-example"):
        changes += {FEW_IMAGES!r}
    if sys.argv[2] == "keras-example":  # ResNet50V2 has one width
        changes = [change for change in changes if ".width=" not in change]
        changes += ["teacher.averaging.every=1"]
    sys.argv[2:2] = [word for change in changes for word in ("--set", change)]
if sys.argv[1:2] == ["assess"]:
    sys.argv[2:2] = ["--num-images", "8"] + ["--severities", "5"] * ("--severities" not in sys.argv)
main()
"""


class Example(NamedTuple):
    """A block that is marked to run."""

    page: str
    line: int
    language: str
    text: str
    given: tuple[str, ...]


def examples_of(page: Path) -> list[Example]:
    """Return the marked blocks of a page, in order."""
    text, found = page.read_text(), []
    for match in BLOCK.finditer(text):
        line = text[: match.start("text")].count("\n") + 1
        given = tuple((match["given"] or "").replace(" ", "").split(",")) if match["given"] else ()
        found.append(Example(page.name, line, match["language"], match["text"], given))
    return found


def run_example(example: Example, values: dict[str, Any]) -> None:
    """Run one block in the current folder."""
    if example.language == "toml" or MODULE.match(example.text):
        name = example.text.splitlines()[0].removeprefix("# ")
        Path(name).write_text(example.text)
    elif example.language == "python":
        run_python(example, values)
    elif example.language == "console":
        run_console(example)
    else:
        raise ValueError(f"no way to run {example.language}, in {example.page}:{example.line}")


def run_python(example: Example, values: dict[str, Any]) -> None:
    """Execute Python; from a process of its own if it trains, because it is shortened there."""
    if not example.given and "load_recipe" in example.text:
        command = [sys.executable, "-c", SHORTER_PYTHON + example.text]
        finish(subprocess.run(command, capture_output=True, text=True), example)
        return
    names = {"__name__": "example"} | {name: values[name] for name in example.given}
    exec(compile(example.text, f"{example.page}:{example.line}", "exec"), names)


def run_console(example: Example) -> None:
    """Run the commands of a console block."""
    commands = folder_of_commands()
    environment = os.environ | {"PATH": f"{commands}{os.pathsep}{os.environ['PATH']}"}
    text = example.text.replace("\\\n", " ")
    for line in text.splitlines():
        if line.startswith("$ "):
            command = ["bash", "-c", line.removeprefix("$ ")]
            result = subprocess.run(command, capture_output=True, text=True, env=environment)
            finish(result, example)


def finish(result: subprocess.CompletedProcess[str], example: Example) -> None:
    """Check that a command succeeded."""
    where = f"{example.page}:{example.line}"
    assert result.returncode == 0, f"{where}\n{result.stdout}\n{result.stderr}"


def folder_of_commands() -> Path:
    """Return a folder with this Python, and a command `ruggedize` whose trainings are short."""
    folder = Path.cwd() / ".commands"
    folder.mkdir(exist_ok=True)
    commands = {
        "ruggedize": f"#!{sys.executable}\n{SHORTER_COMMAND}",
        "python": f'#!/bin/sh\nexec {sys.executable} "$@"\n',
    }
    for name, text in commands.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder
