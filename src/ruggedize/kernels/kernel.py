"""The `kernel` decorator, which compiles pixel code by Numba."""

import hashlib
import logging
import os
from collections.abc import Callable
from functools import cache
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import numba
from numba.core import event

from ruggedize.core.places import cache_folder, user_path

PACKAGE = Path(__file__).resolve().parents[1]
settings: Any = numba.config  # pyright: ignore[reportPrivateImportUsage]
KERNEL_FOLDERS = ("kernels", "views", "corruptions")
COMPILATION = "numba:compile"  # numba's event; not sent when code is loaded from the disk cache
log = logging.getLogger(__name__)


class FirstCompilation(event.Listener):
    """Logs a message when a process starts to compile kernels."""

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
    log.info("compiling kernels for the first time; this takes up to half a minute, once")


event.register(COMPILATION, FirstCompilation())


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a pixel function without the GIL and without fast-math; cache it on disk.

    Numba detects changes in a kernel's own file but not in the kernels that it calls, so the cache
    folder is named by a digest of all kernel sources. If no folder is writable, a warning is logged
    and kernels are compiled in every process.
    """
    before, folder = settings.CACHE_DIR, kernel_folder()
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
    """Return the folder for compiled kernels; None for a user without a home folder.

    `NUMBA_CACHE_DIR` overrides the user's cache.
    """
    override, kept = os.environ.get("NUMBA_CACHE_DIR"), cache_folder()
    if not override and kept is None:
        return None
    root = user_path(override) if override else Path(kept or "", "kernels")
    digest = hashlib.blake2b(digest_size=8)
    for folder in KERNEL_FOLDERS:
        for source in sorted((PACKAGE / folder).rglob("*.py")):
            digest.update(source.name.encode())
            digest.update(source.read_bytes())
    return root / digest.hexdigest()


@cache
def warn_once_of_missing_cache() -> None:
    """Log a warning that compiled kernels cannot be cached."""
    log.warning(
        "no writable folder to cache compiled kernels: they are compiled again in every process; "
        "set NUMBA_CACHE_DIR to a writable folder"
    )
