"""Folder locks that allow one writer; the operating system releases them if the writer dies."""

import errno
import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ruggedize.core.errors import UserError
from ruggedize.core.files import PARTIAL

NAME = ".lock"
UNSUPPORTED = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP})  # on some network drives
HELD: set[TextIO] = set()  # open lock files; a forked child closes them, as it shares the locks
LOCKED_BYTE = 1 << 30  # on Windows: beyond the text, which stays readable for other processes
log = logging.getLogger(__name__)


def close_inherited_locks() -> None:
    """Close the parent's lock files in a forked child; the parent keeps its locks."""
    for file in HELD:
        file.close()


if sys.platform != "win32":  # Windows has no fork
    os.register_at_fork(after_in_child=close_inherited_locks)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Lock a folder for this process, and delete partial files of a killed process.

    The lock file is never deleted: only the lock on it matters, which ends with its process.

    Raises:
        UserError: another process has locked the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NAME).open("a+") as file:
        acquire(file, folder)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        for partial in partial_files(folder):
            partial.unlink(missing_ok=True)
        HELD.add(file)
        try:
            yield
        finally:
            HELD.discard(file)


def acquire(file: TextIO, folder: Path) -> None:
    """Lock a folder's lock file; raise UserError if another process holds the lock."""
    try:
        lock(file)
    except (BlockingIOError, PermissionError):  # the latter on Windows
        raise folder_in_use(folder) from None
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        log.warning("%s is on a drive without locks: do not run a second process there", folder)


def lock(file: TextIO) -> None:
    """Acquire an exclusive lock without waiting; closing the file releases it."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(file.fileno(), LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def folder_in_use(folder: Path) -> UserError:
    """Build the error for a locked folder; it names the process that holds the lock, if known."""
    holder = (folder / NAME).read_text().strip() or "another process"
    return UserError(
        f"{folder} is being written by {holder};\n"
        "wait for it or stop it, or choose another folder with --out"
    )


def partial_files(folder: Path) -> list[Path]:
    """List partial files in a folder and in its direct subfolders without their own lock."""
    subfolders = [path.parent for path in folder.glob(f"*/.*{PARTIAL}")]
    searched = {folder, *(sub for sub in subfolders if not (sub / NAME).exists())}
    return [path for place in searched for path in place.glob(f".*{PARTIAL}")]
