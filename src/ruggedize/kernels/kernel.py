"""The `kernel` decorator, which compiles pixel code with Numba."""

import hashlib
import logging
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import numba
from numba.core import codegen, event

from ruggedize.core.errors import shown
from ruggedize.core.places import cache_folder, user_path

PACKAGE = Path(__file__).resolve().parents[1]
settings: Any = numba.config  # pyright: ignore[reportPrivateImportUsage]
KERNEL_FOLDERS = ("kernels", "views", "corruptions")
COMPILATION = "numba:compile"  # numba's event; not sent when code is loaded from the disk cache
log = logging.getLogger(__name__)


class FirstCompilation(event.Listener):
    """Listener that logs a message when a process starts to compile kernels."""

    def on_start(self, event: event.Event) -> None:
        """Log the message if the kernel is ruggedize's and this is not a worker process."""
        module = (event.data or {})["dispatcher"].py_func.__module__
        if module.startswith(f"{PACKAGE.name}.") and parent_process() is None:
            log_compilation()

    def on_end(self, event: event.Event) -> None:
        """Do nothing."""


@cache
def log_compilation() -> None:
    """Log that kernels are being compiled; once per process."""
    log.info("compiling kernels for their first use; this takes up to half a minute")


event.register(COMPILATION, FirstCompilation())


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a pixel function without the GIL and without fast-math; cache it on disk.

    Each kernel is kept in `kernel_folder`. If no folder is writable, a warning is logged and every
    process compiles the kernels again.
    """
    before, folder = settings.CACHE_DIR, kernel_folder()
    if folder is not None and not is_private(folder):
        warn_once_of_shared_cache(folder)
        return numba.njit(nogil=True, error_model="numpy")(function)
    try:
        if folder is None:  # numba would make a folder named ~
            raise RuntimeError("no home folder")
        settings.CACHE_DIR = str(folder)
        return numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # numba: "no locator available"
        warn_once_of_missing_cache()
        return numba.njit(nogil=True, error_model="numpy")(function)
    finally:
        settings.CACHE_DIR = before


@cache
def kernel_folder() -> Path | None:
    """Return the folder for compiled kernels; None if the user has no home folder.

    `NUMBA_CACHE_DIR` overrides the default, a folder in the user's cache. The name is a digest of

    - all sources of kernels: Numba detects changes in a kernel's own file, but not in the kernels
      that it calls;
    - Numba's version and the processor: while a version writes its code, Numba's index may already
      list files that another version has left under the same names.
    """
    override, kept = os.environ.get("NUMBA_CACHE_DIR"), cache_folder()
    if not override and kept is None:
        return None
    root = user_path(override) if override else Path(kept or "", "kernels")
    digest = hashlib.blake2b(digest_size=8)
    digest.update(f"{numba.__version__} {codegen.get_host_cpu_features()}".encode())
    for folder in KERNEL_FOLDERS:
        for source in sorted((PACKAGE / folder).rglob("*.py")):
            digest.update(source.name.encode())
            digest.update(source.read_bytes())
    return root / digest.hexdigest()


@cache
def is_private(folder: Path) -> bool:
    """Create the cache folder and return whether only this user (or root) can write to it.

    A compiled kernel is code: anyone who can replace one in the cache can run code as this user.
    """
    if sys.platform == "win32":  # Windows has no such permissions
        return True
    with suppress(OSError):  # then there is no cache
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    try:
        status, above = folder.lstat(), folder.parent.stat()
    except OSError:
        return True
    replaceable = above.st_mode & stat.S_IWOTH and not above.st_mode & stat.S_ISVTX
    owners = (0, os.geteuid())
    is_theirs = status.st_uid not in owners or above.st_uid not in owners
    return stat.S_ISDIR(status.st_mode) and not (
        is_theirs or replaceable or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    )


@cache
def warn_once_of_shared_cache(folder: Path) -> None:
    """Log a warning that compiled kernels are not cached in a folder that others can write to."""
    log.warning(
        "%s is not used as a cache, because other users can write to it and could run code as you: "
        "kernels are compiled again in every process; set NUMBA_CACHE_DIR to a folder of your own",
        shown(folder),
    )


@cache
def warn_once_of_missing_cache() -> None:
    """Log a warning that compiled kernels cannot be cached."""
    log.warning(
        "no folder for compiled kernels is writable: they are compiled again in every process; "
        "set NUMBA_CACHE_DIR to a writable folder"
    )
