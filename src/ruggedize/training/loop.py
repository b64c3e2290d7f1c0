"""The one training loop: a teacher and a student differ by objective and views alone."""

import hashlib
import logging
import math
import time
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast
from torch import Tensor, nn

from ruggedize import runs, seeding
from ruggedize.memory import is_out_of_memory
from ruggedize.models import autocast_for, packed_model
from ruggedize.training.averaging import average_for, averaged_copy, refresh_batch_norm
from ruggedize.training.beginning import (
    MODEL,
    begin,
    check,
    is_delivered,
    refuse_different_states,
)
from ruggedize.training.compiling import compiled
from ruggedize.training.divergence import NotFinite, refusal
from ruggedize.training.feeding import batches_of_epoch
from ruggedize.training.interruption import Signals
from ruggedize.training.job import Job
from ruggedize.training.launching import naming_lost_processes
from ruggedize.training.memory_need import warn_if_too_large
from ruggedize.training.normalisation import divide_batch_norm
from ruggedize.training.optimisers import optimiser_for
from ruggedize.training.options import Plateau
from ruggedize.training.processes import first_process_writes, sum_over_processes
from ruggedize.training.questions import agreed_signal, asked, refuse_divergence, stop_if_asked
from ruggedize.training.schedules import Patience
from ruggedize.training.state import Counters, State, load_newest_state, save_state
from ruggedize.training.step import add, out_of_memory, step
from ruggedize.training.validation import Score, validate

REFRESH_IMAGES = 5_000  # for the statistics of the average at an epoch's end
log = logging.getLogger(__name__)


@naming_lost_processes()
def fit(job: Job) -> None:
    """Train, from the last saved state if there is one, and write `model.safetensors`.

    What is delivered already is not done again.

    Raises:
        UserError: another process writes the folder, or it holds another training's state, or a
            model that is not the one delivered.
    """
    check(job)
    with first_process_writes(job.accelerator, job.folder):
        try:
            if not is_delivered(job):
                train(job)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise out_of_memory(job) from error
        finally:
            job.accelerator.free_memory()  # it keeps what it has wrapped


def train(job: Job) -> None:
    """Do what `fit` promises in a folder that is held."""
    options = job.options
    device = job.accelerator.device
    autocast = autocast_for(job.precision, device)
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    job.model.to(device=device, memory_format=layout)  # pyright: ignore
    divide_batch_norm(job.model, options, job.accelerator)
    state = fresh_state(job)
    if load_newest_state(state, job.folder / "state"):
        log.info("%s goes on from step %d", job.name, state.counters.step)
    elif job.accelerator.is_main_process:
        begin(job)
    refuse_different_states(job, state.counters.step)
    network: nn.Module = job.model
    if options.compile:
        network = compiled(job.model, device)
    network = job.accelerator.prepare_model(network)  # wraps for several processes, else nothing
    state.counters.precision = job.precision  # older states have none
    log.info("%s: %s on %s", job.name, job.precision, device)
    warn_if_too_large(job, autocast)
    while state.counters.epoch < options.epochs and not state.counters.stopped:
        with Signals() as signals:
            run_epoch(job, state, network, autocast, signals)
            end_epoch(job, state, autocast)
            stop_if_asked(job, agreed_signal(job, signals), signals)
    deliver(job, state, autocast)


def fresh_state(job: Job) -> State:
    """Build what the training needs besides the network."""
    options = job.options
    return State(
        model=job.model,
        optimiser=optimiser_for(job.model, options.optimiser),
        average=average_for(job.model, options.averaging, job.num_steps),
        plateau=Patience(options.schedule) if isinstance(options.schedule, Plateau) else None,
        stopping=Patience(options.early_stopping) if options.early_stopping else None,
        fingerprint=job.fingerprint,
    )


def run_epoch(
    job: Job, state: State, network: nn.Module, autocast: torch.autocast, signals: Signals
) -> None:
    """Run the steps of an epoch that are still to do, saving the state every five minutes."""
    counters = state.counters
    sums = earlier_sums(job, counters)
    earlier, started = counters.seconds, time.monotonic()
    saved = started
    network.train()
    for batch in batches_of_epoch(job, counters.epoch, counters.step_in_epoch):
        try:
            found = step(job, state, network, autocast, batch)
        except NotFinite as fault:
            counters.seconds = earlier + time.monotonic() - started
            save_within_epoch(job, state, sums)
            raise refusal(job, fault.step, counters.rate_share) from None
        add(sums, {name: value.double() for name, value in found.items()})
        counters.step += 1
        counters.step_in_epoch += 1
        if state.average:
            state.average.update(job.model, counters.step)
        title = f"{job.name} epoch {counters.epoch + 1}/{job.options.epochs}"
        job.progress(title, counters.step_in_epoch, job.steps_per_epoch)
        what = asked(job, state, signals, time.monotonic() - saved)
        if what.save or what.signal_number:
            saved = time.monotonic()
            counters.seconds = earlier + saved - started
            save_within_epoch(job, state, sums)
        stop_if_asked(job, what.signal_number, signals)
    counters.seconds = earlier + time.monotonic() - started
    counters.sums = {name: float(value) for name, value in sums.items()}


def earlier_sums(job: Job, counters: Counters) -> dict[str, Tensor]:
    """Give what the state has of the epoch under way; that of all is the first process's."""
    own = float(job.accelerator.is_main_process)
    kind = {"dtype": torch.float64, "device": job.accelerator.device}
    return {name: torch.tensor(value * own, **kind) for name, value in counters.sums.items()}


def save_within_epoch(job: Job, state: State, sums: dict[str, Tensor]) -> None:
    """Save in the midst of an epoch; the sums of all processes go with it."""
    reduced = reduce_sums(job, {name: float(value) for name, value in sums.items()})
    if job.accelerator.is_main_process:
        own, state.counters.sums = state.counters.sums, reduced
        save_state(state, job.folder / "state")
        state.counters.sums = own
    job.accelerator.wait_for_everyone()


def reduce_sums(job: Job, sums: dict[str, float]) -> dict[str, float]:
    """Add up the epoch's sums over the processes."""
    packed = torch.tensor(list(sums.values()), dtype=torch.float64, device=job.accelerator.device)
    return dict(zip(sums, sum_over_processes(job.accelerator)(packed).tolist(), strict=True))


def end_epoch(job: Job, state: State, autocast: torch.autocast) -> None:
    """Validate, let plateau and early stopping decide, log the epoch and save the state."""
    counters, options = state.counters, job.options
    refuse_divergence(job, state)
    share_buffers(job)
    raw = validate(job.model, job.validation, job.model, autocast, job.accelerator)
    averaged = None
    if state.average and state.average.num_snapshots:
        twin = averaged_copy(job.model, state.average)
        refresh(job, state, twin, autocast, REFRESH_IMAGES)
        averaged = validate(twin, job.validation, job.model, autocast, job.accelerator)
        remember_if_best(state, twin, averaged.figure(options.watch), is_average=True)
    elif options.early_stopping:
        remember_if_best(state, job.model, raw.figure(options.watch), is_average=False)
    refuse_useless(job, state, raw, averaged)
    counters.rows.append(epoch_row(job, state, raw, averaged))
    if state.plateau and state.plateau.exhausted(raw.figure(options.watch)):
        counters.rate_share *= options.schedule.factor  # pyright: ignore
    if state.stopping:
        counters.stopped = state.stopping.exhausted(raw.figure(options.watch))
    counters.epoch, counters.step_in_epoch = counters.epoch + 1, 0
    counters.sums, counters.seconds = {}, 0.0
    if job.accelerator.is_main_process:
        runs.write_lines(job.folder / "metrics.jsonl", counters.rows)
        save_state(state, job.folder / "state")


def refuse_useless(job: Job, state: State, *scores: Score | None) -> None:
    """Stop where the epoch's last step has made the weights useless; nothing was written since."""
    if all(score is None or math.isfinite(score.loss) for score in scores):
        return
    raise refusal(job, state.counters.step, state.counters.rate_share)


def share_buffers(job: Job) -> None:
    """Give every process the first one's batch-norm statistics: those are delivered."""
    if job.accelerator.num_processes > 1:
        for buffer in job.model.buffers():
            buffer.copy_(broadcast(buffer, from_process=0))


def epoch_row(job: Job, state: State, raw: Score, averaged: Score | None) -> dict[str, Any]:
    """Divide the epoch's sums, once, into the row of `metrics.jsonl`."""
    counters = state.counters
    sums = reduce_sums(job, counters.sums)
    images = sums.pop("images")
    labelled = max(sums.pop("labelled"), 1.0)
    accuracy = sums.pop("correct") / labelled
    means = {name: value / images for name, value in sums.items()}
    return {
        "epoch": counters.epoch + 1,
        "steps": counters.step,
        **means,
        "accuracy": accuracy,
        "validation": {
            "raw": raw._asdict(),
            "averaged": averaged._asdict() if averaged else None,
        },
        "lr": job.learning_rate(counters.step - 1, counters.rate_share),
        "images_per_second": images / counters.seconds,
        "seconds": counters.seconds,
    }


def remember_if_best(state: State, network: nn.Module, figure: float, is_average: bool) -> None:
    """Keep these weights if they are the best so far; an average replaces any raw weights."""
    counters = state.counters
    first_average = is_average and not counters.best_is_average
    if counters.best_figure is None or first_average or figure < counters.best_figure:
        counters.best_figure, counters.best_is_average = figure, is_average
        counters.best_epoch = counters.epoch + 1
        state.best = {name: value.clone() for name, value in network.state_dict().items()}


def refresh(
    job: Job, state: State, network: nn.Module, autocast: torch.autocast, num_images: int
) -> None:
    """Recompute a network's batch-norm statistics on the views that the training sees.

    They come in batches of a step's size, or a part's where memory was too small for more, and in
    the same ones whatever the number of processes.
    """
    chosen = seeding.generator(job.seed, f"{job.name}/refresh").permutation(job.num_images)
    chosen = chosen[:num_images]
    at_once = max(job.fewest_images, job.options.batch_size // state.counters.num_parts)
    num_batches = min(-(-len(chosen) // at_once), len(chosen) // job.fewest_images)
    batches = np.array_split(chosen, num_batches)  # of one size or one less: all count alike
    accelerator = job.accelerator
    mine = batches[accelerator.process_index :: accelerator.num_processes]
    parts = job.train.batches(mine)
    views = (job.refresh_views(part).to(accelerator.device) for part in parts)
    refresh_batch_norm(network, views, autocast, sum_over_processes(accelerator))


def deliver(job: Job, state: State, autocast: torch.autocast) -> None:
    """Write the model: the best average, else the best or the last raw weights, as asked for.

    The model is written last: where it exists, so does all that belongs to it.
    """
    counters = state.counters
    if state.best:
        job.model.load_state_dict(state.best)
    if counters.best_is_average:
        refresh(job, state, job.model, autocast, job.num_images)
    score = validate(job.model, job.validation, job.model, autocast, job.accelerator)
    data = packed_model(job.model.eval(), job.parents)
    delivered = {
        "training": job.fingerprint,
        "sha256": hashlib.sha256(data).hexdigest(),
        "weights": job.options.averaging.kind if counters.best_is_average else "raw",
        "epoch": counters.best_epoch or counters.epoch,
        "validation": score._asdict(),
        "precision": job.precision,
        "device": str(job.accelerator.device.type),
        "processes": job.accelerator.num_processes,
        "parts": counters.num_parts,
        "threads": torch.get_num_threads(),
    }
    if job.accelerator.is_main_process:
        runs.write_lines(job.folder / "metrics.jsonl", counters.rows)
        runs.write_json(job.folder / "delivered.json", delivered)
        runs.write_atomically(job.folder / MODEL, data)
    job.accelerator.wait_for_everyone()
