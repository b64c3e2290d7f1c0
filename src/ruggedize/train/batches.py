"""Batches for the training step; prefetched in a thread on a GPU."""

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from jaxtyping import Int64

from ruggedize.core import seeding
from ruggedize.data import ImageBatch, ImageSet, Splits
from ruggedize.kernels.blocks import prefer_few_blocks
from ruggedize.train.objectives.objective import LABELLED, Batch
from ruggedize.train.objectives.options import ObjectiveOptions
from ruggedize.train.stage import Stage
from ruggedize.views import Request, view_batches

NUM_PREFETCHED = 2  # batches in pinned memory, waiting for the GPU
Item = TypeVar("Item")
Positions = Int64[np.ndarray, " n"]
log = logging.getLogger(__name__)


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
    cycled = stage.options.steps_per_epoch is not None  # an image may occur twice in an epoch
    planned = [stage.planned_step(epoch, step) for step in steps]
    requests = requested_views(stage, epoch, planned)
    shares = zip(
        *(shares_of(stage, source, epoch, steps, requests) for source in stage.sources), strict=True
    )
    by_source = (dict(zip(stage.sources, parts, strict=True)) for parts in shares)
    made = (
        StepBatch(stage.objective.batch(images, step if cycled else epoch, step), step)
        for step, images in zip(planned, by_source, strict=True)
    )
    if stage.accelerator.device.type != "cuda":
        return made
    return in_background((StepBatch(batch.pin(), step) for batch, step in made), NUM_PREFETCHED)


def requested_views(
    stage: Stage, epoch: int, planned: Sequence[int]
) -> dict[str, list[list[Request]]]:
    """Return the views that the objective crops from original files, by source and step.

    A batch of one image of each source is made to see them: worker processes make the same views
    of all images. The number that a view's draws depend on tells whether it is that of the epoch
    or that of the step, which differ in this batch.
    """
    if not (planned and stage.views.crops_originals):
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
    step_here = epoch + 1
    is_cycled = stage.options.steps_per_epoch is not None
    stage.objective.batch(first, step_here if is_cycled else epoch, step_here)
    return {
        source: [[of_step(each, step_here, step) for each in requests] for step in planned]
        for source, requests in asked.items()
    }


def of_step(request: Request, step_here: int, step: int) -> Request:
    """Return a request of the batch of step `step_here`, as that of another step."""
    return request._replace(epoch=step) if request.epoch == step_here else request


def shares_of(
    stage: Stage,
    source: str,
    epoch: int,
    steps: range,
    requests: Mapping[str, list[list[Request]]],
) -> Iterator[ImageBatch]:
    """Yield this process's images of one source, step by step."""
    images: ImageSet = stage.sources[source]
    if source == LABELLED and stage.options.steps_per_epoch is None:
        order, size = labelled_order(stage, epoch), stage.options.batch_size
        batches = [order[step * size :][:size] for step in steps]
    else:
        planned = [stage.planned_step(epoch, step) for step in steps]
        batches = list(cyclic_positions(stage, source, planned))
    shares = [share_of(stage, batch) for batch in batches]
    return (
        view_batches(images, shares, requests[source])
        if source in requests
        else (images.batches(shares))
    )


def labelled_positions(stage: Stage, epoch: int, step: int) -> Positions:
    """Return the positions of a step's labelled images, over all processes."""
    if stage.options.steps_per_epoch is not None:
        return next(cyclic_positions(stage, LABELLED, [stage.planned_step(epoch, step)]))
    size = stage.options.batch_size
    return labelled_order(stage, epoch)[step * size :][:size]


def labelled_order(stage: Stage, epoch: int) -> Positions:
    """Return the shuffled positions of all labelled images in an epoch."""
    return seeding.order(stage.seed, f"{stage.name}/order", epoch, stage.num_images)


def cyclic_positions(stage: Stage, source: str, steps: list[int]) -> Iterator[Positions]:
    """Yield the positions of planned steps in a source that is reshuffled in every pass.

    A source with fewer images than a step takes is used once in every step.
    """
    n = len(stage.sources[source])
    size = min(n, stage.options.batch_size * stage.objective.sources[source])
    orders: dict[int, Positions] = {}
    for step in steps:
        passes, rows = np.divmod(np.arange(step * size, (step + 1) * size), n)
        first, last = int(passes[0]), int(passes[-1])  # a step ends at most one pass later
        purpose = f"{stage.name}/order/{source}"
        orders = {
            number: orders[number]
            if number in orders
            else seeding.order(stage.seed, purpose, number, n)
            for number in (first, last)
        }
        yield np.where(passes == first, orders[first][rows], orders[last][rows])


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


def warn_of_unused_images(objectives: Iterable[ObjectiveOptions], data: Splits) -> None:
    """Log a warning if the data has unlabelled images that no objective uses."""
    is_used = any(each.unlabelled_ratio or each.kind == "custom" for each in objectives)
    if data.unlabelled is not None and not is_used:
        log.warning(
            "no stage uses the %s unlabelled images; set student.objective.unlabelled_ratio = 7, "
            'for example, or student.objective = "fixmatch"',
            f"{len(data.unlabelled):,}",
        )
