"""Outcomes of each image, computed from logits, and counts of a cell, computed from outcomes."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int, Int64
from torch import Tensor

from ruggedize.assess.assessment import Cell

NUM_BINS = 15
"""Equal-width bins of confidence. Source: Guo et al. 2017, "On Calibration of Modern Neural
Networks", section 2."""
NUM_TOP = 3


class Outcomes(NamedTuple):
    """A model's predictions for `n` images: the `t` most likely classes (3, or fewer classes)."""

    classes: Int[np.ndarray, "n t"]  # most likely first
    confidences: Float32[np.ndarray, "n t"]
    negative_log_likelihoods: Float32[np.ndarray, " n"]  # nats


def outcomes_of(
    logits: Float32[Tensor, "n k"], labels: Int64[Tensor, " n"]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the top classes, their probabilities and the labels' negative log likelihoods.

    The tensors stay on the device, without synchronisation.
    """
    log_probabilities = torch.log_softmax(logits, dim=1)
    tops, classes = log_probabilities.topk(min(NUM_TOP, logits.shape[1]), dim=1)
    likelihoods = log_probabilities.gather(1, labels[:, None])[:, 0]
    return classes, tops.exp(), -likelihoods


def count_cell(
    corruption: str,
    severity: int,
    outcomes: Outcomes,
    labels: Int64[np.ndarray, " n"],
    clean_classes: Int[np.ndarray, " n"] | None,
) -> Cell:
    """Count the outcomes of a cell; `clean_classes` are the model's predictions on clean images."""
    first = outcomes.classes[:, 0]
    correct = first == labels
    agreeing = None if clean_classes is None else int((first == clean_classes).sum())
    return Cell(
        corruption=corruption,
        severity=severity,
        n=len(labels),
        correct=int(correct.sum()),
        top3_correct=int((outcomes.classes == labels[:, None]).any(axis=1).sum()),
        agreeing=agreeing,
        negative_log_likelihood_sum=float(outcomes.negative_log_likelihoods.sum(dtype=np.float64)),
        calibration_error=calibration_error(outcomes.confidences[:, 0], correct),
    )


def calibration_error(
    confidences: Float32[np.ndarray, " n"], correct: Bool[np.ndarray, " n"]
) -> float:
    """Return the expected calibration error (ECE) over 15 bins of confidence, a fraction.

    Bins exclude their lower end and include their upper one. Source: Guo et al. 2017, equation 3.
    """
    bins = np.ceil(confidences.astype(np.float64) * NUM_BINS).astype(np.int64) - 1
    bins = bins.clip(0, NUM_BINS - 1)
    surplus = np.bincount(bins, confidences.astype(np.float64) - correct, minlength=NUM_BINS)
    return float(np.abs(surplus).sum() / len(confidences))
