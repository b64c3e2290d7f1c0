"""The one way in which this project compiles pixel code."""

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
from platformdirs import user_cache_path

PACKAGE = Path(__file__).resolve().parents[1]
settings: Any = numba.config  # pyright: ignore[reportPrivateImportUsage]
KERNEL_FOLDERS = ("kernels", "views", "corruptions")
COMPILATION = "numba:compile"  # numba's event; code that is loaded from disk causes none
log = logging.getLogger(__name__)


class FirstCompilation(event.Listener):
    """Logs one line, at level INFO, when a process begins to compile kernels."""

    def on_start(self, event: event.Event) -> None:
        """Log the line if it is a kernel of ours, and not in a worker process."""
        module = (event.data or {})["dispatcher"].py_func.__module__
        if module.startswith(f"{PACKAGE.name}.") and parent_process() is None:
            note_compilation()

    def on_end(self, event: event.Event) -> None:
        """Do nothing."""


@cache
def note_compilation() -> None:
    """Log that kernels are compiled."""
    log.info("compiling kernels for the first time; this takes up to half a minute, once")


event.register(COMPILATION, FirstCompilation())


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function that works on pixels: no GIL, no fast-math, kept on disk between runs.

    Numba notices a change in a kernel's own file but not in the kernels that it calls, so the
    compiled code lies in a folder named by the digest of all kernel sources. Where no folder can
    be written, the kernel is compiled anew in every process and a warning says so.
    """
    before = settings.CACHE_DIR
    settings.CACHE_DIR = str(cache_folder())
    try:
        return numba.njit(nogil=True, cache=True, error_model="numpy")(function)
    except RuntimeError:  # numba: "no locator available"
        warn_once_that_nothing_is_kept()
        return numba.njit(nogil=True, error_model="numpy")(function)
    finally:
        settings.CACHE_DIR = before


@cache
def cache_folder() -> Path:
    """Return the folder for compiled kernels; `NUMBA_CACHE_DIR` overrules the user's cache."""
    own = os.environ.get("NUMBA_CACHE_DIR")
    root = Path(own) if own else user_cache_path("ruggedize") / "kernels"
    digest = hashlib.blake2b(digest_size=8)
    for folder in KERNEL_FOLDERS:
        for source in sorted((PACKAGE / folder).rglob("*.py")):
            digest.update(source.name.encode())
            digest.update(source.read_bytes())
    return root / digest.hexdigest()


@cache
def warn_once_that_nothing_is_kept() -> None:
    """Report that compiled kernels cannot be kept, and what to do about it."""
    log.warning(
        "no folder for compiled kernels can be written: they are compiled anew in every process; "
        "set NUMBA_CACHE_DIR to a folder that can be written"
    )
