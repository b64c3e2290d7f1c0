"""Files that are whole or absent, JSON, and lines of metrics."""

import difflib
import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ruggedize.core.errors import UserError

PARTIAL = ".partial"  # how the name of a file ends that is being written


def reject_unwritable_folder(folder: Path) -> None:
    """Raise UserError for a folder that cannot be made or written to."""
    there = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
    if not there.is_dir():
        raise UserError(
            f"{folder} cannot be a folder: {there} is a file;\ngive another place with --out"
        )
    if not os.access(there, os.W_OK):
        raise UserError(f"{there} cannot be written to;\ngive another place with --out")


def reject_unwritable_file(path: Path) -> None:
    """Raise UserError for a file that cannot be written."""
    if path.is_dir():
        raise UserError(f"{path} is a folder;\ngive the name of a file with --out")
    reject_unwritable_folder(path.parent)


def reject_missing_run(folder: Path) -> None:
    """Reject a run folder that is not there, naming one beside it that is called alike."""
    if folder.is_dir():
        return
    beside = [path.name for path in folder.absolute().parent.glob("*") if path.is_dir()]
    near = difflib.get_close_matches(folder.name, beside, 1)
    hint = f"did you mean {folder.with_name(near[0])}?" if near else "run it first"
    raise UserError(f"there is no run folder {folder}; {hint}")


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing that takes its place once it is complete and on the disk.

    Whatever happens, to the process or to the machine, `path` is whole, as it was, or absent.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        flush_folder(path.parent)
    except OSError as error:
        if error.filename is None or Path(error.filename) == partial:
            error.filename = str(path)  # a write says not which file it was for
        raise
    finally:
        partial.unlink(missing_ok=True)


def flush_folder(folder: Path) -> None:
    """Flush a folder's entries to disk; without it a power failure can lose a renamed file."""
    if os.name == "nt":  # Windows cannot open a folder
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network drives know no such
            raise
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that is whole or absent, even when the process or the machine dies."""
    with whole_file(path) as file:
        file.write(data)


def write_json(path: Path, content: Any) -> None:
    """Write JSON with a stable layout: equal content gives equal bytes."""
    write_atomically(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write `metrics.jsonl` anew, one JSON object a line."""
    write_atomically(
        path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read `metrics.jsonl`; a file that is not there has no rows."""
    if not path.exists():
        return []
    return [row_in(path, n, line) for n, line in enumerate(path.read_bytes().splitlines(), 1)]


def row_in(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """Read one line."""
    try:
        row = json.loads(line)
    except ValueError:
        row = None
    if not isinstance(row, dict):
        raise UserError(f"{path}: line {number} is damaged; delete that line")
    return row
