"""Learn the labels from clean views, and predict the same for clean and two noisy views."""

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
    """Return the objective; the second noisy view has draws of its own."""
    maker = context.maker
    second = replace(maker, seed=int(seeding.stream_key(maker.seed, "second-noisy-view")))
    return Jsd(options, maker, second)


@dataclass(frozen=True)
class Jsd:
    """Cross entropy of the clean view plus the weighted Jensen-Shannon divergence of all three.

    Source: Hendrycks et al. 2020, "AugMix", section 3 and equation 1 (weight 12).
    """

    options: JsdOptions
    maker: ViewMaker
    second: ViewMaker
    sees: Literal["noisy"] = "noisy"
    sources: Mapping[str, int] = field(default_factory=lambda: {LABELLED: 1})

    def batch(self, images: Mapping[str, ImageBatch], epoch: int, step: int) -> Batch:
        """Make three views of each image, `[n, 3, c, h, w]`."""
        part = images[LABELLED]
        clean, noisy = self.maker.pair(part.images, part.index, epoch)
        other = self.second.noisy(part.images, part.index, epoch)
        views = torch.stack([clean, noisy, other], dim=1)
        return Batch({LABELLED: {"views": views, "labels": part.labels}}, counts_of(part))

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Term]:
        """Return both parts and the metrics.

        The views of an image are neighbours, and ghost batch norm keeps them in one part.
        """
        views, labels = batch[LABELLED]["views"], batch[LABELLED]["labels"]
        with several_views(model, NUM_VIEWS):
            logits = model(views.flatten(0, 1)).float()
        logits = logits.unflatten(0, (len(views), NUM_VIEWS))
        clean = logits[:, 0]
        cross_entropy = cross_entropy_sum(clean, labels, self.options.label_smoothing)
        return {
            "cross_entropy": Term(cross_entropy, LABELLED),
            "consistency": Term(jensen_shannon_sum(logits), IMAGES, self.options.weight),
            **student_metrics(clean, labels),
        }
