"""The training loop of all stages; teacher and student differ only in objective and views."""

import logging
import math
import os
import time
from typing import Any

import torch
from accelerate.utils import broadcast
from torch import Tensor, nn

from ruggedize.core import files
from ruggedize.core.memory import is_out_of_memory
from ruggedize.core.progress import EpochTask, time_left
from ruggedize.core.signals import Signals
from ruggedize.models import autocast_for
from ruggedize.train.average import average_for
from ruggedize.train.batches import batches_of_epoch
from ruggedize.train.checkpoint import Counters, State, load_newest_state, save_state
from ruggedize.train.delivery import (
    EpochScores,
    deliver,
    is_delivered,
    validate_epoch,
    weights_to_deliver,
)
from ruggedize.train.distributed import (
    actions_due,
    decided_by_first,
    first_process_writes,
    naming_lost_processes,
    received_signal,
    reject_divergence,
    stop_on_signal,
    sum_over_processes,
)
from ruggedize.train.division import divide_batch_norm, out_of_memory
from ruggedize.train.fine_tuning.probe import save_probed, set_modes
from ruggedize.train.objectives.objective import EVERY, IMAGES
from ruggedize.train.optim import Patience, Plateau, optimiser_for
from ruggedize.train.preflight import check_processes, prepare_folder, reject_different_states
from ruggedize.train.safety import NotFinite, divergence_error
from ruggedize.train.stage import Stage
from ruggedize.train.step import add_sums, means_of, step
from ruggedize.train.validate import Score

UNSAVED_SECONDS = 20.0  # an epoch's last steps are saved before validation if they took longer
log = logging.getLogger(__name__)


@naming_lost_processes()
def fit(stage: Stage) -> None:
    """Train, resuming from the newest state if there is one, and write `model.safetensors`.

    A finished training is not repeated.

    Raises:
        UserError: another process is writing the folder, it holds the state of another training,
            or its model is not the one that was delivered.
    """
    check_processes(stage)
    with first_process_writes(stage.accelerator, stage.folder):
        try:
            if not is_delivered(stage):
                train(stage)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise out_of_memory(stage) from error
        finally:
            stage.accelerator.free_memory()  # drops its references to the model


def train(stage: Stage) -> None:
    """Train in a folder that this run has locked; see `fit`."""
    options = stage.options
    device = stage.accelerator.device
    autocast = autocast_for(stage.precision, device)
    layout = torch.channels_last if options.channels_last else torch.contiguous_format
    stage.model.to(device=device, memory_format=layout)  # pyright: ignore
    divide_batch_norm(stage.model, options, stage.accelerator)
    state = fresh_state(stage)
    if load_newest_state(state, stage.folder / "state"):
        log.info("%s: resuming from step %d", stage.name, state.counters.step)
    elif stage.accelerator.is_main_process:
        prepare_folder(stage)
    reject_different_states(stage, state.counters.step)
    network: nn.Module = stage.model
    if options.compile:
        network = compiled(stage.model, device)
    network = stage.accelerator.prepare_model(network)  # wraps only with several processes
    state.counters.precision = stage.precision  # missing in older states
    log.info("%s: %s on %s", stage.name, stage.precision, device)
    pace, saved = Pace(), time.monotonic()
    while state.counters.epoch < options.epochs and not state.counters.stopped:
        with Signals() as signals:
            run_epoch(stage, state, network, autocast, signals)
            is_last = state.counters.epoch + 1 == options.epochs
            due = time.monotonic() - saved >= options.save_seconds or signals.number or is_last
            end_epoch(stage, state, autocast, save=bool(due))
            saved = time.monotonic() if due else saved
            pace.log_epoch(stage, state.counters)
            number = received_signal(stage, signals)
            if number and not due and stage.accelerator.is_main_process:  # came in validation
                save_state(state, stage.folder / "state")
            stop_on_signal(stage, number, signals)
    deliver(stage, state, autocast)


def compiled(network: nn.Module, device: torch.device) -> nn.Module:
    """Return the network wrapped by `torch.compile`; it is compiled at the first step.

    On a GPU, kernels are compiled in this process, one at a time. By default torch compiles them
    in a pool of processes, and if that pool dies the training hangs (docs/decisions/0005).
    `TORCHINDUCTOR_COMPILE_THREADS` takes precedence.
    """
    in_process = device.type == "cuda" and "TORCHINDUCTOR_COMPILE_THREADS" not in os.environ
    compile_here = torch.compile(options={"compile_threads": 1} if in_process else None)
    return compile_here(network)  # pyright: ignore


def fresh_state(stage: Stage) -> State:
    """Build the optimiser, average and counters of a new training."""
    options = stage.options
    return State(
        model=stage.model,
        optimiser=optimiser_for(
            stage.model,
            options.optimiser,
            options.layer_decay,
            has_probe=options.probe_epochs > 0,
        ),
        average=average_for(stage.model, options.averaging, stage.num_steps),
        plateau=Patience(options.schedule) if isinstance(options.schedule, Plateau) else None,
        stopping=Patience(options.early_stopping) if options.early_stopping else None,
        objective=stage.objective,
        facts=stage.facts,
    )


def run_epoch(
    stage: Stage, state: State, network: nn.Module, autocast: torch.autocast, signals: Signals
) -> None:
    """Run the remaining steps of an epoch, saving the state every five minutes."""
    counters = state.counters
    sums = earlier_sums(stage, counters)
    earlier, started = counters.seconds, time.monotonic()
    saved = started
    save_probed(stage, counters.epoch, counters.step_in_epoch)
    network.train()
    set_modes(stage, state.body, counters.epoch)
    for batch in batches_of_epoch(stage, counters.epoch, counters.step_in_epoch):
        try:
            found = step(stage, state, network, autocast, batch)
        except NotFinite as fault:
            counters.seconds = earlier + time.monotonic() - started
            save_within_epoch(stage, state, sums)
            raise divergence_error(stage, fault.step, counters.lr_scale) from None
        add_sums(sums, {name: value.double() for name, value in found.items()})
        counters.step += 1
        counters.step_in_epoch += 1
        if state.average:
            state.average.update(stage.model, batch.step + 1)
        task = epoch_task(stage, counters.epoch + 1)
        stage.progress(task, counters.step_in_epoch, stage.steps_per_epoch)
        due = actions_due(stage, state, signals, time.monotonic() - saved)
        if due.save or due.signal_number:
            saved = time.monotonic()
            counters.seconds = earlier + saved - started
            save_within_epoch(stage, state, sums)
        stop_on_signal(stage, due.signal_number, signals)
    counters.seconds = earlier + time.monotonic() - started
    if decided_by_first(stage, time.monotonic() - saved > UNSAVED_SECONDS):
        reject_divergence(stage, state)
        save_within_epoch(stage, state, sums)  # a stop during validation may not leave time to save
    counters.sums = {name: float(value) for name, value in sums.items()}


def earlier_sums(stage: Stage, counters: Counters) -> dict[str, Tensor]:
    """Return the restored sums of the current epoch.

    The saved sums are totals over all processes, so only the first process adds them.
    """
    share = float(stage.accelerator.is_main_process)
    kind = {"dtype": torch.float64, "device": stage.accelerator.device}
    return {name: torch.tensor(value * share, **kind) for name, value in counters.sums.items()}


def save_within_epoch(stage: Stage, state: State, sums: dict[str, Tensor]) -> None:
    """Save the state within an epoch, with the epoch's sums over all processes."""
    reduced = reduce_sums(stage, {name: float(value) for name, value in sums.items()})
    if stage.accelerator.is_main_process:
        local, state.counters.sums = state.counters.sums, reduced
        save_state(state, stage.folder / "state")
        state.counters.sums = local
    stage.accelerator.wait_for_everyone()


def reduce_sums(stage: Stage, sums: dict[str, float]) -> dict[str, float]:
    """Return the sums added up over all processes."""
    packed = torch.tensor(list(sums.values()), dtype=torch.float64, device=stage.accelerator.device)
    return dict(zip(sums, sum_over_processes(stage.accelerator)(packed).tolist(), strict=True))


def end_epoch(stage: Stage, state: State, autocast: torch.autocast, *, save: bool = True) -> None:
    """Validate, update plateau and early stopping, log the epoch and save the state."""
    counters, options = state.counters, stage.options
    reject_divergence(stage, state)
    share_buffers(stage)
    scores = validate_epoch(stage, state, autocast)
    reject_non_finite_scores(stage, state, scores.raw, scores.averaged)
    counters.rows.append(epoch_row(stage, state, scores))
    counters.rows[-1]["best"] = weights_to_deliver(stage, counters)
    is_probe = counters.epoch < options.probe_epochs  # patience is for the training of all layers
    if state.plateau and not is_probe and state.plateau.exhausted(scores.raw.metric(options.watch)):
        counters.lr_scale *= options.schedule.factor  # pyright: ignore
    if state.stopping and not is_probe:
        counters.stopped = state.stopping.exhausted(scores.raw.metric(options.watch))
    counters.epoch, counters.step_in_epoch = counters.epoch + 1, 0
    counters.sums, counters.seconds = {}, 0.0
    if stage.accelerator.is_main_process:
        files.write_lines(stage.folder / "metrics.jsonl", counters.rows)
        if save:
            save_state(state, stage.folder / "state")
        stage.on_rows(stage.name, counters.rows)


def reject_non_finite_scores(stage: Stage, state: State, *scores: Score | None) -> None:
    """Raise UserError if a validation loss is non-finite; no state has been written since.

    The epoch's last step is reported: earlier steps had a finite loss.
    """
    counters = state.counters
    if all(score is None or math.isfinite(score.loss) for score in scores):
        return
    last = stage.planned_step(counters.epoch, counters.step_in_epoch)
    raise divergence_error(stage, last, counters.lr_scale)


def share_buffers(stage: Stage) -> None:
    """Copy the first process's batch-norm statistics to all others: they are the delivered ones."""
    if stage.accelerator.num_processes > 1:
        for buffer in stage.model.buffers():
            buffer.copy_(broadcast(buffer, from_process=0))


def epoch_row(stage: Stage, state: State, scores: EpochScores) -> dict[str, Any]:
    """Return the epoch's row of `metrics.jsonl`; sums are divided only here."""
    counters = state.counters
    sums = reduce_sums(stage, counters.sums)
    images = sums.get(f"count/{EVERY}", sums[f"count/{IMAGES}"])
    last = stage.planned_step(counters.epoch, counters.step_in_epoch) - 1
    found = scores.to_json()
    return {
        "epoch": counters.epoch + 1,
        "steps": counters.step,
        **means_of(sums),
        "validation": {kind: found[kind] for kind in ("raw", "averaged")},
        "difference": found["difference"],
        "lr": stage.learning_rate(last, counters.lr_scale),
        "images_per_second": images / counters.seconds,
        "seconds": counters.seconds,
    }


class Pace:
    """Measures the duration of epochs, validation included, to estimate the time left."""

    def __init__(self) -> None:
        self.last_end = time.monotonic()

    def log_epoch(self, stage: Stage, counters: Counters) -> None:
        """Log the epoch that has just ended."""
        row, now = counters.rows[-1], time.monotonic()
        # a resumed epoch started before this process
        seconds = max(now - self.last_end, row["seconds"])
        self.last_end = now
        if stage.accelerator.is_main_process:
            epochs_left = 0 if counters.stopped else stage.options.epochs - counters.epoch
            log.info("%s: %s", epoch_task(stage, row["epoch"]), summary(row, seconds * epochs_left))


def epoch_task(stage: Stage, epoch: int) -> EpochTask:
    """Return the name of an epoch's task; epochs count from 1."""
    return EpochTask(f"{stage.name} epoch {epoch}/{stage.options.epochs}")


def summary(row: dict[str, Any], seconds_left: float) -> str:
    """Return a row of `metrics.jsonl` as a log line."""
    scores = row["validation"]
    accuracy = f"validation accuracy {100 * scores['raw']['accuracy']:.2f} %"
    if scores["averaged"]:
        accuracy += f" (average {100 * scores['averaged']['accuracy']:.2f} %)"
    speed = f"{row['images_per_second']:,.0f} images/s"
    parts = [f"loss {row['loss']:.4f}", accuracy, speed]
    if "confident" in row:
        parts.insert(1, f"{100 * row['confident']:.0f} % of pseudo-labels used")
    return ", ".join([*parts, time_left(seconds_left)] if seconds_left else parts)
