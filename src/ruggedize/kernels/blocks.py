"""Run a kernel over blocks of images on the CPU's cores."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from functools import cache

BLOCKS_PER_THREAD = 4  # evens out blocks of unequal cost
SMALLEST_BLOCK = 16  # below this handing over costs more than it gains
FEW_BLOCKS = 4  # beside a thread that needs the GIL (docs/performance.md)
few_blocks: ContextVar[int | None] = ContextVar("few_blocks", default=None)  # set in one thread


def run_blocks(
    block: Callable[[int, int], object],
    n: int,
    num_threads: int | None = None,
    *,
    smallest: int = SMALLEST_BLOCK,
) -> None:
    """Call `block(start, stop)` over all of 0..n, on `num_threads` threads (default: all cores).

    No block but the last holds fewer than `smallest`: dearer ones can be handed over one by one.

    The kernels behind `block` release the GIL. What they write must not depend on where the
    blocks are cut: every random value belongs to an image.
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
    """Divide all later work of the calling thread into a few large blocks.

    For a thread that makes views while another one launches kernels on a GPU: each block takes the
    GIL when it starts and when it ends, and delays the launches.
    """
    few_blocks.set(FEW_BLOCKS)


def available_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def pool(process: int, num_threads: int) -> ThreadPoolExecutor:
    """Keep one pool a process: a forked child must not inherit its parent's threads."""
    return ThreadPoolExecutor(num_threads, thread_name_prefix=f"pixels-{process}")
