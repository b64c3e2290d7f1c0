"""Supervised loss on noisy views plus agreement with an average of the network's weights."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from ruggedize.data import ImageBatch
from ruggedize.models import batch_norms, joint_logits
from ruggedize.train.average import decay_after
from ruggedize.train.objectives.losses import (
    agreement_metrics,
    confident_kl,
    cross_entropy_sum,
    softened_kl,
    student_metrics,
)
from ruggedize.train.objectives.objective import (
    EVERY,
    IMAGES,
    LABELLED,
    UNLABELLED,
    Batch,
    Context,
    Term,
    counts_of,
    hidden_labels,
    sources_with,
)
from ruggedize.train.objectives.options import MeanTeacherOptions, Sees
from ruggedize.views import ViewMaker


def make(options: MeanTeacherOptions, context: Context) -> "MeanTeacher":
    """Build the objective."""
    return MeanTeacher(options, context)


@dataclass(frozen=True)
class MeanTeacher:
    """(1 - w) cross entropy(labels, student(noisy)) + w KL(teacher(clean) || student(noisy)).

    The teacher is the exponential moving average of the student's weights, updated after every
    step. Its batch norm normalises as the student's does: by the batch, or in a linear probe by the
    running statistics. Nothing in it is dropped. The divergence is the mean over all images,
    labelled or not.

    Source: Tarvainen & Valpola 2017, "Mean teachers are better role models".
    Deviation: KL divergence of softened predictions instead of the squared difference; no dropout
    in the teacher; from random weights the decay has a warm-up; the consistency weight has none.
    """

    options: MeanTeacherOptions
    context: Context
    sees: Sees = MeanTeacherOptions.sees

    @property
    def sources(self) -> Mapping[str, int]:
        """Images per step from each source, as a multiple of the batch size."""
        return sources_with(self.options.unlabelled_ratio)

    @cached_property
    def teacher(self) -> nn.Module:
        """The averaged network, initially a copy of the student; nothing in it is dropped."""
        teacher = copy.deepcopy(self.context.model).requires_grad_(False).eval()
        match_batch_norm_modes(teacher, self.context.model)
        return teacher

    def batch(self, images: Mapping[str, ImageBatch], epoch: int, step: int) -> Batch:
        """Make a clean and a noisy view of each image."""
        labelled, unlabelled = images[LABELLED], images.get(UNLABELLED)
        tensors = {LABELLED: both_views(labelled, self.context.maker, epoch)}
        tensors[LABELLED]["labels"] = labelled.labels
        if unlabelled is not None:
            views = both_views(unlabelled, self.context.unlabelled_maker, step)
            tensors[UNLABELLED] = views | hidden_labels(unlabelled)
        return Batch(tensors, counts_of(labelled, unlabelled))

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Term]:
        """Return both loss terms and the metrics."""
        options, labels = self.options, batch[LABELLED]["labels"]
        sources = [batch[source] for source in (LABELLED, UNLABELLED) if source in batch.tensors]
        match_batch_norm_modes(self.teacher, self.context.model)
        with torch.no_grad():
            targets = joint_logits(self.teacher, [own["clean"] for own in sources])
        found = joint_logits(model, [own["noisy"] for own in sources])
        logits, target = found[0].float(), targets[0].float()
        cross_entropy = cross_entropy_sum(
            logits, labels, options.label_smoothing, self.context.class_weights
        )
        kl, per, metrics = softened_kl(logits, target, options.temperature), IMAGES, {}
        if UNLABELLED in batch.tensors:
            noisy, clean = found[1].float(), targets[1].float()
            hidden = sources[1].get("hidden_labels")
            more, metrics = confident_kl(noisy, clean, options, hidden)
            kl, per = kl + more, EVERY
        return {
            "cross_entropy": Term(cross_entropy, LABELLED, 1.0 - options.consistency_weight),
            "consistency": Term(kl * options.kl_scale, per, options.consistency_weight),
            **student_metrics(logits, labels),
            **agreement_metrics(logits, target),
            **metrics,
        }

    @torch.no_grad()
    def after_step(self, model: nn.Module, step: int) -> None:
        """Update the teacher's average with the student's weights."""
        decay = self.options.decay  # a warm-up would drop trained weights within a few steps
        update_weight = 1.0 - (decay if self.context.starts_trained else decay_after(decay, step))
        weights = [weight.detach() for weight in model.parameters()]
        averages = list(self.teacher.parameters())
        torch._foreach_lerp_(averages, weights, update_weight)  # pyright: ignore

    def state_dict(self) -> dict[str, Tensor]:
        """Return the teacher's weights; its running statistics are the student's first ones."""
        return dict(self.teacher.named_parameters())

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the teacher's weights."""
        for name, weight in self.teacher.named_parameters():
            weight.copy_(state[name])


def match_batch_norm_modes(teacher: nn.Module, student: nn.Module) -> None:
    """Set the teacher's batch-norm layers to the mode (training or eval) of the student's."""
    for averaged, trained in zip(batch_norms(teacher), batch_norms(student), strict=True):
        averaged.train(trained.training)


def both_views(images: ImageBatch, maker: ViewMaker, draw: int) -> dict[str, Tensor]:
    """Make a clean and a noisy view; `draw` is the number that their random draws depend on."""
    clean, noisy = maker.pair(images.images, images.index, draw)
    return {"clean": clean, "noisy": noisy}
