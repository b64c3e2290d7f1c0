"""Safe reading of files: regular files only, with limits on size and on JSON depth."""

import io
import json
import os
import stat
from pathlib import Path
from typing import Any

from ruggedize.core.errors import UserError, shown
from ruggedize.core.tables import MAX_DEPTH, is_too_deep

MAX_BYTES = 1 << 26  # limit for files that are read in one go: JSON, TOML, text, pictures
LARGE = 1 << 30  # bytes; a file that is hashed and longer must be stored on disk
MAX_COMPRESSION = 64  # by file systems, of such files
READ_FLAGS = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY")
)


class NotRegularError(UserError):
    """A path leads to a folder, a pipe or a device; reading one may block or never end."""


def open_regular(path: Path) -> io.BufferedReader:
    """Open a regular file for reading; links are followed.

    The file type is checked twice: before opening, because opening a device can have side effects,
    and on the open file, because the path may have been replaced in between.

    Raises:
        NotRegularError: the path leads to something other than a regular file.
        OSError: the file does not exist or cannot be read.
    """
    check_regular(path)
    descriptor = os.open(path, READ_FLAGS)
    try:
        reject_irregular(path, os.fstat(descriptor).st_mode)
    except UserError:
        os.close(descriptor)
        raise
    return os.fdopen(descriptor, "rb")


def check_regular(path: Path) -> None:
    """Raise NotRegularError unless a path leads to a regular file.

    For libraries that take a path; elsewhere use `open_regular`.
    """
    reject_irregular(path, os.stat(path).st_mode)


def reject_irregular(path: Path, mode: int) -> None:
    """Raise NotRegularError unless a file mode is that of a regular file."""
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
        raise NotRegularError(f"{shown(path)} is {kind};\nreplace it with a regular file")


def reject_holes(path: Path, status: os.stat_result) -> None:
    """Raise UserError for a huge sparse file, which would take hours to read."""
    stored = getattr(status, "st_blocks", status.st_size) * 512  # Windows does not know it
    if status.st_size > LARGE and stored < status.st_size // MAX_COMPRESSION:
        raise UserError(
            f"{shown(path)} has {status.st_size:,} bytes, of which {stored:,} are stored;\n"
            "replace it with the file that belongs there, or remove it"
        )


def reject_outside(path: Path, folder: Path) -> None:
    """Raise UserError if a path leads out of a folder, through a link or `..`."""
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise UserError(
            f"{shown(path)} leads out of the folder {shown(folder)};\n"
            "replace the link with the file itself, or remove it"
        )


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Read a regular file; raise UserError if it has more bytes than the limit."""
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise UserError(
            f"{shown(path)} must have at most {limit:,} bytes, got more;\n"
            "replace it with the right file, or remove it"
        )
    return data


def read_json(path: Path, limit: int = MAX_BYTES) -> Any:
    """Read a JSON file; raise UserError if it is damaged."""
    return parsed_json(path, read_bytes(path, limit))


def parsed_json(path: Path, data: bytes) -> Any:
    """Parse JSON; raise UserError if it is damaged or nested too deeply."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):  # not JSON, not UTF-8, or nested without end
        raise UserError(f"{shown(path)} is not valid JSON;\nrestore it, or delete it") from None
    if is_too_deep(content):
        raise UserError(
            f"{shown(path)} is nested more than {MAX_DEPTH} levels deep;\nrestore it, or delete it"
        )
    return content
