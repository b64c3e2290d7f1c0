"""Run models on the blocks of an assessment, skipping those that are done."""

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from ruggedize.assess.candidates import Candidate, outcomes_for, test_view
from ruggedize.assess.cells import CLEAN_CELL, Block
from ruggedize.assess.metrics import NUM_TOP, Outcomes
from ruggedize.assess.resuming import Unfinished, are_alike
from ruggedize.assess.sharing import Kept
from ruggedize.core.errors import UserError
from ruggedize.core.progress import Progress
from ruggedize.corruptions import Suite
from ruggedize.data import ImageSet
from ruggedize.kernels.types import Images

log = logging.getLogger(__name__)


def empty_outcomes(cells: list[tuple[str, int]], work: list[Block], num_classes: int) -> Kept:
    """Allocate memory for all outcomes of a model, in one piece.

    Allocated block by block, they would lie between short-lived image buffers and fragment the
    heap, which would grow by half the size of all images.
    """
    sizes = dict.fromkeys(cells, 0)
    for block in work:
        sizes[block.cell] += len(block.positions)
    stops = np.cumsum(list(sizes.values()))
    total, num_top = sum(sizes.values()), min(NUM_TOP, num_classes)
    whole = Outcomes(
        np.zeros((total, num_top), np.int16),
        np.zeros((total, num_top), np.float32),
        np.zeros(total, np.float32),
    )
    return {
        cell: Outcomes(*(part[stop - n : stop] for part in whole))
        for (cell, n), stop in zip(sizes.items(), stops, strict=True)
    }


def run_models(
    candidates: Mapping[str, Candidate],
    unfinished: Unfinished,
    image_set: ImageSet,
    suite: Suite,
    work: list[Block],
    progress: Progress,
) -> None:
    """Run every model on every block, while a thread prepares the next block on all cores.

    Outcomes are written to `unfinished`, which is saved at intervals, before a stop and at the end.
    """
    total, waited = sum(len(block.positions) for block in work), 0.0

    def make(block: Block) -> dict[str, Images]:
        images = images_of(block, image_set, suite)
        return {name: test_view(model, images) for name, model in candidates.items()}

    finished = first = blocks_done(candidates, unfinished, work, make)
    done = sum(len(block.positions) for block in work[:finished])
    if finished:
        log.info("assess: continues after %s of %s images", f"{done:,}", f"{total:,}")
    started = time.monotonic()
    with ThreadPoolExecutor(1, thread_name_prefix="next-block") as ahead:
        upcoming = ahead.submit(make, work[finished]) if finished < len(work) else None
        try:
            while upcoming is not None:
                block = work[finished]
                asked = time.monotonic()
                views = upcoming.result()
                waited += time.monotonic() - asked
                more = finished + 1 < len(work)
                upcoming = ahead.submit(make, work[finished + 1]) if more else None
                for name, found in outcomes_of_block(candidates, views, block).items():
                    own = part_of(unfinished.kept[name], block)
                    for place, part in zip(own, found, strict=True):
                        place[:] = part
                finished += 1
                done += len(block.positions)
                unfinished.save_at_intervals(finished)
                progress("assess", done, total)
        except (KeyboardInterrupt, SystemExit):
            unfinished.save(finished)
            raise
    if finished > first:
        unfinished.save(finished)  # the other processes may not be ready, or the pictures
    seconds = time.monotonic() - started
    log.info(
        "assess: %.0f %% of the time was spent in the models, the rest waiting for images",
        100 * (1 - waited / max(seconds, 1e-9)),
    )


def blocks_done(
    candidates: Mapping[str, Candidate],
    unfinished: Unfinished,
    work: list[Block],
    make: Callable[[Block], Mapping[str, Images]],
) -> int:
    """Return how many blocks an earlier, stopped assessment has done; 0 unless all processes agree.

    The first and the last of them are run again: other weights or images would give other outcomes.
    """
    finished = unfinished.load(len(work))
    for block in (work[0], work[finished - 1]) if finished else ():
        again = outcomes_of_block(candidates, make(block), block)
        saved = {name: part_of(kept, block) for name, kept in unfinished.kept.items()}
        if not all(are_alike(saved[name], own) for name, own in again.items()):
            finished = unfinished.start_over("is of other models or images")
            break
    if unfinished.path is None or unfinished.shares.agree(finished > 0):
        return finished
    return 0


def part_of(kept: Kept, block: Block) -> Outcomes:
    """Return the rows of a block, as views."""
    return Outcomes(
        *(part[block.start : block.start + len(block.labels)] for part in kept[block.cell])
    )


def outcomes_of_block(
    candidates: Mapping[str, Candidate], views: Mapping[str, Images], block: Block
) -> dict[str, Outcomes]:
    """Run every model on its views of a block.

    Raises:
        UserError: a model returns NaN or infinity.
    """
    outcomes = {}
    for name, model in candidates.items():
        found = outcomes_for(model, views[name], torch.from_numpy(block.labels))
        if not np.isfinite(found.negative_log_likelihoods).all():
            raise UserError(
                f"{name} returns NaN or infinity on {block.cell[0]} images: its training has "
                "diverged, or its numbers overflow;\ntrain it again with a lower learning rate, or "
                "check its precision and normalisation"
            )
        outcomes[name] = found
    return outcomes


def images_of(block: Block, image_set: ImageSet, suite: Suite) -> Images:
    """Return the images of a block."""
    positions = torch.from_numpy(block.positions)
    if block.cell != CLEAN_CELL:
        return suite.images_at(*block.cell, positions)
    first, last = int(positions[0]), int(positions[-1])
    is_slice = last - first + 1 == len(positions)  # positions are distinct and ascending
    return image_set.images[first : last + 1] if is_slice else image_set.images[positions]
