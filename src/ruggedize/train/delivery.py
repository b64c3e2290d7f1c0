"""Choice of the weights that a training delivers: the average, or the raw weights if better."""

import copy
import hashlib
import logging
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from ruggedize.core import files, seeding
from ruggedize.core.errors import UserError
from ruggedize.core.reading import read_json
from ruggedize.models import packed_model
from ruggedize.train.average import averaged_copy, even_batches, refresh_batch_norm
from ruggedize.train.checkpoint import Counters, State, saved_facts
from ruggedize.train.distributed import sum_over_processes
from ruggedize.train.epochs import REFRESH_IMAGES
from ruggedize.train.optim import NoAveraging
from ruggedize.train.stage import Stage
from ruggedize.train.validate import (
    Difference,
    Score,
    outcomes,
    raw_minus_average,
    score,
)
from ruggedize.views import view_batches

MODEL = "model.safetensors"
DELIVERED = "delivered.json"  # written before the model; describes it and holds its hash
MOST_REFRESHED = 50_000  # unlabelled images for those of the delivered weights
log = logging.getLogger(__name__)


class EpochScores(NamedTuple):
    """Validation scores of an epoch's raw weights and of their average."""

    raw: Score
    averaged: Score | None = None
    difference: Difference | None = None

    def to_json(self) -> dict[str, Any]:
        """Return both scores and their paired difference as JSON."""
        return {name: value and value._asdict() for name, value in self._asdict().items()}


def validate_epoch(stage: Stage, state: State, autocast: torch.autocast) -> EpochScores:
    """Validate the raw weights and their average; keep the weights if the epoch is chosen.

    With averaging, both get recomputed batch-norm statistics: the running statistics of the raw
    weights lag behind them, which would cost them ten points of accuracy at a high learning rate.
    """
    shared = (stage.validation, stage.model, autocast, stage.accelerator)
    if not state.average:
        scores = EpochScores(score(outcomes(stage.model, *shared), stage.accelerator))
        remember_if_chosen(stage, state, stage.model, scores)
        return scores
    raw_model = copy.deepcopy(stage.model)
    refresh(stage, raw_model, autocast, REFRESH_IMAGES)
    raw = outcomes(raw_model, *shared)
    scores = EpochScores(score(raw, stage.accelerator))
    averaged_model = None
    if state.average.num_snapshots:
        averaged_model = averaged_copy(stage.model, state.average)
        refresh(stage, averaged_model, autocast, REFRESH_IMAGES)
        averaged = outcomes(averaged_model, *shared)
        difference = raw_minus_average(raw, averaged, stage.options.watch, stage.accelerator)
        scores = EpochScores(scores.raw, score(averaged, stage.accelerator), difference)
    remember_if_chosen(stage, state, raw_model, scores, averaged_model)
    return scores


def remember_if_chosen(
    stage: Stage,
    state: State,
    raw: nn.Module,
    scores: EpochScores,
    average: nn.Module | None = None,
) -> None:
    """Keep an epoch's weights if it is the best so far, or within one standard error of the best.

    The margin is the standard error of the best average's score.
    Raw weights have no margin. Once there is an average, only averages are compared: otherwise one
    lucky validation of raw weights early in the training could prevent any average from being
    delivered.

    Source: Breiman et al. 1984, "Classification and Regression Trees", one-standard-error rule.
    Deviation: the latest epoch takes the place of the smallest tree.
    """
    counters, options = state.counters, stage.options
    by_average = scores.averaged is not None and options.deliver != "raw"
    if not (by_average or options.early_stopping):
        return  # the last epoch is delivered
    candidate = scores.averaged if by_average and scores.averaged else scores.raw
    metric = candidate.metric(options.watch)
    first_average = by_average and not counters.best_by_average
    if counters.best_metric is None or first_average or metric < counters.best_metric:
        counters.best_metric, counters.best_by_average = metric, by_average
        difference = scores.difference if by_average else None
        counters.best_error = difference.score_error if difference else 0.0
    elif not by_average or metric > counters.best_metric + counters.best_error:
        return
    raw_wins = options.deliver == "auto" and scores.difference and scores.difference.raw_is_better
    counters.best_is_average = by_average and not raw_wins
    counters.best_epoch = counters.epoch + 1
    network = average if average and counters.best_is_average else raw
    state.best = {name: value.clone() for name, value in network.state_dict().items()}


def refresh(stage: Stage, network: nn.Module, autocast: torch.autocast, num_images: int) -> None:
    """Recompute a network's batch-norm statistics on views like those seen in training.

    The batches have the size of a micro-batch and do not depend on the number of processes.
    """
    image_set = stage.refresh_images
    chosen = seeding.generator(stage.seed, f"{stage.name}/refresh").permutation(len(image_set))
    size = max(stage.min_images, stage.options.batch_size // stage.options.microbatches)
    batches = even_batches(chosen[:num_images], size, stage.min_images)
    accelerator = stage.accelerator
    mine = batches[accelerator.process_index :: accelerator.num_processes]
    images = view_batches(image_set, mine, [[stage.refresh_request]] * len(mine))
    views = (stage.refresh_views(batch).to(accelerator.device) for batch in images)
    refresh_batch_norm(network, views, autocast, sum_over_processes(accelerator))


def deliver(stage: Stage, state: State, autocast: torch.autocast) -> None:
    """Write the chosen weights to `model.safetensors` and describe them in `delivered.json`.

    The model is written last: if it exists, so do all other files of the training.
    """
    counters = state.counters
    if state.best:
        stage.model.load_state_dict(state.best)
    if state.average:
        refresh(stage, stage.model, autocast, max(stage.num_images, MOST_REFRESHED))
    found = outcomes(stage.model, stage.validation, stage.model, autocast, stage.accelerator)
    data = packed_model(stage.model.eval(), stage.parents)
    delivered = {
        "training": stage.facts.to_json(),
        "sha256": hashlib.sha256(data).hexdigest(),
        **choice(stage, counters),
        "validation": score(found, stage.accelerator)._asdict(),
        "final_decay": state.average.last_decay() if state.average else None,
        "precision": stage.precision,
        "device": str(stage.accelerator.device.type),
        "processes": stage.accelerator.num_processes,
        "microbatches": stage.options.microbatches,
        "threads": torch.get_num_threads(),
    }
    if stage.accelerator.is_main_process:
        log_choice(stage, delivered)
        files.write_lines(stage.folder / "metrics.jsonl", counters.rows)
        files.write_json(stage.folder / DELIVERED, delivered)
        files.write_atomically(stage.folder / MODEL, data)
    stage.accelerator.wait_for_everyone()


def weights_to_deliver(stage: Stage, counters: Counters) -> dict[str, Any]:
    """Return kind and epoch of the weights that would be delivered now."""
    kind = stage.options.averaging.kind if counters.best_is_average else "raw"
    return {"weights": kind, "epoch": counters.best_epoch or len(counters.rows)}


def choice(stage: Stage, counters: Counters) -> dict[str, Any]:
    """Return which weights are delivered, why, and the validation scores of their epoch."""
    chosen = weights_to_deliver(stage, counters)
    row = counters.rows[chosen["epoch"] - 1]
    return chosen | {
        "deliver": stage.options.deliver,
        "reason": reason(stage, counters),
        "chosen_by": stage.options.watch if counters.best_epoch else None,
        "num_candidates": num_candidates(counters),
        "at_epoch": row["validation"] | {"difference": row["difference"]},
    }


def num_candidates(counters: Counters) -> int:
    """Return the number of epochs that the delivered one was chosen from."""
    if not counters.best_epoch:
        return 1
    if not counters.best_by_average:
        return len(counters.rows)
    return sum(row["validation"]["averaged"] is not None for row in counters.rows)


def reason(stage: Stage, counters: Counters) -> str:
    """Return why the delivered weights were chosen."""
    options = stage.options
    if isinstance(options.averaging, NoAveraging):
        return "there is no average"
    if options.deliver == "raw":
        return "raw weights were requested"
    if not counters.best_by_average:
        return "training ended before the average's first snapshot"
    if options.deliver == "average":
        return "the average was requested"
    if counters.best_is_average:
        return "the raw weights are not clearly better"
    return "the raw weights are clearly better"


def log_choice(stage: Stage, delivered: dict[str, Any]) -> None:
    """Log which weights are delivered; as a warning if there is an average that is not used."""
    deliver, is_raw = stage.options.deliver, delivered["weights"] == "raw"
    has_lost = deliver == "auto" and delivered["at_epoch"]["averaged"]
    level = logging.WARNING if is_raw and (has_lost or deliver == "average") else logging.INFO
    log.log(
        level,
        "%s: delivering the %s of epoch %d, because %s%s",
        *(stage.name, "raw weights" if delivered["weights"] == "raw" else "average"),
        *(delivered["epoch"], delivered["reason"], compared(delivered["at_epoch"])),
    )
    if delivered["final_decay"] is not None:
        log.info("%s: the average ended with a decay of %.4g", stage.name, delivered["final_decay"])


def compared(at_epoch: dict[str, Any]) -> str:
    """Return the metrics of raw weights and average as text; empty without an average."""
    if not at_epoch["averaged"]:
        return ""
    metric = at_epoch["difference"]["metric"]
    raw, averaged = (at_epoch[kind][metric] for kind in ("raw", "averaged"))
    error = at_epoch["difference"]["standard_error"] or 0.0
    return (
        f" (validation {metric}: raw {raw:.4f}, average {averaged:.4f}, difference "
        f"{raw - averaged:+.4f} with a standard error of {error:.4f})"
    )


def is_delivered(stage: Stage) -> bool:
    """Return whether this training is already finished in its folder.

    Raises:
        UserError: the model file is no longer the one that was delivered.
    """
    note = delivered_note(stage.folder)
    if not note or not (stage.folder / MODEL).exists():
        return False
    if "training" not in note:  # written by a version that recorded neither facts nor hash
        saved = saved_facts(stage.folder / "state")
        return saved is None or is_same_training(stage, saved)
    if not is_same_training(stage, note["training"]):
        return False
    reject_changed_model(stage.folder)
    return True


def is_same_training(stage: Stage, saved: Any) -> bool:
    """Return whether these saved facts are the stage's; False if they cannot be read.

    Raises:
        UserError: they are the stage's, but the data has changed since.
    """
    try:
        is_same = isinstance(saved, dict) and not stage.facts.differing(saved)
        if is_same:
            stage.facts.check_data(saved)
    except (KeyError, TypeError, ValueError):
        return False
    return is_same


def reject_changed_model(folder: Path) -> None:
    """Raise UserError if the folder's model is not the one that was delivered to it."""
    path, expected = folder / MODEL, delivered_note(folder).get("sha256")
    if path.exists() and expected and files.sha256(path) != expected:
        raise UserError(
            f"{path} is damaged or was changed: it is not the file that the training wrote;\n"
            "delete it, then repeat the command to restore it"
        )


def network_in(folder: Path) -> str | None:
    """Return the timm network of a training, finished or begun; None if there is none."""
    facts = delivered_note(folder).get("training") or saved_facts(folder / "state")
    try:
        name = facts["options"]["model"]["architecture"]
    except (KeyError, TypeError):
        return None
    return name if isinstance(name, str) else None


def validation_accuracy(folder: Path) -> float:
    """Return the validation accuracy of the weights that a finished training has delivered."""
    return delivered_note(folder)["validation"]["accuracy"]


def delivered_note(folder: Path) -> dict[str, Any]:
    """Read `delivered.json`; return an empty dict if it is missing or damaged."""
    path = folder / DELIVERED
    try:
        note = read_json(path) if path.exists() else {}
    except UserError:
        return {}
    return note if isinstance(note, dict) else {}
