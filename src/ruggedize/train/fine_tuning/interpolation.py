"""Weights between the start and the end of a training (WiSE-FT), chosen on corrupted images."""

import hashlib
import logging
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.core.places import user_path
from ruggedize.core.progress import Progress, no_progress
from ruggedize.core.reading import read_json
from ruggedize.corruptions import Preset
from ruggedize.data import ImageSet, Splits
from ruggedize.kernels.spread import evenly_spread
from ruggedize.models import (
    Classifier,
    Precision,
    autocast_for,
    packed_model,
    read_model_file,
    reject_other_network,
)
from ruggedize.train.api import load_trained
from ruggedize.train.delivery import (
    DELIVERED,
    MODEL,
    delivered_note,
    reject_changed_model,
)
from ruggedize.train.distributed import (
    default_accelerator,
    first_process_writes,
    naming_lost_processes,
    training_precision,
)
from ruggedize.train.fine_tuning.between import Interpolation, accuracies, between
from ruggedize.train.fine_tuning.options import InterpolationOptions
from ruggedize.train.options import TrainingOptions
from ruggedize.train.validate import outcomes, score
from ruggedize.views import ViewOptions

CURVE = "interpolation.json"  # accuracy by alpha; written after each
log = logging.getLogger(__name__)


@naming_lost_processes()
def interpolate_stage(  # noqa: PLR0913
    name: str,
    data: Splits,
    views: ViewOptions,
    options: InterpolationOptions,
    out: Path | str,
    *,
    start: Path | str,
    end: Path | str,
    training: TrainingOptions,
    preset: Preset | Literal["auto"] = "auto",
    seed: int = 0,
    accelerator: Accelerator | None = None,
    progress: Progress = no_progress,
) -> Classifier:
    """Choose weights between two networks; resume an earlier, interrupted call with the same `out`.

    Args:
        name: name of the stage; the corruptions of the validation images depend on it.
        data: training images (for batch-norm statistics) and validation images.
        views: the views of the training at the end.
        options: the values of alpha and the number of images.
        out: folder for `model.safetensors`, `interpolation.json` and `delivered.json`.
        start: model file at alpha = 0.
        end: model file at alpha = 1.
        training: the options that the network at the end was trained with.
        preset: constants of the corruptions, as for an assessment.

    Raises:
        UserError: the files have different networks or classes, or `out` belongs to others.
    """
    folder, accelerator = user_path(out), accelerator or default_accelerator()
    places = {"start": user_path(start), "end": user_path(end)}
    model = load_trained(places["end"], training, len(data.train.classes))
    weights = start_weights(name, places["start"], model, data.train.classes)
    compared = images_to_compare(data.validation, options.num_images)
    stage = Interpolation(
        name=name,
        options=options,
        training=training,
        start=weights,
        end=model,
        data=data,
        compared=compared,
        views=views,
        seed=seed,
        folder=folder,
        accelerator=accelerator,
        progress=progress,
        facts=facts_of(data, views, len(compared))
        | {"options": options.model_dump(mode="json"), "seed": seed, "preset": preset}
        | {"parents": {role: files.sha256(place) for role, place in places.items()}},
    )
    make_once(stage)
    return load_trained(folder / MODEL, training, len(data.train.classes))


def facts_of(data: Splits, views: ViewOptions, num_compared: int) -> dict[str, Any]:
    """Return the images and views that the result depends on, as JSON."""
    return {
        "views": views.model_dump(mode="json"),
        "data": data.digest and data.digest.for_training().model_dump(mode="json"),
        "images": {"training": len(data.train), "validation": num_compared},
    }


def images_to_compare(validation: ImageSet, num_images: int) -> ImageSet:
    """Return labelled validation images, spread evenly over the split."""
    labelled = np.flatnonzero(validation.labels.numpy() >= 0)
    return validation.select(labelled[evenly_spread(len(labelled), num_images)])


def make_once(stage: Interpolation) -> None:
    """Lock the folder and compute the interpolation in it, unless it is finished."""
    files.reject_unwritable_folder(stage.folder)
    with first_process_writes(stage.accelerator, stage.folder):
        if not is_made(stage):
            make(stage)
    stage.accelerator.wait_for_everyone()


def start_weights(
    name: str, file: Path, end: Classifier, classes: tuple[str, ...]
) -> dict[str, Tensor]:
    """Read the weights at the start; raise UserError unless they fit the network at the end."""
    description, weights = read_model_file(file)
    reject_other_network(weights, end.network, f"{name}.start: {file}", keep_head=True)
    if not description.classes == end.classes == classes:
        raise UserError(
            f"{name}.start: {file} has other classes than the network at the end;\n"
            "use a model that was trained on these classes"
        )
    return weights


def is_made(stage: Interpolation) -> bool:
    """Return whether the folder holds the result of this interpolation.

    Raises:
        UserError: it holds the result of another one, or a model that has been changed since.
    """
    for name in (CURVE, DELIVERED):
        path = stage.folder / name
        facts = read_json(path) if path.exists() else None
        key = "facts" if name == CURVE else "training"
        if isinstance(facts, dict) and comparable(facts.get(key)) != comparable(stage.facts):
            raise UserError(
                f"{path} belongs to another interpolation;\n"
                "choose another folder with --out, or delete this one"
            )
    reject_changed_model(stage.folder)
    return bool(delivered_note(stage.folder)) and (stage.folder / MODEL).exists()


def comparable(facts: Any) -> Any:
    """Return the facts without the path of the data, which may have moved."""
    if not isinstance(facts, dict) or not facts.get("data"):
        return facts
    return facts | {"data": facts["data"].get("parts")}


def make(stage: Interpolation) -> None:
    """Measure every alpha that has not been measured yet, and deliver the best one."""
    stage.end.to(stage.accelerator.device).eval()
    curve = read_json(stage.folder / CURVE) if (stage.folder / CURVE).exists() else {}
    points: list[dict[str, Any]] = list(curve.get("points", []))
    precision: Precision = curve.get("precision") or training_precision(
        stage.training, stage.folder, stage.accelerator
    )
    autocast = autocast_for(precision, stage.accelerator.device)
    stage.accelerator.wait_for_everyone()  # until all processes have read the curve
    for alpha in stage.options.alphas[len(points) :]:
        network = between(stage, alpha, autocast)
        points.append({"alpha": alpha} | accuracies(stage, network, autocast, len(points)))
        write_curve(stage, points, precision)
        log.info("%s: %s", stage.name, described(points[-1]))
    best = max(points, key=lambda point: (point["corrupted"], point["clean"], point["alpha"]))
    deliver(stage, best, autocast, precision)


def write_curve(stage: Interpolation, points: list[dict[str, Any]], precision: Precision) -> None:
    """Write the points measured so far, so that an interrupted stage goes on from them."""
    if stage.accelerator.is_main_process:
        curve = {"facts": stage.facts, "precision": precision, "points": points}
        files.write_json(stage.folder / CURVE, curve)


def deliver(
    stage: Interpolation, best: dict[str, Any], autocast: torch.autocast, precision: Precision
) -> None:
    """Write `delivered.json`, then the network at the chosen alpha."""
    model = between(stage, best["alpha"], autocast)
    found = outcomes(model, stage.data.validation, model, autocast, stage.accelerator)
    data = packed_model(model, stage.facts["parents"])
    note = {
        "training": stage.facts,
        "sha256": hashlib.sha256(data).hexdigest(),
        "weights": "interpolated",
        "alpha": best["alpha"],
        "validation": score(found, stage.accelerator)._asdict(),
        "precision": precision,
        "device": str(stage.accelerator.device.type),
        "processes": stage.accelerator.num_processes,
        "threads": torch.get_num_threads(),
    }
    if stage.accelerator.is_main_process:
        log.info("%s: delivering %s", stage.name, described(best))
        files.write_json(stage.folder / DELIVERED, note)
        files.write_atomically(stage.folder / MODEL, data)


def described(point: dict[str, Any]) -> str:
    """Format a point of the curve."""
    return (
        f"alpha {point['alpha']:g}, validation accuracy {100 * point['clean']:.2f} % clean, "
        f"{100 * point['corrupted']:.2f} % under the four extra corruptions"
    )
