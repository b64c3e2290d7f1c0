"""Sums over a batch that losses and logged metrics are made of, in nats."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor

from ruggedize.images.types import Labels
from ruggedize.training.batch import IMAGES, LABELLED
from ruggedize.training.objective import Term

Logits = Float[Tensor, "n k"]


def cross_entropy_sum(logits: Logits, labels: Labels, smoothing: float) -> Float32[Tensor, ""]:
    """Return the cross entropy summed over the labelled images; -1 is no label."""
    return F.cross_entropy(
        logits, labels, reduction="sum", ignore_index=-1, label_smoothing=smoothing
    )


def softened_kl(student: Logits, teacher: Logits, temperature: float) -> Float32[Tensor, ""]:
    """Return KL(softmax(teacher / T) || softmax(student / T)) summed over the batch."""
    return F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher / temperature, dim=1),
        reduction="sum",
        log_target=True,
    )


def jensen_shannon_sum(views: Float[Tensor, "n v k"]) -> Float32[Tensor, ""]:
    """Return the Jensen-Shannon divergence of the predictions for v views, summed over images.

    Source: Hendrycks et al. 2020, "AugMix", equation 1: the mean KL divergence of each view's
    prediction from the mean prediction M, whose logarithm is taken of at least 1e-7.
    """
    log_probabilities = F.log_softmax(views, dim=2)
    probabilities = log_probabilities.exp()
    log_mean = probabilities.mean(1, keepdim=True).clamp(1e-7, 1).log()
    return (probabilities * (log_probabilities - log_mean)).sum() / views.shape[1]


def entropy_sum(logits: Logits) -> Float32[Tensor, ""]:
    """Return the entropy of the predictions (temperature 1) summed over the batch."""
    log_probabilities = F.log_softmax(logits, dim=1)
    return -(log_probabilities.exp() * log_probabilities).sum()


@torch.no_grad()
def student_metrics(logits: Logits, labels: Labels) -> dict[str, Term]:
    """Return the accuracy and the entropy of the network that is trained."""
    correct = (logits.argmax(1) == labels).sum().float()
    return {
        "accuracy": Term(correct, LABELLED, 0.0),
        "student_entropy": Term(entropy_sum(logits), IMAGES, 0.0),
    }


@torch.no_grad()
def agreement_metrics(student: Logits, teacher: Logits) -> dict[str, Term]:
    """Return the teacher's entropy and how often both agree: a broken teacher shows here."""
    same = (student.argmax(1) == teacher.argmax(1)).sum().float()
    return {
        "teacher_entropy": Term(entropy_sum(teacher), IMAGES, 0.0),
        "agreement": Term(same, IMAGES, 0.0),
    }
