"""Starting and stopping of the worker processes that decode images."""

import atexit
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch._C import _remove_worker_pids
from torch.utils.data import DataLoader, Dataset

from ruggedize.core.errors import UserError
from ruggedize.core.memory import processes_here
from ruggedize.core.signals import SIGNALS, Signals, name_of_signal
from ruggedize.kernels.blocks import available_cores
from ruggedize.kernels.types import Images

MOST_WORKERS = 16
PREFETCH = 2  # batches that each worker process decodes in advance
WORKER_NAME = "decoding images"


def worker_results(
    dataset: Dataset[Tensor], batches: Sequence[Any], num_workers: int
) -> Iterator[Any]:
    """Start worker processes and return an iterator over their results, in the batches' order."""
    earlier = set(active_children())
    loader = DataLoader(
        dataset,
        batch_sampler=batches,  # pyright: ignore[reportArgumentType]  # it is only iterated over
        num_workers=num_workers,
        prefetch_factor=PREFETCH,
        collate_fn=unchanged,
        generator=torch.Generator(),  # leaves the global generator unchanged
    )
    with signals_deferred(), main_hidden():
        results = iter(loader)
        processes = set(active_children()) - earlier
        for process in processes:
            process.name = WORKER_NAME
        notice_deaths_in_next(results)
    return with_short_errors(results, processes)


def notice_deaths_in_next(results: Any) -> None:
    """Make only the next request for a batch notice that a worker process has died.

    torch's handler of SIGCHLD would raise RuntimeError in the main thread, in the middle of
    whatever it is doing. Without it torch checks the workers at least every five seconds while it
    waits for a batch, as it always does on Windows.
    """
    _remove_worker_pids(id(results))
    results._worker_pids_set = False


def with_short_errors(results: Any, processes: Set[BaseProcess]) -> Iterator[Any]:
    """Yield the results; raise UserError if one of the worker processes has died."""
    try:
        yield from results
    except (RuntimeError, ConnectionError, EOFError) as error:
        text = str(error)
        is_own = text.startswith("Caught")  # an error of the code in a worker, which is alive
        if isinstance(error, RuntimeError) and (is_own or "DataLoader worker" not in text):
            raise
        cause = cause_of_death(processes)
        results._shutdown_workers()
        cause = cause or cause_of_death(processes) or text.partition("\n")[0]
        raise UserError(
            f"a worker process that decodes images has died ({cause});\n"
            "memory or /dev/shm is probably too small: set data.streaming = true and "
            "data.workers = 1, or give the container more memory (docker run --shm-size=2g)"
        ) from error


def cause_of_death(processes: Set[BaseProcess]) -> str:
    """Return the description of a signal that has killed a worker, or an empty string."""
    return next(filter(None, (name_of_signal(process.exitcode) for process in processes)), "")


def raise_fault(fault: str) -> Images:
    """Raise a worker process's error in this process."""
    raise UserError(fault)


@atexit.register
def end_workers() -> None:
    """Kill worker processes at exit, because multiprocessing would wait for them forever."""
    for process in active_children():
        if process.name == WORKER_NAME:
            process.kill()


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Defer SIGINT and SIGTERM while worker processes are started; the workers inherit a block.

    An exception that a signal handler raises during the start would be lost, or leave workers that
    nobody ends. Blocking alone is not enough: another thread may receive the signal, and Python
    then runs the handler in the main thread. Workers need the block because signals often reach
    the whole process group, but only the main process should handle them, after finishing its
    step; workers end when the main process stops them or exits.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows, where worker processes are not forked
        yield
        return
    with Signals():
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def main_hidden() -> Iterator[None]:
    """Hide the main script while worker processes are started, so that it needs no main guard.

    With the start methods spawn and forkserver, every worker would otherwise run the script again,
    up to the call that starts workers. Our workers need nothing from the script.
    """
    if multiprocessing.get_start_method() == "fork":
        yield
        return
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def unchanged(batch: object) -> object:
    """Return a batch unchanged, to replace the default collation."""
    return batch


def default_workers() -> int:
    """Return the default number of workers: this process's share of the cores, at most 16.

    If a CPU affinity is set, the share is all of its cores.
    """
    cores = available_cores()
    share = cores // processes_here() if cores == os.cpu_count() else cores
    return max(1, min(MOST_WORKERS, share))
