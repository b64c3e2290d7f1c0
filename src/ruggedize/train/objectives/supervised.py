"""Cross entropy with the labels, on clean or on noisy views."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from ruggedize.data import ImageBatch
from ruggedize.train.objectives.losses import cross_entropy_sum, student_metrics
from ruggedize.train.objectives.objective import (
    LABELLED,
    Batch,
    ClassWeights,
    Context,
    Sees,
    Term,
    counts_of,
)
from ruggedize.train.objectives.options import SupervisedOptions
from ruggedize.views import ViewMaker


def make(options: SupervisedOptions, context: Context) -> "Supervised":
    """Build the objective; it uses clean views by default."""
    return Supervised(options, context.maker, context.views or "clean", context.class_weights)


@dataclass(frozen=True)
class Supervised:
    """Cross entropy with the labels."""

    options: SupervisedOptions
    maker: ViewMaker
    sees: Sees
    class_weights: ClassWeights | None
    sources: Mapping[str, int] = field(default_factory=lambda: {LABELLED: 1})

    def batch(self, images: Mapping[str, ImageBatch], epoch: int, step: int) -> Batch:
        """Make one view of each image."""
        labelled = images[LABELLED]
        make_view = self.maker.clean if self.sees == "clean" else self.maker.noisy
        view = make_view(labelled.images, labelled.index, epoch)
        return Batch({LABELLED: {"view": view, "labels": labelled.labels}}, counts_of(labelled))

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Term]:
        """Return the cross entropy and the metrics."""
        logits, labels = model(batch[LABELLED]["view"]).float(), batch[LABELLED]["labels"]
        smoothing = self.options.label_smoothing
        cross_entropy = cross_entropy_sum(logits, labels, smoothing, self.class_weights)
        return {"cross_entropy": Term(cross_entropy, LABELLED)} | student_metrics(logits, labels)
