"""Supervised loss on clean views plus consistency of clean and two noisy views (AugMix)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ruggedize.core import seeding
from ruggedize.data import ImageBatch
from ruggedize.models import joint_logits
from ruggedize.train.objectives.losses import (
    cross_entropy_sum,
    jensen_shannon_sum,
    pseudo_label_metrics,
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
from ruggedize.train.objectives.options import JsdOptions, Sees
from ruggedize.views import ViewMaker


def make(options: JsdOptions, context: Context) -> "Jsd":
    """Build the objective."""
    return Jsd(options, context)


@dataclass(frozen=True)
class Jsd:
    """Cross entropy of the clean view plus the weighted Jensen-Shannon divergence of all three.

    The divergence is the mean over all images, labelled or not.

    Source: Hendrycks et al. 2020, "AugMix", section 3 and equation 1 (weight 12).
    Deviation: the second noisy view has its own crop and flip, whatever `views.geometry` says.
    """

    options: JsdOptions
    context: Context
    sees: Sees = JsdOptions.sees

    @property
    def sources(self) -> Mapping[str, int]:
        """Images per step from each source, as a multiple of the batch size."""
        return sources_with(self.options.unlabelled_ratio)

    def batch(self, images: Mapping[str, ImageBatch], epoch: int, step: int) -> Batch:
        """Make three views of each image, `[n, 3, c, h, w]`."""
        labelled, unlabelled = images[LABELLED], images.get(UNLABELLED)
        views = three_views(labelled, self.context.maker, epoch)
        tensors = {LABELLED: {"views": views, "labels": labelled.labels}}
        if unlabelled is not None:
            views = three_views(unlabelled, self.context.unlabelled_maker, step)
            tensors[UNLABELLED] = {"views": views, **hidden_labels(unlabelled)}
        return Batch(tensors, counts_of(labelled, unlabelled))

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Term]:
        """Return both loss terms and the metrics."""
        labels = batch[LABELLED]["labels"]
        sources = [batch[source] for source in (LABELLED, UNLABELLED) if source in batch.tensors]
        found = [each.float() for each in joint_logits(model, [own["views"] for own in sources])]
        clean, smoothing = found[0][:, 0], self.options.label_smoothing
        cross_entropy = cross_entropy_sum(clean, labels, smoothing, self.context.class_weights)
        divergence, per, metrics = jensen_shannon_sum(found[0]), IMAGES, {}
        if UNLABELLED in batch.tensors:
            divergence, per = divergence + jensen_shannon_sum(found[1]), EVERY
            targets = found[1][:, 0].detach().softmax(1)
            hidden = sources[1].get("hidden_labels")
            metrics = pseudo_label_metrics(found[1][:, 1], targets, hidden)
        return {
            "cross_entropy": Term(cross_entropy, LABELLED),
            "consistency": Term(divergence, per, self.options.weight),
            **student_metrics(clean, labels),
            **metrics,
        }


def three_views(images: ImageBatch, maker: ViewMaker, draw: int) -> Tensor:
    """Make a clean and two noisy views of each image; the second noisy view has its own draws."""
    second = maker.with_other_noise(int(seeding.stream_key(maker.seed, "second-noisy-view")))
    clean, noisy = maker.pair(images.images, images.index, draw)
    return torch.stack([clean, noisy, second.noisy(images.images, images.index, draw)], dim=1)
