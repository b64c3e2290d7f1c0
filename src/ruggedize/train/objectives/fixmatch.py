"""Pseudo-labels from weak views that the network learns on strong views (FixMatch, AdaMatch)."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from accelerate import Accelerator
from jaxtyping import Bool, Float32
from torch import Tensor, nn

from ruggedize.data import ImageBatch
from ruggedize.models import joint_logits
from ruggedize.train.average import decay_after
from ruggedize.train.distributed import sum_over_processes
from ruggedize.train.objectives.averaged_teacher import AveragedTeacher
from ruggedize.train.objectives.losses import (
    Logits,
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
STATISTICS = ("labelled", "unlabelled", "confidence")
AVERAGE = "average."  # prefix of the averaged weights in the state
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
    is_averaged = options.labels_from == "average"
    average = AveragedTeacher(context, options.average_decay) if is_averaged else None
    return FixMatch(options, context, statistics, average)


class Predictions(NamedTuple):
    """Logits of a step; those of the weak views have no gradient."""

    labelled: Logits  # of the network, to be trained on the labels
    strong: Logits  # of the network, to be trained on the pseudo-labels
    weak_labelled: Logits
    weak_unlabelled: Logits  # the pseudo-labels are made from these


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

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averages by name."""
        return {name: getattr(self, name) for name in STATISTICS}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Restore the averages."""
        for name in STATISTICS:
            setattr(self, name, state[name].to(self.accelerator.device))

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
    so that batch norm normalises them together. With `labels_from = "average"`, the average sees
    the weak views in one pass, the network what it is trained on in another.

    Source: Sohn et al. 2020, "FixMatch", equations 3 and 4. With `relative_threshold` and
    `distribution_alignment`: Berthelot et al. 2021, "AdaMatch", sections 3.2 and 3.3. With
    `labels_from = "average"`: Cai et al. 2021, "Exponential Moving Average Normalization for
    Self-supervised and Semi-supervised Learning", but normalised by the batch.
    Deviation: the mean confidence is a moving average over earlier steps, not a batch mean;
    of AdaMatch, neither the labels on strong views, nor the random interpolation of logits, nor
    the warm-up of the weight.
    """

    options: FixMatchOptions
    context: Context
    statistics: Statistics
    average: AveragedTeacher | None = None  # predicts the pseudo-labels
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
        options, labels = self.options, batch[LABELLED]["labels"]
        hidden = batch[UNLABELLED].get("hidden_labels")
        found = self.predictions(model, batch)
        cross_entropy = cross_entropy_sum(
            found.labelled, labels, options.label_smoothing, self.context.class_weights
        )
        probabilities = found.weak_unlabelled.softmax(1)
        if options.uses_statistics:
            self.statistics.add(found.weak_labelled.softmax(1), probabilities)
        probabilities, is_used = self.pseudo_labels(probabilities)
        targets = target_distributions(probabilities, options.pseudo_labels)
        losses = is_used * soft_cross_entropies(found.strong, targets)
        return {
            "cross_entropy": Term(cross_entropy, LABELLED),
            "consistency": Term(losses.sum(), UNLABELLED, options.weight),
            **student_metrics(found.labelled, labels),
            **pseudo_label_metrics(found.strong, probabilities, hidden, is_used),
        }

    def predictions(self, model: nn.Module, batch: Batch) -> Predictions:
        """Return the network's logits, and those that the pseudo-labels are made from."""
        weak = [batch[LABELLED]["clean"], batch[UNLABELLED]["clean"]]
        strong = batch[UNLABELLED]["noisy"]
        if self.average:
            ours, others = (each.float() for each in joint_logits(model, [weak[0], strong]))
            return Predictions(ours, others, *self.average.logits(weak))
        found = joint_logits(model, [*weak, strong])
        logits, pseudo, learned = (each.float() for each in found)
        return Predictions(logits, learned, logits.detach(), pseudo.detach())

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
        """Update the statistics and the average, if they are used."""
        if self.options.uses_statistics:
            self.statistics.update(step)
        if self.average:
            self.average.update(model, step)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the statistics and the averaged weights, if they are used."""
        state = self.statistics.state_dict() if self.options.uses_statistics else {}
        averages = self.average.state_dict() if self.average else {}
        return state | {f"{AVERAGE}{name}": weight for name, weight in averages.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the statistics and the averaged weights."""
        if self.average:
            names = [name for name in state if name.startswith(AVERAGE)]
            weights = {name.removeprefix(AVERAGE): state[name] for name in names}
            self.average.load_state_dict(weights)
        if self.options.uses_statistics:
            self.statistics.load_state_dict(state)
