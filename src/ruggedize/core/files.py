"""Atomic file writes, JSON files and `metrics.jsonl`."""

import difflib
import errno
import hashlib
import json
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ruggedize.core.errors import UserError
from ruggedize.core.reading import open_regular, read_bytes, reject_holes
from ruggedize.core.tables import is_too_deep

PARTIAL = ".partial"  # suffix of files while they are being written


def reject_unwritable_folder(folder: Path) -> None:
    """Raise UserError if a folder cannot be created or is not writable."""
    existing = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise UserError(
            f"{folder} cannot be created: {existing} is a file;\nchoose another path with --out"
        )
    if not os.access(existing, os.W_OK):
        raise UserError(f"{existing} is not writable;\nchoose another path with --out")


def reject_unwritable_file(path: Path) -> None:
    """Raise UserError if a file cannot be written."""
    if path.is_dir():
        raise UserError(f"{path} is a folder;\nset --out to the path of a file")
    reject_unwritable_folder(path.parent)


def reject_missing_run(folder: Path, instead: str = "use the path of a run folder") -> None:
    """Raise UserError if a path is not a run folder; suggest a folder with a similar name.

    Args:
        folder: the path.
        instead: what the user should do if it is a file.
    """
    if folder.is_dir():
        return
    if folder.exists():
        raise UserError(f"{folder} is not a run folder;\n{instead}")
    siblings = [path.name for path in folder.absolute().parent.glob("*") if path.is_dir()]
    similar = difflib.get_close_matches(folder.name, siblings, 1)
    hint = f"did you mean {folder.with_name(similar[0])}?" if similar else "run it first"
    raise UserError(f"there is no run folder {folder};\n{hint}")


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` once it has been written and flushed to disk.

    Even if the process or the machine crashes, `path` is either complete or unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        descriptor = open_without_link(partial, os.O_WRONLY | os.O_EXCL)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
            flush_folder(path.parent)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        if error.filename is None or Path(error.filename) == partial:
            error.filename = str(path)  # the OS does not name the file for a failed write
        raise


def open_without_link(path: Path, flags: int) -> int:
    """Open a file without following a link, creating it if missing; return its descriptor."""
    more = ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY")  # not all exist on Windows
    return os.open(path, flags | os.O_CREAT | sum(getattr(os, n, 0) for n in more), 0o666)


def is_own(path: Path) -> bool:
    """Return whether a path belongs to this user and is not a link."""
    try:
        status = path.lstat()
    except OSError:
        return False
    is_mine = sys.platform == "win32" or status.st_uid == os.geteuid()
    return is_mine and not stat.S_ISLNK(status.st_mode)


def flush_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a renamed file survives a power failure."""
    if sys.platform == "win32":  # Windows cannot open folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (
            errno.EINVAL,
            errno.ENOTSUP,
        ):  # some network drives do not support it
            raise
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file atomically; see `whole_file`."""
    with whole_file(path) as file:
        file.write(data)


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; equal content is written as equal bytes."""
    write_atomically(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def sha256(path: Path) -> str:
    """Return a file's SHA-256 in hexadecimal; raise UserError for a huge sparse file."""
    with open_regular(path) as file:
        reject_holes(path, os.fstat(file.fileno()))
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write `metrics.jsonl` atomically, one JSON object per line."""
    write_atomically(
        path, "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows).encode()
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read `metrics.jsonl`; return an empty list if the file is missing."""
    if not path.exists():
        return []
    return [parse_row(path, n, line) for n, line in enumerate(read_bytes(path).splitlines(), 1)]


def parse_row(path: Path, number: int, line: bytes) -> dict[str, Any]:
    """Parse one line; raise UserError if it is damaged."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict) or is_too_deep(row):
        raise UserError(f"{path}: line {number} is damaged;\ndelete that line")
    return row
