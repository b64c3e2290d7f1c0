"""Supervised loss on noisy views plus agreement with an average of the network's weights."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from ruggedize.data import ImageBatch
from ruggedize.models import joint_logits
from ruggedize.train.objectives.averaged_teacher import AveragedTeacher
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
    return MeanTeacher(options, context, AveragedTeacher(context, options.decay))


@dataclass(frozen=True)
class MeanTeacher:
    """(1 - w) cross entropy(labels, student(noisy)) + w KL(teacher(clean) || student(noisy)).

    The divergence is the mean over all images, labelled or not.

    Source: Tarvainen & Valpola 2017, "Mean teachers are better role models".
    Deviation: KL divergence of softened predictions instead of the squared difference; no dropout
    in the teacher; from random weights the decay has a warm-up; the consistency weight has none.
    """

    options: MeanTeacherOptions
    context: Context
    teacher: AveragedTeacher
    sees: Sees = MeanTeacherOptions.sees

    @property
    def sources(self) -> Mapping[str, int]:
        """Images per step from each source, as a multiple of the batch size."""
        return sources_with(self.options.unlabelled_ratio)

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
        targets = self.teacher.logits([own["clean"] for own in sources])
        found = joint_logits(model, [own["noisy"] for own in sources])
        logits, target = found[0].float(), targets[0]
        cross_entropy = cross_entropy_sum(
            logits, labels, options.label_smoothing, self.context.class_weights
        )
        kl, per, metrics = softened_kl(logits, target, options.temperature), IMAGES, {}
        if UNLABELLED in batch.tensors:
            noisy, clean = found[1].float(), targets[1]
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

    def after_step(self, model: nn.Module, step: int) -> None:
        """Update the teacher's average with the student's weights."""
        self.teacher.update(model, step)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the teacher's weights."""
        return self.teacher.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the teacher's weights."""
        self.teacher.load_state_dict(state)


def both_views(images: ImageBatch, maker: ViewMaker, draw: int) -> dict[str, Tensor]:
    """Make a clean and a noisy view; `draw` is the number that their random draws depend on."""
    clean, noisy = maker.pair(images.images, images.index, draw)
    return {"clean": clean, "noisy": noisy}
