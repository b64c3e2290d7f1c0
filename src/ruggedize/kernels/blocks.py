"""Run kernels on blocks of images in several threads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import cache

BLOCKS_PER_THREAD = 4  # balances blocks of unequal cost
SMALLEST_BLOCK = 16  # for smaller blocks the threading overhead outweighs the gain
FEW_BLOCKS = 4  # used while another thread needs the GIL (docs/performance.md)
few_blocks: ContextVar[int | None] = ContextVar("few_blocks", default=None)  # set per thread


def run_blocks(
    block: Callable[[int, int], object],
    n: int,
    num_threads: int | None = None,
    *,
    smallest: int = SMALLEST_BLOCK,
) -> None:
    """Call `block(start, stop)` on blocks that cover 0..n-1, in `num_threads` threads.

    The default is one thread per core. All blocks except the last hold at least `smallest` images;
    use 1 for expensive kernels. Kernels must release the GIL, and their output must not depend on
    the block boundaries, so draw random values per image.
    """
    few = few_blocks.get()
    threads = num_threads or min(few or available_cores(), available_cores())
    size = max(smallest, -(-n // (threads * (1 if few else BLOCKS_PER_THREAD))))
    if threads == 1 or n <= size:
        block(0, n)
        return
    starts = range(0, n, size)
    stops = [min(start + size, n) for start in starts]
    for _ in pool(os.getpid(), threads).map(block, starts, stops):
        pass


def prefer_few_blocks() -> None:
    """Use a few large blocks for all later calls from this thread.

    Call this in a thread that makes views while another one launches GPU kernels: every block takes
    the GIL when it starts and ends, which delays the launches.
    """
    few_blocks.set(FEW_BLOCKS)


def stay_in_this_thread() -> None:
    """Do all later work of the calling thread in it alone, as in one of several processes."""
    few_blocks.set(1)


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def pool(process: int, num_threads: int) -> ThreadPoolExecutor:
    """Return the process's thread pool; one per process, because threads do not survive a fork.

    A block that calls a kernel itself, as a user's corruption may, must not wait for other threads
    of the pool: they may all wait.
    """
    name = f"pixels-{process}"
    return ThreadPoolExecutor(num_threads, name, initializer=stay_in_this_thread)
