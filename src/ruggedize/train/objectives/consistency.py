"""Learn the labels from noisy views, and agree with a frozen teacher's answer to clean ones."""

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
from ruggedize.train.objectives.targets import known_targets


def make(options: ConsistencyOptions, context: Context) -> "Consistency":
    """Return the objective; it needs one teacher unless the weight is 0.

    Raises:
        UserError: there is no teacher, or more than one, or `cached_targets` cannot be had.
    """
    if options.consistency_weight == 0:
        return Consistency(options, context, None)
    if len(context.teachers) != 1:
        raise UserError(
            f"{context.name}: consistency needs one teacher, got {len(context.teachers)};\n"
            'name one stage with learns_from, or take objective = "supervised"'
        )
    if options.cached_targets and context.maker.options.resize is not None:
        raise UserError(
            f"{context.name}: cached_targets needs views that are only flipped and cropped, got "
            f"views.resize = {context.maker.options.resize};\n"
            "leave views.resize or cached_targets out"
        )
    (teacher,) = context.teachers.values()
    return Consistency(options, context, teacher)


@dataclass(frozen=True)
class Consistency:
    """(1 - w) cross entropy(labels, student(noisy)) + w KL(teacher(clean) || student(noisy)).

    Source: the Keras example "Consistency training with supervision" (w = 1/2, T = 10, no T^2);
    Hinton et al. 2015 for T^2. With w = 0 there is no teacher and only the labels remain.
    """

    options: ConsistencyOptions
    context: Context
    teacher: nn.Module | None
    sees: Literal["noisy"] = "noisy"
    sources: Mapping[str, int] = field(default_factory=lambda: {LABELLED: 1})

    def batch(self, images: Mapping[str, ImageBatch], epoch: int, step: int) -> Batch:
        """Make the noisy view, and a clean one or the teacher's logits for it."""
        part, maker = images[LABELLED], self.context.maker
        tensors = {"labels": part.labels}
        drawn = self.options.clean_view == "drawn"
        if self._known is not None:
            number = maker.clean_numbers(part.index, epoch) if drawn else 0
            tensors["target"] = self._known[part.index, number]
        elif self.teacher is not None and drawn:
            tensors["clean"], tensors["noisy"] = maker.pair(part.images, part.index, epoch)
        elif self.teacher is not None:
            tensors["clean"] = maker.test(part.images)
        if "noisy" not in tensors:
            tensors["noisy"] = maker.noisy(part.images, part.index, epoch)
        return Batch({LABELLED: tensors}, counts_of(part))

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Term]:
        """Return both parts and the metrics."""
        options, own = self.options, batch[LABELLED]
        logits = model(own["noisy"]).float()
        cross_entropy = cross_entropy_sum(logits, own["labels"], options.label_smoothing)
        metrics = student_metrics(logits, own["labels"])
        if self.teacher is None:
            return {"cross_entropy": Term(cross_entropy, LABELLED)} | metrics
        target = own["target"] if "target" in own else frozen_logits(self.teacher, own["clean"])
        kl = softened_kl(logits, target, options.temperature) * options.kl_scale
        weight = options.consistency_weight
        return {
            "cross_entropy": Term(cross_entropy, LABELLED, 1.0 - weight),
            "consistency": Term(kl, IMAGES, weight),
            **metrics,
            **agreement_metrics(logits, target),
        }

    @cached_property
    def _known(self) -> Tensor | None:
        """The teacher's logits for every clean view; None: it is asked in every step."""
        context, teacher, drawn = self.context, self.teacher, self.options.clean_view == "drawn"
        if teacher is None or (drawn and not self.options.cached_targets):
            return None
        assert isinstance(teacher, Classifier)
        views = [teacher.test_view]
        if drawn:
            numbers = range(context.maker.num_clean_views)
            views = [partial(context.maker.numbered_clean, number=number) for number in numbers]
        return known_targets(
            teacher, context.train, views, context.precision, context.accelerator, context.progress
        )


@torch.no_grad()
def frozen_logits(teacher: nn.Module, clean: Tensor) -> Tensor:
    """Return the teacher's logits."""
    return teacher(clean).float()
