"""Supervised loss on noisy views plus agreement with a frozen teacher on clean views."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Literal

import torch
from torch import Tensor, nn

from ruggedize.core.errors import UserError
from ruggedize.data import ImageBatch
from ruggedize.models import Classifier
from ruggedize.train.objectives.objective import (
    IMAGES,
    LABELLED,
    Batch,
    Context,
    Term,
    agreement_metrics,
    counts_of,
    cross_entropy_sum,
    softened_kl,
    student_metrics,
)
from ruggedize.train.objectives.options import ConsistencyOptions
from ruggedize.train.objectives.targets import precomputed_logits


def make(options: ConsistencyOptions, context: Context) -> "Consistency":
    """Build the objective; it needs one teacher unless the weight is 0.

    Raises:
        UserError: there is no teacher, or more than one, or the views cannot be cached.
    """
    if options.consistency_weight == 0:
        return Consistency(options, context, None)
    if len(context.teachers) != 1:
        raise UserError(
            f"{context.name}: consistency needs one teacher, got {len(context.teachers)};\n"
            'set learns_from to one stage, or use objective = "supervised"'
        )
    views = context.maker.options
    if options.cached_targets and views.is_resampled:
        option = "crop_mode" if views.crops_originals else "resize"
        raise UserError(
            f"{context.name}: cached_targets needs views that are only flipped and cropped, got "
            f"views.{option} = {getattr(views, option)};\n"
            f"remove views.{option} or cached_targets"
        )
    (teacher,) = context.teachers.values()
    return Consistency(options, context, teacher)


@dataclass(frozen=True)
class Consistency:
    """(1 - w) cross entropy(labels, student(noisy)) + w KL(teacher(clean) || student(noisy)).

    Source: the Keras example "Consistency training with supervision" (w = 1/2, T = 10, no T^2);
    Hinton et al. 2015 for T^2. With w = 0 there is no teacher.
    """

    options: ConsistencyOptions
    context: Context
    teacher: nn.Module | None
    sees: Literal["noisy"] = "noisy"
    sources: Mapping[str, int] = field(default_factory=lambda: {LABELLED: 1})

    def batch(self, images: Mapping[str, ImageBatch], epoch: int, step: int) -> Batch:
        """Make the noisy view, and the clean view or the teacher's precomputed logits for it."""
        labelled, maker = images[LABELLED], self.context.maker
        tensors = {"labels": labelled.labels}
        drawn = self.options.clean_view == "drawn"
        if self._teacher_logits is not None:
            number = maker.clean_numbers(labelled.index, epoch) if drawn else 0
            tensors["target"] = self._teacher_logits[labelled.index, number]
        elif self.teacher is not None and drawn:
            tensors["clean"], tensors["noisy"] = maker.pair(labelled.images, labelled.index, epoch)
        elif self.teacher is not None:
            tensors["clean"] = maker.test(labelled.images)
        if "noisy" not in tensors:
            tensors["noisy"] = maker.noisy(labelled.images, labelled.index, epoch)
        return Batch({LABELLED: tensors}, counts_of(labelled))

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Term]:
        """Return both loss terms and the metrics."""
        options, tensors = self.options, batch[LABELLED]
        logits = model(tensors["noisy"]).float()
        labels, smoothing = tensors["labels"], options.label_smoothing
        cross_entropy = cross_entropy_sum(logits, labels, smoothing, self.context.class_weights)
        metrics = student_metrics(logits, labels)
        if self.teacher is None:
            return {"cross_entropy": Term(cross_entropy, LABELLED)} | metrics
        target = tensors.get("target")
        if target is None:
            target = frozen_logits(self.teacher, tensors["clean"])
        kl = softened_kl(logits, target, options.temperature) * options.kl_scale
        weight = options.consistency_weight
        return {
            "cross_entropy": Term(cross_entropy, LABELLED, 1.0 - weight),
            "consistency": Term(kl, IMAGES, weight),
            **metrics,
            **agreement_metrics(logits, target),
        }

    @cached_property
    def _teacher_logits(self) -> Tensor | None:
        """The teacher's logits for every clean view, if precomputed; built at the first batch."""
        context, teacher, drawn = self.context, self.teacher, self.options.clean_view == "drawn"
        if teacher is None or (drawn and not self.options.cached_targets):
            return None
        assert isinstance(teacher, Classifier)
        views = [teacher.test_view]
        if drawn:
            numbers = range(context.maker.num_clean_views)
            views = [partial(context.maker.numbered_clean, number=number) for number in numbers]
        return precomputed_logits(
            teacher, context.train, views, context.precision, context.accelerator, context.progress
        )


@torch.no_grad()
def frozen_logits(teacher: nn.Module, clean: Tensor) -> Tensor:
    """Return the teacher's logits in float32, without gradients."""
    return teacher(clean).float()
