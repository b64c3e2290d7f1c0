"""How finished pairs reach the step: made on the spot, or ahead of time where that hides them."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from ruggedize import seeding
from ruggedize.training.job import Job
from ruggedize.training.objectives import Pair

AHEAD = 2  # batches that wait in pinned memory for the GPU
Item = TypeVar("Item")


class Batch(NamedTuple):
    """This process's share of a batch."""

    pair: Pair
    num_images: int  # of the whole batch, over all processes
    step: int  # planned, from 0: what schedule, average and fault reports count by


def batches_of_epoch(job: Job, epoch: int, first_step: int) -> Iterator[Batch]:
    """Yield the batches of an epoch from a step on: the same ones however they are made.

    On the CPU no thread runs ahead: views take less than a hundredth of a step, which is all that
    it could hide (docs/performance.md). Streamed images are decoded ahead by worker processes.
    """
    order = seeding.order(job.seed, f"{job.name}/order", epoch, job.num_images)
    size = job.options.batch_size
    steps = range(first_step, job.steps_per_epoch)
    wholes = [order[step * size :][:size] for step in steps]
    shares = [share_of(job, whole) for whole in wholes]
    made = (
        Batch(job.make_pair(part, epoch), len(whole), job.planned_step(epoch, step))
        for step, whole, part in zip(steps, wholes, job.train.batches(shares), strict=True)
    )
    if job.accelerator.device.type != "cuda":
        return made
    return in_background((batch._replace(pair=pinned(batch.pair)) for batch in made), AHEAD)


def share_of(job: Job, whole: Int64[np.ndarray, " n"]) -> Int64[np.ndarray, " m"]:
    """Give this process's parts of a batch; sizes differ by one at most, the larger ones first."""
    each = job.num_parts // job.accelerator.num_processes
    first = each * job.accelerator.process_index
    return np.concatenate(np.array_split(whole, job.num_parts)[first : first + each])


def in_background(items: Iterator[Item], ahead: int) -> Iterator[Item]:
    """Let a thread make the next items while one is worked on; order and content stay the same."""
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="next-batch") as thread:
        upcoming = deque(thread.submit(next, items, end) for _ in range(ahead))
        try:
            while (item := upcoming.popleft().result()) is not end:
                upcoming.append(thread.submit(next, items, end))
                yield item  # pyright: ignore[reportReturnType]  # `end` is never given out
        finally:
            for item in upcoming:
                item.cancel()


def pinned(pair: Pair) -> Pair:
    """Copy a pair into memory that the GPU reads while it computes."""
    return mapped(pair, Tensor.pin_memory)


def on_device(pair: Pair, device: torch.device) -> Pair:
    """Move a pair to where the network is."""
    return mapped(pair, lambda part: part.to(device, non_blocking=True))


def mapped(pair: Pair, change: Callable[[Tensor], Tensor]) -> Pair:
    """Change every part that is there."""
    clean, noisy, target = (
        None if part is None else change(part) for part in (pair.clean, pair.noisy, pair.target)
    )
    return Pair(clean, noisy, change(pair.labels), target)
