"""Loss terms and metrics that several objectives share."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Float32
from torch import Tensor

from ruggedize.data import ImageSet
from ruggedize.kernels.types import Labels
from ruggedize.train.objectives.objective import IMAGES, LABELLED, UNLABELLED, ClassWeights, Term
from ruggedize.train.objectives.options import AgreementOptions

Logits = Float[Tensor, "n k"]


def cross_entropy_sum(
    logits: Logits, labels: Labels, smoothing: float, class_weights: ClassWeights | None = None
) -> Float32[Tensor, ""]:
    """Return the cross entropy summed over the labelled images; label -1 is ignored.

    Each image's cross entropy is multiplied by the weight of its class.
    """
    settings = {"ignore_index": -1, "label_smoothing": smoothing}
    if class_weights is None:
        return F.cross_entropy(logits, labels, reduction="sum", **settings)
    losses = F.cross_entropy(logits, labels, reduction="none", **settings)
    return (class_weights[labels] * losses).sum()  # the loss of label -1 is 0


def balanced_class_weights(train: ImageSet) -> ClassWeights:
    """Return n / (k n_c) for each class: n labelled images of k classes, n_c of class c.

    Their mean over the labelled images is 1. A class without images gets 0.
    """
    counts = train.labels[train.labels >= 0].bincount(minlength=len(train.classes)).float()
    num_present = (counts > 0).sum()
    return torch.where(counts > 0, counts.sum() / (num_present * counts.clamp(min=1)), 0.0)


def softened_kl(student: Logits, teacher: Logits, temperature: float) -> Float32[Tensor, ""]:
    """Return KL(softmax(teacher / T) || softmax(student / T)) summed over the batch."""
    return F.kl_div(
        F.log_softmax(student / temperature, dim=1),
        F.log_softmax(teacher / temperature, dim=1),
        reduction="sum",
        log_target=True,
    )


def confident_kl(
    student: Logits,
    teacher: Logits,
    options: AgreementOptions,
    hidden_labels: Labels | None,
) -> tuple[Float32[Tensor, ""], dict[str, Term]]:
    """Return the KL divergence summed over unlabelled images, and their metrics.

    Images for which the teacher's confidence is below `options.threshold` do not count.
    """
    probabilities = teacher.softmax(1)
    is_used = probabilities.amax(1) >= options.threshold
    kl = kl_divergences(student, teacher, options.temperature)
    return (is_used * kl).sum(), pseudo_label_metrics(
        student, probabilities, hidden_labels, is_used
    )


def jensen_shannon_sum(views: Float[Tensor, "n v k"]) -> Float32[Tensor, ""]:
    """Return the Jensen-Shannon divergence of the predictions for v views, summed over images.

    Source: Hendrycks et al. 2020, "AugMix", equation 1: the mean KL divergence of each view's
    prediction from the mean prediction M, which is clamped to at least 1e-7 before the logarithm.
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
    """Return the student's accuracy and prediction entropy."""
    correct = (logits.argmax(1) == labels).sum().float()
    return {
        "accuracy": Term(correct, LABELLED, 0.0),
        "student_entropy": Term(entropy_sum(logits), IMAGES, 0.0),
    }


@torch.no_grad()
def agreement_metrics(student: Logits, teacher: Logits) -> dict[str, Term]:
    """Return the teacher's prediction entropy and the fraction of equal predictions."""
    same = (student.argmax(1) == teacher.argmax(1)).sum().float()
    return {
        "teacher_entropy": Term(entropy_sum(teacher), IMAGES, 0.0),
        "agreement": Term(same, IMAGES, 0.0),
    }


def soft_cross_entropies(logits: Logits, targets: Float32[Tensor, "n k"]) -> Float32[Tensor, " n"]:
    """Return each image's cross entropy of the predictions with a distribution over classes."""
    return -(targets * F.log_softmax(logits, dim=1)).sum(1)


def kl_divergences(student: Logits, teacher: Logits, temperature: float) -> Float32[Tensor, " n"]:
    """Return each image's KL(softmax(teacher / T) || softmax(student / T))."""
    log_p, log_q = (F.log_softmax(logits / temperature, dim=1) for logits in (teacher, student))
    return (log_p.exp() * (log_p - log_q)).sum(1)


@torch.no_grad()
def pseudo_label_metrics(
    student: Logits,
    targets: Float32[Tensor, "n k"],
    hidden_labels: Labels | None,
    is_used: Bool[Tensor, " n"] | None = None,
) -> dict[str, Term]:
    """Return metrics of the unlabelled images. No loss uses hidden labels.

    Args:
        student: the predictions that are trained to agree with the targets.
        targets: the probabilities that the pseudo-labels come from.
        hidden_labels: the true labels, -1 where unknown.
        is_used: whether an image counts in the loss; all do if it is missing.
    """
    if is_used is None:
        is_used = torch.ones(len(targets), dtype=torch.bool, device=targets.device)
    classes = targets.argmax(1)
    entropy = -torch.special.xlogy(targets, targets).sum()
    same = (student.argmax(1) == classes).sum().float()
    metrics = {
        "confident": Term(is_used.sum().float(), UNLABELLED, 0.0),
        "unlabelled_entropy": Term(entropy_sum(student), UNLABELLED, 0.0),
        "pseudo_label_entropy": Term(entropy, UNLABELLED, 0.0),
        "unlabelled_agreement": Term(same, UNLABELLED, 0.0),
    }
    if hidden_labels is None:
        return metrics
    is_compared = is_used & (hidden_labels >= 0)
    correct = (is_compared & (classes == hidden_labels)).sum().float()
    return metrics | {
        "compared": Term(is_compared.sum().float(), UNLABELLED, 0.0),
        "pseudo_label_accuracy": Term(correct, "compared", 0.0),
    }
