"""Batches for the training step; prefetched in a thread on a GPU."""

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Int64

from ruggedize.core import seeding
from ruggedize.data import ImageBatch, ImageSet
from ruggedize.kernels.blocks import prefer_few_blocks
from ruggedize.train.objectives.objective import LABELLED, Batch
from ruggedize.train.stage import Stage
from ruggedize.views import Request, view_batches

NUM_PREFETCHED = 2  # batches in pinned memory, waiting for the GPU
Item = TypeVar("Item")
Positions = Int64[np.ndarray, " n"]


class StepBatch(NamedTuple):
    """This process's share of a step."""

    batch: Batch
    step: int  # position in the whole plan, from 0; used by schedule, average and error messages


def batches_of_epoch(stage: Stage, epoch: int, first_step: int) -> Iterator[StepBatch]:
    """Yield the batches of an epoch, starting at `first_step`.

    Batches are prefetched on a GPU only. On the CPU, making the views takes less than 1 % of a step
    (docs/performance.md). Streamed images are decoded ahead by worker processes.
    """
    steps = range(first_step, stage.steps_per_epoch)
    planned = [stage.planned_step(epoch, step) for step in steps]
    requests = requested_views(stage, epoch) if steps else {}
    shares = zip(
        *(shares_of(stage, source, epoch, steps, requests) for source in stage.sources), strict=True
    )
    by_source = (dict(zip(stage.sources, parts, strict=True)) for parts in shares)
    made = (
        StepBatch(stage.objective.batch(images, epoch, step), step)
        for step, images in zip(planned, by_source, strict=True)
    )
    if stage.accelerator.device.type != "cuda":
        return made
    return in_background((StepBatch(batch.pin(), step) for batch, step in made), NUM_PREFETCHED)


def requested_views(stage: Stage, epoch: int) -> dict[str, list[Request]]:
    """Return the views that the objective crops from original files, by source.

    A batch of one image of each source is made to see them: worker processes make the same views
    of all images.
    """
    if not stage.views.crops_originals:
        return {}
    first: dict[str, ImageBatch] = {}
    asked: dict[str, list[Request]] = {}
    for source, images in stage.sources.items():
        if images.originals is None:
            first[source] = images.take([0])
            continue
        asked[source] = []
        files = replace(images.originals.select(torch.tensor([0])), asked=asked[source])
        first[source] = ImageBatch(files, images.labels[:1], images.index[:1])
    stage.objective.batch(first, epoch, stage.planned_step(epoch, 0))
    return asked


def shares_of(
    stage: Stage, source: str, epoch: int, steps: range, requests: Mapping[str, list[Request]]
) -> Iterator[ImageBatch]:
    """Yield this process's images of one source, step by step."""
    images: ImageSet = stage.sources[source]
    if source == LABELLED:
        order = seeding.order(stage.seed, f"{stage.name}/order", epoch, len(images))
        size = stage.options.batch_size
        batches = [order[step * size :][:size] for step in steps]
    else:
        planned = [stage.planned_step(epoch, step) for step in steps]
        batches = [cyclic_positions(stage, source, step) for step in planned]
    shares = [share_of(stage, batch) for batch in batches]
    return (
        view_batches(images, shares, requests[source])
        if source in requests
        else (images.batches(shares))
    )


def cyclic_positions(stage: Stage, source: str, step: int) -> Positions:
    """Return a step's positions in a source that is cycled through, reshuffled in every pass."""
    size = stage.options.batch_size * stage.objective.sources[source]
    n = len(stage.sources[source])
    places = np.arange(step * size, (step + 1) * size)
    passes = {int(number): None for number in places // n}
    orders = {
        number: seeding.order(stage.seed, f"{stage.name}/order/{source}", number, n)
        for number in passes
    }
    return np.array([orders[int(place // n)][place % n] for place in places], np.int64)


def share_of(stage: Stage, batch: Positions) -> Positions:
    """Return this process's groups of a batch; sizes differ by at most one, larger ones first."""
    each = stage.num_groups // stage.accelerator.num_processes
    first = each * stage.accelerator.process_index
    return np.concatenate(np.array_split(batch, stage.num_groups)[first : first + each])


def in_background(items: Iterator[Item], ahead: int) -> Iterator[Item]:
    """Yield the same items in the same order, computed `ahead` items early by a thread.

    The thread splits its work into few blocks, so that the training rarely waits for the GIL.
    """
    end = object()
    with ThreadPoolExecutor(1, "next-batch", initializer=prefer_few_blocks) as thread:
        upcoming = deque(thread.submit(next, items, end) for _ in range(ahead))
        try:
            while (item := upcoming.popleft().result()) is not end:
                upcoming.append(thread.submit(next, items, end))
                yield item  # pyright: ignore[reportReturnType]  # `end` is never yielded
        finally:
            for item in upcoming:
                item.cancel()
