"""Models prepared for assessment: they map views to logits of the data's classes."""

import copy
import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from ruggedize.assess.assessment import InputFacts
from ruggedize.assess.classes import merged, output_targets
from ruggedize.assess.metrics import Outcomes, outcomes_of
from ruggedize.assess.options import AssessOptions
from ruggedize.core.errors import UserError
from ruggedize.core.memory import is_out_of_memory
from ruggedize.data import ImageSet
from ruggedize.kernels.types import Images, Views
from ruggedize.models import (
    Classifier,
    Predictor,
    are_probabilities,
    autocast_for,
    in_eval_mode,
    inference_batch_size,
    logits_of,
    resolved_precision,
)

Assessable = Classifier | Predictor | Callable[[Tensor], Tensor]
NUM_TRIED = 2  # images in the trial run of a model of other origin
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model prepared for assessment.

    Args:
        logits: maps views on `device` to logits of the data's classes.
        view: maps stored images to the model's views, on the CPU.
        device: device of the model.
        precision: "bf16" or "fp32", or "own" if the model itself decides.
        inputs: its preprocessing, recorded in the assessment.
    """

    logits: Callable[[Images], Tensor]
    view: Callable[[Images], Images]
    device: torch.device
    precision: str
    inputs: InputFacts


def prepared(
    name: str, model: Assessable, options: AssessOptions, image_set: ImageSet
) -> Candidate:
    """Prepare a model for assessment and check that it fits the data.

    Raises:
        UserError: it fails on an image of the data, or its classes do not match.
    """
    if isinstance(model, Classifier):
        return prepared_classifier(name, model, options, image_set)
    predictor = model if isinstance(model, Predictor) else Predictor(model)
    scores = tried(name, predictor, image_set)
    try:
        targets = output_targets(
            scores.shape[1],
            image_set.classes,
            predictor.classes,
            predictor.synonyms,
            predictor.class_map,
        )
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    if predictor.output == "logits" and are_probabilities(scores):
        log.warning(
            "%s seems to return probabilities, but they are treated as logits, which would make "
            "its calibration and losses wrong; if so, set --output probabilities",
            name,
        )
    places = torch.from_numpy(targets).to(scores.device)
    num_classes = len(image_set.classes)
    is_module = isinstance(predictor.model, nn.Module)
    in_order = np.array_equal(targets, np.arange(num_classes))

    def logits(views: Images) -> Tensor:
        found = predictor.logits(views)
        return found if in_order else merged(found, places.to(found.device), num_classes)

    return Candidate(
        logits,
        predictor.view,
        predictor.device,
        ("fp32" if options.precision == "auto" else options.precision) if is_module else "own",
        inputs_of(predictor),
    )


def prepared_classifier(
    name: str, model: Classifier, options: AssessOptions, image_set: ImageSet
) -> Candidate:
    """Prepare a copy of a classifier, in eval mode and channels-last layout.

    Raises:
        UserError: its classes are not those of the data.
    """
    if tuple(model.classes) != tuple(image_set.classes):
        raise UserError(
            f"{name} has {len(model.classes)} classes ({', '.join(model.classes[:3])}, ...), but "
            f"the data has {len(image_set.classes)} ({', '.join(image_set.classes[:3])}, ...);"
            "\nassess it on data with the classes that it was trained on"
        )
    device = next(model.parameters()).device
    network = copy.deepcopy(model).eval().requires_grad_(False)
    network.to(memory_format=torch.channels_last)  # pyright: ignore
    return Candidate(
        network,
        network.test_view,
        device,
        resolved_precision(options.precision, device),
        InputFacts(
            input_size=model.input_size,
            image_size=model.image_size,
            crop_pct=model.crop_pct,
            interpolation=model.test_filter,
            mean=model.mean,
            std=model.std,
        ),
    )


def inputs_of(predictor: Predictor) -> InputFacts:
    """Return a predictor's preprocessing, to be recorded in the assessment."""
    mean, std = predictor.normalisation or (None, None)
    return InputFacts(
        input_size=predictor.input_size,
        resize=predictor.resize,
        image_size=predictor.image_size,
        interpolation=predictor.interpolation,
        mean=mean,
        std=std,
        channels=predictor.channels,
        layout=predictor.layout,
        output=predictor.output,
    )


@torch.no_grad()
def tried(name: str, predictor: Predictor, image_set: ImageSet) -> Float32[Tensor, "n k"]:
    """Run a model on the first few images.

    Raises:
        UserError: it fails on them.
    """
    views = predictor.view(image_set.images[:NUM_TRIED])
    try:
        return predictor.logits(views.to(predictor.device))
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    except Exception as error:  # a user's code can raise anything
        if is_out_of_memory(error):
            raise
        message = str(error).strip().partition("\n")[0]
        raise UserError(
            f"{name} fails on uint8 images {list(views.shape)}: {type(error).__name__}: {message};"
            "\ncheck its input size (--input-size) and channel layout (--layout)"
        ) from error


def with_network_in_eval_mode(model: Assessable) -> AbstractContextManager[None]:
    """Set a predictor's module to eval mode in this block; afterwards restore all modes."""
    network = model.model if isinstance(model, Predictor) else None
    return in_eval_mode(network) if isinstance(network, nn.Module) else nullcontext()


def test_view(model: Candidate, images: Images) -> Views:
    """Make the model's views of images, in pinned memory if it is on a GPU."""
    view = model.view(images)
    return view.pin_memory() if model.device.type == "cuda" else view


@torch.no_grad()
def outcomes_for(model: Candidate, views: Views, labels: Tensor) -> Outcomes:
    """Run one block through a model, with a single device synchronisation."""
    parts = []
    autocast = autocast_for("bf16" if model.precision == "bf16" else "fp32", model.device)
    most = inference_batch_size(views.shape[-1])
    for batch, target in zip(views.split(most), labels.split(most), strict=True):
        with autocast:
            logits = logits_of(model.logits, batch.to(model.device, non_blocking=True))
        target = target.to(logits.device, non_blocking=True)
        parts.append(outcomes_of(logits.float(), target))
    return Outcomes(*(torch.cat(column).cpu().numpy() for column in zip(*parts, strict=True)))
