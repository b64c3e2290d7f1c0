"""Inputs that a stranger may have made."""

import os
import subprocess
from pathlib import Path

from PIL import Image

from tests.behaviour.runs import command, env

SECONDS = 60  # a command that reads a pipe or a device never ends
FOREIGN = "a\x1b[31m\u202eb\u2066c\u200fd\x07"
ESCAPED = r"a\x1b[31m\u202eb\u2066c\u200fd\x07"
FORBIDDEN = "\x1b\x07\x00\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f"


def ran(*arguments: str | Path, cwd: Path | None = None, **more: str) -> tuple[int, str]:
    """Run a command; return its status and all that it printed."""
    done = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        cwd=cwd,
        env=env() | more,
        timeout=SECONDS,
    )
    return done.returncode, done.stdout + done.stderr


def pipe(path: Path) -> Path:
    """Make a pipe that nobody writes to, and a link to it."""
    hidden = path.parent / f".{path.name}.pipe"
    os.mkfifo(hidden)
    path.unlink(missing_ok=True)
    path.symlink_to(hidden.name)
    return path


def photographs(folder: Path, classes: tuple[str, ...] = ("apple", "pear"), num: int = 6) -> Path:
    """Make a folder of class folders with small pictures, all different."""
    for place, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(num):
            color = (40 * place, 8 * number, 9)
            Image.new("RGB", (16, 16), color).save(folder / name / f"{number}.png")
    return folder
