"""How batches reach the step: made on the spot, or ahead of time where that hides them."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from jaxtyping import Int64

from ruggedize.core import seeding
from ruggedize.data import ImageBatch, ImageSet
from ruggedize.kernels.blocks import prefer_few_blocks
from ruggedize.train.objectives.objective import LABELLED, Batch
from ruggedize.train.stage import Stage

AHEAD = 2  # batches that wait in pinned memory for the GPU
Item = TypeVar("Item")
Positions = Int64[np.ndarray, " n"]


class StepBatch(NamedTuple):
    """This process's share of a step."""

    batch: Batch
    step: int  # planned, from 0: what schedule, average and fault reports count by


def batches_of_epoch(stage: Stage, epoch: int, first_step: int) -> Iterator[StepBatch]:
    """Yield the batches of an epoch from a step on: the same ones however they are made.

    On the CPU no thread runs ahead: views take less than a hundredth of a step, which is all that
    it could hide (docs/performance.md). Streamed images are decoded ahead by worker processes.
    """
    steps = range(first_step, stage.steps_per_epoch)
    planned = [stage.planned_step(epoch, step) for step in steps]
    shares = zip(*(shares_of(stage, source, epoch, steps) for source in stage.sources), strict=True)
    by_source = (dict(zip(stage.sources, parts, strict=True)) for parts in shares)
    made = (
        StepBatch(stage.objective.batch(images, epoch, step), step)
        for step, images in zip(planned, by_source, strict=True)
    )
    if stage.accelerator.device.type != "cuda":
        return made
    return in_background((StepBatch(batch.pin(), step) for batch, step in made), AHEAD)


def shares_of(stage: Stage, source: str, epoch: int, steps: range) -> Iterator[ImageBatch]:
    """Yield this process's images of one source, step by step."""
    images: ImageSet = stage.sources[source]
    if source == LABELLED:
        order = seeding.order(stage.seed, f"{stage.name}/order", epoch, len(images))
        size = stage.options.batch_size
        wholes = [order[step * size :][:size] for step in steps]
    else:
        wholes = [endless(stage, source, stage.planned_step(epoch, step)) for step in steps]
    return images.batches([share_of(stage, whole) for whole in wholes])


def endless(stage: Stage, source: str, step: int) -> Positions:
    """Return the images of a step from a source that is passed over again and again."""
    size = stage.options.batch_size * stage.objective.sources[source]
    n = len(stage.sources[source])
    places = np.arange(step * size, (step + 1) * size)
    passes = {int(number): None for number in places // n}
    orders = {
        number: seeding.order(stage.seed, f"{stage.name}/order/{source}", number, n)
        for number in passes
    }
    return np.array([orders[int(place // n)][place % n] for place in places], np.int64)


def share_of(stage: Stage, whole: Positions) -> Positions:
    """Return this process's parts of a batch; sizes differ by one at most, larger ones first."""
    each = stage.num_groups // stage.accelerator.num_processes
    first = each * stage.accelerator.process_index
    return np.concatenate(np.array_split(whole, stage.num_groups)[first : first + each])


def in_background(items: Iterator[Item], ahead: int) -> Iterator[Item]:
    """Yield items that a thread makes ahead; order and content stay the same.

    The thread works in few blocks, so that the training seldom waits for the GIL.
    """
    end = object()
    with ThreadPoolExecutor(1, "next-batch", initializer=prefer_few_blocks) as thread:
        upcoming = deque(thread.submit(next, items, end) for _ in range(ahead))
        try:
            while (item := upcoming.popleft().result()) is not end:
                upcoming.append(thread.submit(next, items, end))
                yield item  # pyright: ignore[reportReturnType]  # `end` is never given out
        finally:
            for item in upcoming:
                item.cancel()
