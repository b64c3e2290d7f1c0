"""Cross entropy with the labels, on clean or on noisy views."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor, nn

from ruggedize.data import ImageBatch
from ruggedize.train.objectives.losses import cross_entropy_sum, student_metrics
from ruggedize.train.objectives.objective import (
    LABELLED,
    Batch,
    ClassWeights,
    Context,
    Term,
    counts_of,
)
from ruggedize.train.objectives.options import Sees, SupervisedOptions
from ruggedize.views import ViewMaker


def make(options: SupervisedOptions, context: Context) -> "Supervised":
    """Build the objective; it uses clean views by default."""
    return Supervised(options, context.maker, context.views or options.sees, context.class_weights)


@dataclass(frozen=True)
class Supervised:
    """Cross entropy with the labels."""

    options: SupervisedOptions
    maker: ViewMaker
    sees: Sees
    class_weights: ClassWeights | None
    sources: Mapping[str, int] = field(default_factory=lambda: {LABELLED: 1})

    def batch(self, images: Mapping[str, ImageBatch], epoch: int, step: int) -> Batch:
        """Make one view of each image, and "mixed_labels" if its noise mixes labels: `[n, k]`."""
        labelled = images[LABELLED]
        make_view = self.maker.clean if self.sees == "clean" else self.maker.noisy
        view = make_view(labelled.images, labelled.index, epoch)
        tensors = {"view": view, "labels": labelled.labels}
        if self.sees == "noisy":
            mixed = self.maker.mixed_labels(labelled.labels, labelled.index, epoch)
            tensors |= {} if mixed is None else {"mixed_labels": mixed}
        return Batch({LABELLED: tensors}, counts_of(labelled))

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Term]:
        """Return the cross entropy and the metrics."""
        logits, labels = model(batch[LABELLED]["view"]).float(), batch[LABELLED]["labels"]
        smoothing = self.options.label_smoothing
        mixed = batch[LABELLED].get("mixed_labels")
        if mixed is None:
            cross_entropy = cross_entropy_sum(logits, labels, smoothing, self.class_weights)
        else:
            cross_entropy = mixed_cross_entropy_sum(logits, mixed, smoothing, self.class_weights)
        return {"cross_entropy": Term(cross_entropy, LABELLED)} | student_metrics(logits, labels)


def mixed_cross_entropy_sum(
    logits: Float[Tensor, "n k"],
    mixed_labels: Float32[Tensor, "n k"],
    smoothing: float,
    class_weights: ClassWeights | None,
) -> Float32[Tensor, ""]:
    """Return the cross entropy with mixed labels, summed over the images.

    Each image's cross entropy is multiplied by the mean weight of its classes, weighted by their
    shares. Rows of zeros (unlabelled images) are ignored.
    """
    losses = F.cross_entropy(logits, mixed_labels, reduction="none", label_smoothing=smoothing)
    if class_weights is None:
        return (mixed_labels.sum(1) * losses).sum()
    return (mixed_labels @ class_weights * losses).sum()
