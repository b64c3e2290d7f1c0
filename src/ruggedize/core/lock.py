"""Folder locks for a single writer; the operating system releases them if the writer dies."""

import errno
import logging
import os
import re
import shutil
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ruggedize.core.errors import UserError, shown
from ruggedize.core.files import PARTIAL, is_own, open_without_link

NAME = ".lock"
UNSUPPORTED = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP})  # on some network drives
HELD: set[TextIO] = set()  # open lock files; a forked child shares the locks, so it closes them
MAX_SHOWN = 200  # characters of a lock file's text in an error message
LOCKED_BYTE = 1 << 30  # on Windows: past the text, so that other processes can still read it
log = logging.getLogger(__name__)


def close_inherited_locks() -> None:
    """Close the parent's lock files in a forked child; the parent keeps its locks."""
    for file in HELD:
        file.close()


if sys.platform != "win32":  # Windows has no fork
    os.register_at_fork(after_in_child=close_inherited_locks)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Lock a folder for this process, and delete partial files left by killed processes.

    The lock file is never deleted: only the lock on it counts, and that ends with the process.

    Raises:
        UserError: another process has locked the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open_lock(folder / NAME) as file:
        acquire(file, folder)
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        file.flush()
        for partial in partial_files(folder):
            if partial.is_dir():  # a copy of a training
                shutil.rmtree(partial, ignore_errors=True)
            else:
                partial.unlink(missing_ok=True)
        HELD.add(file)
        try:
            yield
        finally:
            HELD.discard(file)


def open_lock(path: Path) -> TextIO:
    """Open a lock file, creating it if missing.

    Raises:
        UserError: the path is a link, a hard link or not a regular file; writing the lock's text
            would overwrite another file.
    """
    try:
        descriptor = open_without_link(path, os.O_RDWR | os.O_APPEND)
    except OSError as error:
        if error.errno not in (errno.ELOOP, errno.ENXIO):  # a link; a pipe or a socket
            raise
        raise no_lock(path) from None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        os.close(descriptor)
        raise no_lock(path)
    return os.fdopen(descriptor, "a+", encoding="utf-8", errors="replace")


def no_lock(path: Path) -> UserError:
    """Build the error for a path that cannot be a lock file."""
    return UserError(f"{shown(path)} must be a regular file, not a link;\nremove it")


def acquire(file: TextIO, folder: Path) -> None:
    """Lock a folder's lock file; raise UserError if another process holds the lock."""
    try:
        lock(file)
    except (BlockingIOError, PermissionError):  # the latter on Windows
        raise folder_in_use(file, folder) from None
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        log.warning(
            "%s is on a drive that does not support locks: do not run two processes in it", folder
        )


def lock(file: TextIO) -> None:
    """Acquire an exclusive lock without waiting; closing the file releases it."""
    if sys.platform == "win32":
        import msvcrt

        os.lseek(file.fileno(), LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def folder_in_use(file: TextIO, folder: Path) -> UserError:
    """Build the error for a locked folder, naming the process that holds the lock if known."""
    file.seek(0)
    holder = shown(file.read(MAX_SHOWN).strip()) or "another process"
    return UserError(
        f"{folder} is being written by {holder};\n"
        "wait for it or stop it, or choose another folder with --out"
    )


def partial_files(folder: Path) -> list[Path]:
    """List this user's partial files in a folder and in its direct subfolders that have no lock.

    Of partial folders, only those of copies in the folder itself are listed. Links are not
    followed.
    """
    subfolders = [path.parent for path in folder.glob(f"*/.*{PARTIAL}")]
    unlocked = (sub for sub in subfolders if is_own(sub) and not os.path.lexists(sub / NAME))
    searched = {folder, *unlocked}
    found = [path for place in searched for path in place.glob(f".*{PARTIAL}") if is_own(path)]
    return [path for path in found if not path.is_dir() or is_partial_copy(path, folder)]


def is_partial_copy(path: Path, folder: Path) -> bool:
    """Return whether a folder is named as the partial copy of a training in `folder` is."""
    is_named = re.fullmatch(rf"\..+\.[0-9a-f]{{8}}{re.escape(PARTIAL)}", path.name)
    return path.parent == folder and is_named is not None and not path.is_symlink()
