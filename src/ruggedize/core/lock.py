"""One writer a folder: a lock that the kernel takes back when its holder dies."""

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
WITHOUT_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP})  # some network drives
HELD: set[TextIO] = set()  # a forked child shares its parent's locks, and must not outlive them
LOCKED_BYTE = 1 << 30  # on Windows: no process could read a locked byte of the text
log = logging.getLogger(__name__)


def let_go() -> None:
    """Close, in a forked child, what its parent holds; the parent's lock stays."""
    for file in HELD:
        file.close()


if sys.platform != "win32":  # which has no fork
    os.register_at_fork(after_in_child=let_go)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Hold a folder against every other process, and clear what a killed one left half-written.

    The file stays, and means nothing: what counts is the lock, and that goes with its process.

    Raises:
        UserError: another process holds the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / NAME).open("a+") as file:
        take(file, folder)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        for left in unfinished(folder):
            left.unlink(missing_ok=True)
        HELD.add(file)
        try:
            yield
        finally:
            HELD.discard(file)


def take(file: TextIO, folder: Path) -> None:
    """Lock a folder's file; raise `UserError` if another process holds the lock."""
    try:
        lock(file)
    except (BlockingIOError, PermissionError):  # the latter on Windows
        raise in_use(folder) from None
    except OSError as error:
        if error.errno not in WITHOUT_LOCKS:
            raise
        log.warning("%s lies on a drive without locks: let no second process write there", folder)


def lock(file: TextIO) -> None:
    """Take an exclusive lock without waiting; it ends when the file is closed."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(file.fileno(), LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def in_use(folder: Path) -> UserError:
    """Return the error that names who writes a folder, as far as is known."""
    holder = (folder / NAME).read_text().strip() or "another process"
    return UserError(
        f"{folder} is being written by {holder};\n"
        "wait for it or stop it, or give another folder with --out"
    )


def unfinished(folder: Path) -> list[Path]:
    """List half-written files here and one folder below, but for folders with their own lock."""
    below = [path.parent for path in folder.glob(f"*/.*{PARTIAL}")]
    places = {folder, *(place for place in below if not (place / NAME).exists())}
    return [path for place in places for path in place.glob(f".*{PARTIAL}")]
