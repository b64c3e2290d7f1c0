"""Validation: loss and accuracy over every labelled validation image."""

import math
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from jaxtyping import Float64
from torch import Tensor, nn

from ruggedize.data import ImageSet
from ruggedize.models import Classifier, inference_batch_size, logits_of
from ruggedize.train.distributed import sum_over_processes

Metric = Literal["loss", "accuracy"]
SIGNIFICANT = 2.0  # standard errors


class Score(NamedTuple):
    """Mean cross entropy (nats) and accuracy (fraction) over the labelled validation images."""

    loss: float
    accuracy: float

    def metric(self, watch: Metric) -> float:
        """Return the watched metric, negated if higher is better."""
        return self.loss if watch == "loss" else -self.accuracy


class Outcomes(NamedTuple):
    """Loss and accuracy of each labelled image that this process has validated."""

    loss: Float64[Tensor, " n"]
    accuracy: Float64[Tensor, " n"]  # 1 where the prediction is correct, else 0


class Difference(NamedTuple):
    """Raw weights minus their average, paired over the labelled validation images."""

    metric: Metric
    raw_minus_average: float
    standard_error: float | None  # None with a single image
    num_images: int
    score_error: float  # standard error of the average's score; 0 with a single image

    @property
    def raw_is_better(self) -> bool:
        """Whether the raw weights are clearly better.

        Their gain must exceed two standard errors of the difference, and one of the score: paired
        losses of similar weights differ by little, but consistently.
        """
        if self.standard_error is None:
            return False
        gain = self.raw_minus_average if self.metric == "accuracy" else -self.raw_minus_average
        return gain > max(SIGNIFICANT * self.standard_error, self.score_error)


@torch.no_grad()
def outcomes(
    network: nn.Module,
    image_set: ImageSet,
    classifier: Classifier,
    autocast: torch.autocast,
    accelerator: Accelerator,
) -> Outcomes:
    """Compute loss and accuracy of this process's share of the images, on their test views.

    Unlabelled images (label -1) are skipped.
    """
    device = accelerator.device
    training = network.training
    network.eval()
    losses, hits = ([torch.zeros(0, dtype=torch.float64, device=device)] for _ in range(2))
    labelled = np.flatnonzero(image_set.labels.numpy() >= 0)
    mine = labelled[accelerator.process_index :: accelerator.num_processes]
    size = inference_batch_size(classifier.input_size)
    positions = [mine[start : start + size] for start in range(0, len(mine), size)]
    for batch in image_set.batches(positions):
        view = classifier.test_view(batch.stored).to(device)
        target = batch.labels.to(device)
        with autocast:
            logits = logits_of(network, view).float()
        losses.append(F.cross_entropy(logits, target, reduction="none").double())
        hits.append((logits.argmax(1) == target).double())
    network.train(training)
    return Outcomes(torch.cat(losses), torch.cat(hits))


def score(found: Outcomes, accelerator: Accelerator) -> Score:
    """Return mean loss and accuracy over the images of all processes."""
    n = found.loss.new_tensor(len(found.loss))
    sums = torch.stack([found.loss.sum(), found.accuracy.sum(), n])
    loss, correct, n = sum_over_processes(accelerator)(sums).tolist()
    return Score(loss / n, correct / n)


def standard_error(found: Outcomes, metric: Metric, accelerator: Accelerator) -> float:
    """Return the standard error of a metric over the images of all processes; 0 for one image."""
    return error_of_mean(*moments(getattr(found, metric), accelerator)) or 0.0


def moments(each: Float64[Tensor, " n"], accelerator: Accelerator) -> tuple[float, float, float]:
    """Return sum, sum of squares and number of values over all processes."""
    sums = torch.stack([each.sum(), each.square().sum(), each.new_tensor(len(each))])
    total, squares, n = sum_over_processes(accelerator)(sums).tolist()
    return total, squares, n


def error_of_mean(total: float, squares: float, n: float) -> float | None:
    """Return the standard error of a mean from the sums of values and squares; None for one."""
    if n < 2:
        return None
    variance = max(0.0, squares - total**2 / n) / (n - 1)
    return math.sqrt(variance / n)


def raw_minus_average(
    raw: Outcomes, averaged: Outcomes, metric: Metric, accelerator: Accelerator
) -> Difference:
    """Return the mean paired difference over all processes' images, and the standard errors."""
    each = getattr(raw, metric) - getattr(averaged, metric)
    total, squares, n = moments(each, accelerator)
    error = error_of_mean(total, squares, n)
    return Difference(
        metric, total / n, error, int(n), standard_error(averaged, metric, accelerator)
    )
