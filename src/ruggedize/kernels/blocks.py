"""Run a kernel on blocks of images in several threads."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import cache

BLOCKS_PER_THREAD = 4  # balances blocks of unequal cost
SMALLEST_BLOCK = 16  # for smaller blocks the threading overhead outweighs the gain
FEW_BLOCKS = 4  # beside a thread that needs the GIL (docs/performance.md)
few_blocks: ContextVar[int | None] = ContextVar("few_blocks", default=None)  # set in one thread


def run_blocks(
    block: Callable[[int, int], object],
    n: int,
    num_threads: int | None = None,
    *,
    smallest: int = SMALLEST_BLOCK,
) -> None:
    """Call `block(start, stop)` on blocks that cover 0..n, in `num_threads` threads.

    The default is one thread per core. Blocks hold at least `smallest` images, except for the last
    one; set it to 1 for expensive kernels. The kernels must release the GIL, and their output must
    not depend on the block boundaries, so random values are drawn per image.
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
    """Split all later work of the calling thread into a few large blocks.

    For a thread that makes views while another one launches kernels on a GPU: each block takes the
    GIL when it starts and when it ends, which delays the launches.
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
    """Return the process's thread pool; keyed by process, as threads do not survive a fork."""
    return ThreadPoolExecutor(num_threads, thread_name_prefix=f"pixels-{process}")
