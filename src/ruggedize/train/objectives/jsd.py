"""Supervised loss on clean views plus consistency of clean and two noisy views (AugMix)."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import nn

from ruggedize.core import seeding
from ruggedize.data import ImageBatch
from ruggedize.models import several_views
from ruggedize.train.objectives.objective import (
    IMAGES,
    LABELLED,
    Batch,
    ClassWeights,
    Context,
    Term,
    counts_of,
    cross_entropy_sum,
    jensen_shannon_sum,
    student_metrics,
)
from ruggedize.train.objectives.options import JsdOptions
from ruggedize.views import ViewMaker

NUM_VIEWS = 3  # clean, noisy, noisy


def make(options: JsdOptions, context: Context) -> "Jsd":
    """Build the objective; the second noisy view has its own random stream."""
    maker = context.maker
    second = replace(maker, seed=int(seeding.stream_key(maker.seed, "second-noisy-view")))
    return Jsd(options, maker, second, context.class_weights)


@dataclass(frozen=True)
class Jsd:
    """Cross entropy of the clean view plus the weighted Jensen-Shannon divergence of all three.

    Source: Hendrycks et al. 2020, "AugMix", section 3 and equation 1 (weight 12).
    """

    options: JsdOptions
    maker: ViewMaker
    second: ViewMaker
    class_weights: ClassWeights | None
    sees: Literal["noisy"] = "noisy"
    sources: Mapping[str, int] = field(default_factory=lambda: {LABELLED: 1})

    def batch(self, images: Mapping[str, ImageBatch], epoch: int, step: int) -> Batch:
        """Make three views of each image, `[n, 3, c, h, w]`."""
        labelled = images[LABELLED]
        clean, noisy = self.maker.pair(labelled.images, labelled.index, epoch)
        second_noisy = self.second.noisy(labelled.images, labelled.index, epoch)
        views = torch.stack([clean, noisy, second_noisy], dim=1)
        return Batch({LABELLED: {"views": views, "labels": labelled.labels}}, counts_of(labelled))

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Term]:
        """Return both loss terms and the metrics.

        The views of an image are adjacent rows; ghost batch norm keeps them in the same group.
        """
        views, labels = batch[LABELLED]["views"], batch[LABELLED]["labels"]
        with several_views(model, NUM_VIEWS):
            logits = model(views.flatten(0, 1)).float()
        logits = logits.unflatten(0, (len(views), NUM_VIEWS))
        clean = logits[:, 0]
        smoothing = self.options.label_smoothing
        cross_entropy = cross_entropy_sum(clean, labels, smoothing, self.class_weights)
        return {
            "cross_entropy": Term(cross_entropy, LABELLED),
            "consistency": Term(jensen_shannon_sum(logits), IMAGES, self.options.weight),
            **student_metrics(clean, labels),
        }
