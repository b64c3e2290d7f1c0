"""Pseudo-labels from weak views that the network learns on strong views (FixMatch, AdaMatch)."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from jaxtyping import Bool, Float32
from torch import Tensor, nn

from ruggedize.data import ImageBatch
from ruggedize.models import joint_logits
from ruggedize.train.average import decay_after
from ruggedize.train.distributed import sum_over_processes
from ruggedize.train.objectives.losses import (
    cross_entropy_sum,
    pseudo_label_metrics,
    soft_cross_entropies,
    student_metrics,
)
from ruggedize.train.objectives.noisy_student import target_distributions
from ruggedize.train.objectives.objective import (
    LABELLED,
    UNLABELLED,
    Batch,
    Context,
    Term,
    counts_of,
    hidden_labels,
    sources_with,
)
from ruggedize.train.objectives.options import FixMatchOptions, Sees

Probabilities = Float32[Tensor, "n k"]
log = logging.getLogger(__name__)
LEAST = 1e-6  # lower bound of a mean probability, so that the ratio stays finite


def make(options: FixMatchOptions, context: Context) -> "FixMatch":
    """Build the objective."""
    num_classes = len(context.train.classes)
    smoothing = options.label_smoothing
    highest = 1.0 - smoothing + smoothing / num_classes  # confidence that minimises the loss
    if highest < options.threshold and not options.relative_threshold:
        log.warning(
            "%s: with label_smoothing = %g, predictions tend to a confidence of %.3f at most, so "
            "few pseudo-labels reach threshold = %g; lower one of them",
            *(context.name, smoothing, highest, options.threshold),
        )
    statistics = Statistics(num_classes, options.statistics_decay, context.accelerator)
    return FixMatch(options, context, statistics)


class Statistics:
    """Moving averages of the predictions on weak views, equal in all processes.

    They cover only the steps before the current one, so that they do not depend on micro-batches.
    """

    def __init__(self, num_classes: int, decay: float, accelerator: Accelerator) -> None:
        self.num_classes, self.decay, self.accelerator = num_classes, decay, accelerator
        uniform = torch.full((num_classes,), 1.0 / num_classes, device=accelerator.device)
        self.labelled, self.unlabelled = uniform, uniform.clone()  # mean probabilities
        self.confidence = torch.ones(1, device=accelerator.device)  # mean, of labelled images
        self.reset()

    def reset(self) -> None:
        """Start the sums of a new step."""
        self.sums = torch.zeros(2 * self.num_classes + 3, device=self.accelerator.device)

    def add(self, labelled: Probabilities, unlabelled: Float32[Tensor, "m k"]) -> None:
        """Add the predictions of a micro-batch of this process to the sums of the step."""
        counts = self.sums.new_tensor([len(labelled), len(unlabelled)])
        confidence = labelled.amax(1).sum()[None]
        self.sums += torch.cat([labelled.sum(0), unlabelled.sum(0), confidence, counts])

    def update(self, step: int) -> None:
        """Move the averages towards the means of a step over all processes; counts from 1."""
        sums, k = sum_over_processes(self.accelerator)(self.sums), self.num_classes
        update_weight = 1.0 - decay_after(self.decay, step - 1)
        self.labelled = self.labelled.lerp(sums[:k] / sums[-2], update_weight)
        self.unlabelled = self.unlabelled.lerp(sums[k : 2 * k] / sums[-1], update_weight)
        self.confidence = self.confidence.lerp(sums[2 * k : 2 * k + 1] / sums[-2], update_weight)
        self.reset()


@dataclass(frozen=True)
class FixMatch:
    """Cross entropy with the labels on weak views plus cross entropy with confident pseudo-labels.

    The clean view is the weak one, the noisy view the strong one. All views share one forward pass,
    so that batch norm normalises them together.

    Source: Sohn et al. 2020, "FixMatch", equations 3 and 4. With `relative_threshold` and
    `distribution_alignment`: Berthelot et al. 2021, "AdaMatch", sections 3.2 and 3.3.
    Deviation: the mean confidence is a moving average over earlier steps, not a batch mean;
    of AdaMatch, neither the labels on strong views, nor the random interpolation of logits, nor
    the warm-up of the weight.
    """

    options: FixMatchOptions
    context: Context
    statistics: Statistics
    sees: Sees = FixMatchOptions.sees

    @property
    def sources(self) -> Mapping[str, int]:
        """Images per step from each source, as a multiple of the batch size."""
        return sources_with(self.options.unlabelled_ratio)

    def batch(self, images: Mapping[str, ImageBatch], epoch: int, step: int) -> Batch:
        """Make weak views of the labelled images, and both views of the others."""
        labelled, unlabelled = images[LABELLED], images[UNLABELLED]
        weak = self.context.maker.clean(labelled.images, labelled.index, epoch)
        clean, noisy = self.context.unlabelled_maker.pair(unlabelled.images, unlabelled.index, step)
        others = {"clean": clean, "noisy": noisy, **hidden_labels(unlabelled)}
        tensors = {LABELLED: {"clean": weak, "labels": labelled.labels}, UNLABELLED: others}
        return Batch(tensors, counts_of(labelled, unlabelled))

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Term]:
        """Return both loss terms and the metrics."""
        options, labels, others = self.options, batch[LABELLED]["labels"], batch[UNLABELLED]
        views = [batch[LABELLED]["clean"], others["clean"], others["noisy"]]
        logits, weak, strong = (each.float() for each in joint_logits(model, views))
        cross_entropy = cross_entropy_sum(
            logits, labels, options.label_smoothing, self.context.class_weights
        )
        probabilities = weak.detach().softmax(1)
        if options.uses_statistics:
            self.statistics.add(logits.detach().softmax(1), probabilities)
        probabilities, is_used = self.pseudo_labels(probabilities)
        targets = target_distributions(probabilities, options.pseudo_labels)
        losses = is_used * soft_cross_entropies(strong, targets)
        return {
            "cross_entropy": Term(cross_entropy, LABELLED),
            "consistency": Term(losses.sum(), UNLABELLED, options.weight),
            **student_metrics(logits, labels),
            **pseudo_label_metrics(strong, probabilities, others.get("hidden_labels"), is_used),
        }

    def pseudo_labels(
        self, probabilities: Probabilities
    ) -> tuple[Probabilities, Bool[Tensor, " n"]]:
        """Return the (aligned) probabilities, and which of them are confident enough."""
        threshold = torch.full((1,), self.options.threshold, device=probabilities.device)
        if self.options.relative_threshold:
            threshold = threshold * self.statistics.confidence
        if self.options.distribution_alignment:
            ratio = self.statistics.labelled / self.statistics.unlabelled.clamp(min=LEAST)
            probabilities = probabilities * ratio
            probabilities = probabilities / probabilities.sum(1, keepdim=True)
        return probabilities, probabilities.amax(1) >= threshold

    def after_step(self, model: nn.Module, step: int) -> None:
        """Update the statistics, if they are used."""
        if self.options.uses_statistics:
            self.statistics.update(step)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the statistics, if they are used."""
        if not self.options.uses_statistics:
            return {}
        names = ("labelled", "unlabelled", "confidence")
        return {name: getattr(self.statistics, name) for name in names}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the statistics."""
        for name, value in state.items():
            setattr(self.statistics, name, value.to(self.context.accelerator.device))
