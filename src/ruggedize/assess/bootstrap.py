"""Intervals of differences between models: a paired bootstrap over images. Imports no torch."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from ruggedize.assess.assessment import CLEAN, COMPLETE, PRESENT, Comparison, summary_cells
from ruggedize.assess.predictions import Predictions

METHOD = "paired bootstrap over images"
RESAMPLES = 5_000
LEVEL = 0.95
SEED = 0
NO_WIDTH = 1e-12  # up to rounding
VALUES_AT_ONCE = 2_000_000  # draws in memory at once: 16 MB


class Interval(NamedTuple):
    """A difference and its percentile interval, as fractions."""

    difference: float
    low: float
    high: float


def compare(
    baseline: str, model: str, predictions: dict[str, Predictions], summaries: list[str]
) -> list[Comparison]:
    """Return the difference in each summary, model minus baseline, with its interval.

    Images are resampled with all their corruptions and severities, and both models are scored on
    the same resample. The interval therefore holds for these two networks on images like these.
    It always has a width (see `with_width`).
    """
    scores = np.stack(
        [
            image_scores(predictions[model], name) - image_scores(predictions[baseline], name)
            for name in summaries
        ],
        axis=1,
    )
    intervals = paired_intervals(scores)
    shared = {"level": LEVEL, "method": METHOD, "resamples": RESAMPLES, "seed": SEED}
    return [
        Comparison(
            baseline=baseline,
            model=model,
            summary=name,
            n=len(scores),
            **with_width(interval, len(scores))._asdict(),
            **shared,
        )
        for name, interval in zip(summaries, intervals, strict=True)
    ]


def image_scores(predictions: Predictions, summary: str) -> Float64[np.ndarray, " n"]:
    """Return the fraction of a summary's cells in which each image is classified correctly."""
    if summary == CLEAN:
        return predictions.correct(None).astype(np.float64)
    if summary not in COMPLETE and summary not in PRESENT:
        raise ValueError(f"unknown summary {summary}; known: {', '.join((*COMPLETE, *PRESENT))}")
    return mean_correct(predictions, summary_cells(summary, predictions.cells))


def mean_correct(
    predictions: Predictions, cells: frozenset[tuple[str, int]]
) -> Float64[np.ndarray, " n"]:
    """Return the fraction of these cells in which each image is classified correctly."""
    right = np.zeros(len(predictions.labels), np.int64)
    for cell in cells:
        right += predictions.correct(cell)
    return right / len(cells)


def paired_intervals(
    scores: Float64[np.ndarray, "n k"],
    *,
    resamples: int = RESAMPLES,
    level: float = LEVEL,
    seed: int = SEED,
) -> list[Interval]:
    """Return the mean of each column and its percentile interval over resampled rows.

    All columns share the same resamples. Source: Efron & Tibshirani 1993, chapter 13.
    """
    n = len(scores)
    rng = np.random.default_rng(seed)
    at_once = max(1, VALUES_AT_ONCE // n)
    means = np.concatenate(
        [
            draw_counts(rng, min(at_once, resamples - done), n) @ scores / n
            for done in range(0, resamples, at_once)
        ]
    )
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail], axis=0)
    middle = scores.mean(axis=0)
    return [Interval(*map(float, column)) for column in zip(middle, low, high, strict=True)]


def with_width(interval: Interval, n: int) -> Interval:
    """Widen the interval of a difference if it has no width: it is equal in all n images.

    A share of 1 - tail^(1/n) of all images may differ in any way, to -1 or 1, and still be absent
    from n with the probability of one tail.
    """
    if interval.high - interval.low > NO_WIDTH:
        return interval
    unseen = 1.0 - ((1.0 - LEVEL) / 2.0) ** (1.0 / n)
    middle = interval.difference
    return Interval(middle, middle - unseen * (1.0 + middle), middle + unseen * (1.0 - middle))


def draw_counts(
    rng: np.random.Generator, resamples: int, n: int
) -> Float64[np.ndarray, "resamples n"]:
    """Draw n of n rows with replacement per resample; return how often each row was drawn."""
    drawn = rng.integers(0, n, (resamples, n), dtype=np.int32)
    drawn = drawn + n * np.arange(resamples)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=resamples * n)
    return counts.reshape(resamples, n).astype(np.float64)
