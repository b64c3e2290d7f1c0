"""What a network is trained for: functions `(model, pair) -> (loss sum, sums)`."""

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn

from ruggedize.images.types import Labels, Views
from ruggedize.training.options import StudentOptions

Sums = dict[str, Tensor]
Logits = Float[Tensor, "n k"]


class Pair(NamedTuple):
    """The same images at the same places, seen twice; a teacher needs no noisy view.

    Where the teacher's logits are known already, they stand in the place of the clean view.
    """

    clean: Views | None
    noisy: Views | None
    labels: Labels
    target: Logits | None = None


Objective = Callable[[nn.Module, Pair], tuple[Tensor, Sums]]


def supervised(label_smoothing: float) -> Objective:
    """Learn the labels from the clean view."""

    def objective(model: nn.Module, pair: Pair) -> tuple[Tensor, Sums]:
        logits = model(pair.clean).float()
        loss = cross_entropy_sum(logits, pair.labels, label_smoothing)
        return loss, label_sums(logits, pair.labels) | {"loss": loss.detach()}

    return objective


def consistency(teacher: nn.Module | None, options: StudentOptions) -> Objective:
    """Learn the labels from the noisy view and agree with the teacher's clean view.

    Source: the Keras example "Consistency training with supervision" (weights 1/2 and 1/2, T = 10,
    no T^2); Hinton et al. 2015 for T^2. Without a teacher (weight 0) only the labels remain.
    """
    weight = options.consistency_weight
    temperature = options.temperature
    scale = temperature**2 if options.temperature_squared else 1.0

    def objective(model: nn.Module, pair: Pair) -> tuple[Tensor, Sums]:
        logits = model(pair.noisy).float()
        cross_entropy = cross_entropy_sum(logits, pair.labels, options.label_smoothing)
        sums = label_sums(logits, pair.labels) | {"cross_entropy": cross_entropy.detach()}
        if teacher is None:
            return cross_entropy, sums | {"loss": cross_entropy.detach()}
        target = pair.target if pair.target is not None else answer(teacher, pair.clean)
        kl = softened_kl(logits, target, temperature) * scale
        loss = (1.0 - weight) * cross_entropy + weight * kl
        sums |= agreement_sums(logits, target)
        return loss, sums | {"loss": loss.detach(), "consistency": kl.detach()}

    return objective


@torch.no_grad()
def answer(teacher: nn.Module, clean: Views | None) -> Logits:
    """Ask the teacher about clean views."""
    return teacher(clean).float()


def cross_entropy_sum(logits: Logits, labels: Labels, smoothing: float) -> Float32[Tensor, ""]:
    """Sum the cross entropy over the batch, in nats; unlabelled images (-1) count nothing."""
    return F.cross_entropy(
        logits, labels, reduction="sum", ignore_index=-1, label_smoothing=smoothing
    )


def softened_kl(student: Logits, teacher: Logits, temperature: float) -> Float32[Tensor, ""]:
    """Sum KL(softmax(teacher / T) || softmax(student / T)) over the batch, in nats."""
    return F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher / temperature, dim=1),
        reduction="sum",
        log_target=True,
    )


@torch.no_grad()
def label_sums(logits: Logits, labels: Int64[Tensor, " n"]) -> Sums:
    """Count what the epoch's accuracy and entropy are made of."""
    return {
        "correct": (logits.argmax(1) == labels).sum(),
        "labelled": (labels >= 0).sum(),
        "student_entropy": entropy_sum(logits),
    }


@torch.no_grad()
def agreement_sums(student: Logits, teacher: Logits) -> Sums:
    """Count where both say the same, and how sure the teacher is: a broken teacher shows here."""
    return {
        "teacher_entropy": entropy_sum(teacher),
        "agreement": (student.argmax(1) == teacher.argmax(1)).sum(),
    }


def entropy_sum(logits: Logits) -> Float32[Tensor, ""]:
    """Sum the entropy of the predictions (temperature 1) over the batch, in nats."""
    log_probabilities = F.log_softmax(logits, dim=1)
    return -(log_probabilities.exp() * log_probabilities).sum()
