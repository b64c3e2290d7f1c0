"""Supervised loss on noisy views plus cross entropy with a frozen teacher's pseudo-labels."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float32, Int64
from torch import Tensor, nn

from ruggedize.core.errors import UserError
from ruggedize.data import ImageBatch
from ruggedize.models import Classifier, joint_logits
from ruggedize.train.objectives.losses import (
    cross_entropy_sum,
    pseudo_label_metrics,
    soft_cross_entropies,
    student_metrics,
)
from ruggedize.train.objectives.objective import (
    LABELLED,
    UNLABELLED,
    Batch,
    Context,
    Term,
    counts_of,
    hidden_labels,
    sources_with,
)
from ruggedize.train.objectives.options import NoisyStudentOptions, Sees
from ruggedize.train.objectives.targets import precomputed_logits
from ruggedize.train.objectives.teachers import Ensemble, teacher_of

MOST_BALANCED = 10.0  # times the weight of an image in a class of average size


class PseudoLabels(NamedTuple):
    """The teacher's predictions for the unlabelled images."""

    probabilities: Float32[Tensor, "n k"]
    weights: Float32[Tensor, " n"]  # 0: not confident enough
    rows: Int64[Tensor, " m"]  # by index of the image


def make(options: NoisyStudentOptions, context: Context) -> "NoisyStudent":
    """Build the objective.

    Raises:
        UserError: there is no teacher.
    """
    return NoisyStudent(options, context, teacher_of(context, options.kind))


@dataclass(frozen=True)
class NoisyStudent:
    """Cross entropy with the labels plus weighted cross entropy with the teacher's predictions.

    The teacher predicts once, for the whole images (the test view). Images below the threshold
    have the weight 0; with `balanced`, the weights of every predicted class have the same sum.

    Source: Xie et al. 2020, "Self-training with Noisy Student improves ImageNet classification",
    algorithm 1.
    Deviations: images are weighted instead of being left out and repeated, which is the same on
    average over the steps; 7 unlabelled images per labelled one, in the paper 14 or 28. Each term
    is a mean over its own images, as in the algorithm; the paper's experiments took one mean over
    all images.
    """

    options: NoisyStudentOptions
    context: Context
    teacher: nn.Module
    sees: Sees = NoisyStudentOptions.sees

    @property
    def sources(self) -> Mapping[str, int]:
        """Images per step from each source, as a multiple of the batch size."""
        return sources_with(self.options.unlabelled_ratio)

    def batch(self, images: Mapping[str, ImageBatch], epoch: int, step: int) -> Batch:
        """Make the noisy views and look up the pseudo-labels."""
        labelled, unlabelled = images[LABELLED], images[UNLABELLED]
        noisy = self.context.maker.noisy(labelled.images, labelled.index, epoch)
        index, found = unlabelled.index, self.pseudo_labels
        rows = found.rows[index]
        others = {
            "noisy": self.context.unlabelled_maker.noisy(unlabelled.images, index, step),
            "probabilities": found.probabilities[rows],
            "weights": found.weights[rows],
            **hidden_labels(unlabelled),
        }
        tensors = {LABELLED: {"noisy": noisy, "labels": labelled.labels}, UNLABELLED: others}
        return Batch(tensors, counts_of(labelled, unlabelled))

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Term]:
        """Return both loss terms and the metrics."""
        options, labelled, unlabelled = self.options, batch[LABELLED], batch[UNLABELLED]
        found = joint_logits(model, [labelled["noisy"], unlabelled["noisy"]])
        logits, others = (each.float() for each in found)
        labels, weights = labelled["labels"], unlabelled["weights"]
        cross_entropy = cross_entropy_sum(
            logits, labels, options.label_smoothing, self.context.class_weights
        )
        targets = target_distributions(unlabelled["probabilities"], options.pseudo_labels)
        losses = weights * soft_cross_entropies(others, targets)
        hidden = unlabelled.get("hidden_labels")
        return {
            "cross_entropy": Term(cross_entropy, LABELLED),
            "consistency": Term(losses.sum(), UNLABELLED, options.weight),
            **student_metrics(logits, labels),
            **pseudo_label_metrics(others, unlabelled["probabilities"], hidden, weights > 0),
        }

    @cached_property
    def pseudo_labels(self) -> PseudoLabels:
        """The teacher's predictions and their weights, computed at the first batch."""
        context, images, teacher = self.context, self.context.unlabelled, self.teacher
        assert images is not None
        assert isinstance(teacher, Classifier | Ensemble)
        shared = (context.precision, context.accelerator, context.progress)
        table = precomputed_logits(teacher, images, [teacher.test_view], *shared)
        if table is None:
            raise UserError(
                f"{context.name}: the pseudo-labels of {len(images):,} images would take more than "
                '1 GB;\nuse objective = "consistency", which does not store them'
            )
        probabilities = table.logits[:, 0].softmax(1)
        weights = weights_of(context.name, probabilities, self.options)
        return PseudoLabels(probabilities, weights, table.rows)


def target_distributions(probabilities: Tensor, pseudo_labels: str) -> Tensor:
    """Return the target distributions: the probabilities, or all mass on the likeliest class."""
    if pseudo_labels == "soft":
        return probabilities
    return F.one_hot(probabilities.argmax(1), probabilities.shape[1]).to(probabilities.dtype)


def weights_of(
    stage: str, probabilities: Float32[Tensor, "n k"], options: NoisyStudentOptions
) -> Float32[Tensor, " n"]:
    """Return the weight of each unlabelled image in the loss; their mean is 1.

    With `balanced`, every class that is predicted has the same sum of weights, except that images
    of rare classes, which often are mistakes, get at most `MOST_BALANCED` times the weight that
    they would have in a class of average size.

    Raises:
        UserError: no image reaches the threshold.
    """
    confidence, classes = probabilities.max(1)
    weights = (confidence >= options.threshold).float()
    if not weights.any():
        raise UserError(
            f"{stage}: the teacher's confidence reaches threshold = {options.threshold:g} for "
            f"none of {len(weights):,} unlabelled images (highest: {confidence.max():.3f});\n"
            "use a lower threshold or a better teacher"
        )
    if options.balanced:
        sizes = torch.zeros(probabilities.shape[1]).index_add_(0, classes, weights)
        average = sizes.sum() / (sizes > 0).sum()
        weights = weights * (average / sizes.clamp(min=1)).clamp(max=MOST_BALANCED)[classes]
    return weights * (len(weights) / weights.sum())
