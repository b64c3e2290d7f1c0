"""Learn the labels from noisy views, and agree with the network's own running average."""

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
    """Return the objective."""
    return MeanTeacher(options, context.maker, context.model)


@dataclass(frozen=True)
class MeanTeacher:
    """(1 - w) cross entropy(labels, student(noisy)) + w KL(teacher(clean) || student(noisy)).

    The teacher is the exponential moving average of the student's weights, updated after every
    step. It normalises by the statistics of the batch, as the student does.

    Source: Tarvainen & Valpola 2017, "Mean teachers are better role models".
    Deviation: the KL divergence of softened predictions in place of the squared difference; the
    decay warms up, and the weight does not.
    """

    options: MeanTeacherOptions
    maker: ViewMaker
    student: nn.Module
    sees: Literal["noisy"] = "noisy"
    sources: Mapping[str, int] = field(default_factory=lambda: {LABELLED: 1})

    @cached_property
    def teacher(self) -> nn.Module:
        """The average; it begins as a copy of the student."""
        return copy.deepcopy(self.student).requires_grad_(False).train()

    def batch(self, images: Mapping[str, ImageBatch], epoch: int, step: int) -> Batch:
        """Make a clean and a noisy view of each image."""
        part = images[LABELLED]
        clean, noisy = self.maker.pair(part.images, part.index, epoch)
        tensors = {"clean": clean, "noisy": noisy, "labels": part.labels}
        return Batch({LABELLED: tensors}, counts_of(part))

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Term]:
        """Return both parts and the metrics."""
        own, options = batch[LABELLED], self.options
        with torch.no_grad():
            target = self.teacher(own["clean"]).float()
        logits = model(own["noisy"]).float()
        cross_entropy = cross_entropy_sum(logits, own["labels"], options.label_smoothing)
        kl = softened_kl(logits, target, options.temperature)
        return {
            "cross_entropy": Term(cross_entropy, LABELLED, 1.0 - options.consistency_weight),
            "consistency": Term(kl, IMAGES, options.consistency_weight),
            **student_metrics(logits, own["labels"]),
            **agreement_metrics(logits, target),
        }

    @torch.no_grad()
    def after_step(self, model: nn.Module, step: int) -> None:
        """Move the teacher towards the student."""
        share = 1.0 - decay_after(self.options.decay, step)
        weights = [weight.detach() for weight in model.parameters()]
        torch._foreach_lerp_(list(self.teacher.parameters()), weights, share)  # pyright: ignore

    def state_dict(self) -> dict[str, Tensor]:
        """Return the teacher's weights; its running statistics are never used."""
        return dict(self.teacher.named_parameters())

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue with saved weights."""
        for name, weight in self.teacher.named_parameters():
            weight.copy_(state[name])
