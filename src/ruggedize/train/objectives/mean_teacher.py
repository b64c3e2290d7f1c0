"""Supervised loss on noisy views plus agreement with an average of the network's weights."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn

from ruggedize.data import ImageBatch
from ruggedize.train.average import decay_after
from ruggedize.train.objectives.objective import (
    IMAGES,
    LABELLED,
    Batch,
    ClassWeights,
    Context,
    Term,
    agreement_metrics,
    counts_of,
    cross_entropy_sum,
    softened_kl,
    student_metrics,
)
from ruggedize.train.objectives.options import MeanTeacherOptions
from ruggedize.views import ViewMaker


def make(options: MeanTeacherOptions, context: Context) -> "MeanTeacher":
    """Build the objective."""
    return MeanTeacher(options, context.maker, context.model, context.class_weights)


@dataclass(frozen=True)
class MeanTeacher:
    """(1 - w) cross entropy(labels, student(noisy)) + w KL(teacher(clean) || student(noisy)).

    The teacher is the exponential moving average of the student's weights, updated after every
    step. Its batch norm uses the batch statistics, as the student's does.

    Source: Tarvainen & Valpola 2017, "Mean teachers are better role models".
    Deviation: KL divergence of softened predictions instead of the squared difference; the decay
    has a warm-up, the consistency weight has none.
    """

    options: MeanTeacherOptions
    maker: ViewMaker
    student: nn.Module
    class_weights: ClassWeights | None
    sees: Literal["noisy"] = "noisy"
    sources: Mapping[str, int] = field(default_factory=lambda: {LABELLED: 1})

    @cached_property
    def teacher(self) -> nn.Module:
        """The averaged network, initially a copy of the student."""
        return copy.deepcopy(self.student).requires_grad_(False).train()

    def batch(self, images: Mapping[str, ImageBatch], epoch: int, step: int) -> Batch:
        """Make a clean and a noisy view of each image."""
        labelled = images[LABELLED]
        clean, noisy = self.maker.pair(labelled.images, labelled.index, epoch)
        tensors = {"clean": clean, "noisy": noisy, "labels": labelled.labels}
        return Batch({LABELLED: tensors}, counts_of(labelled))

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Term]:
        """Return both loss terms and the metrics."""
        tensors, options = batch[LABELLED], self.options
        with torch.no_grad():
            target = self.teacher(tensors["clean"]).float()
        logits = model(tensors["noisy"]).float()
        cross_entropy = cross_entropy_sum(
            logits, tensors["labels"], options.label_smoothing, self.class_weights
        )
        kl = softened_kl(logits, target, options.temperature)
        return {
            "cross_entropy": Term(cross_entropy, LABELLED, 1.0 - options.consistency_weight),
            "consistency": Term(kl, IMAGES, options.consistency_weight),
            **student_metrics(logits, tensors["labels"]),
            **agreement_metrics(logits, target),
        }

    @torch.no_grad()
    def after_step(self, model: nn.Module, step: int) -> None:
        """Update the teacher's average with the student's weights."""
        update_weight = 1.0 - decay_after(self.options.decay, step)
        weights = [weight.detach() for weight in model.parameters()]
        averages = list(self.teacher.parameters())
        torch._foreach_lerp_(averages, weights, update_weight)  # pyright: ignore

    def state_dict(self) -> dict[str, Tensor]:
        """Return the teacher's weights; its batch-norm running statistics are not used."""
        return dict(self.teacher.named_parameters())

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the teacher's weights."""
        for name, weight in self.teacher.named_parameters():
            weight.copy_(state[name])
