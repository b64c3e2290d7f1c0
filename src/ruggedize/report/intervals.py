"""Compute 95 % intervals of accuracies and of differences in one cell. No torch."""

import functools

import numpy as np

from ruggedize.assess import (
    CLEAN,
    LEVEL,
    RESAMPLES,
    SEED,
    Interval,
    image_scores,
    paired_intervals,
)
from ruggedize.report.record import RunRecord

Z = 1.959964  # the normal quantile of a two-sided 95 % interval


def share_interval(count: int, n: int) -> Interval:
    """Return a share with its Wilson score interval, which holds near 0 and 1 too.

    Source: Wilson 1927; Brown, Cai & DasGupta 2001.
    """
    share = count / n
    return Interval(share, *wilson_ends(share, n))


def wilson_ends(share: float, n: int) -> tuple[float, float]:
    """Return the ends of the Wilson score interval of a share of n images."""
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    reach = Z / (1 + Z**2 / n) * (share * (1 - share) / n + Z**2 / (4 * n**2)) ** 0.5
    return max(0.0, middle - reach), min(1.0, middle + reach)


@functools.cache
def cell_interval(gained: int, lost: int, n: int) -> Interval:
    """Return the paired difference in one cell with its bootstrap interval over images.

    In a single cell, resampling the images is drawing three counts: images gained, lost and
    unchanged. Where no image changed, the bootstrap would have no width; the interval is then what
    n unchanged images exclude.
    """
    difference = (gained - lost) / n
    tail = (1.0 - LEVEL) / 2.0
    if gained == lost == 0:
        reach = 1.0 - tail ** (1.0 / n)
        return Interval(0.0, -reach, reach)
    shares = [gained / n, lost / n, (n - gained - lost) / n]
    counts = np.random.default_rng(SEED).multinomial(n, shares, RESAMPLES)
    low, high = np.quantile((counts[:, 0] - counts[:, 1]) / n, [tail, 1.0 - tail])
    return Interval(difference, float(low), float(high))


def unpaired_interval(share: Interval, baseline: Interval) -> Interval:
    """Return the difference of two shares of different images with Newcombe's interval.

    Source: Newcombe 1998, method 10.
    """
    difference = share.difference - baseline.difference
    down = np.hypot(share.difference - share.low, baseline.high - baseline.difference)
    up = np.hypot(share.high - share.difference, baseline.difference - baseline.low)
    return Interval(difference, difference - float(down), difference + float(up))


def accuracy_intervals(record: RunRecord, summaries: list[str]) -> dict[str, dict[str, Interval]]:
    """Return each model's accuracy with its interval, by summary and model.

    Clean: Wilson. Means over cells: a bootstrap over images, an image drawn with all its cells.
    """
    found: dict[str, dict[str, Interval]] = {name: {} for name in summaries}
    means = [name for name in summaries if name != CLEAN]
    for model, predictions in record.predictions.items():
        if CLEAN in found:
            clean = record.assessment.models[model].clean
            found[CLEAN][model] = share_interval(clean.correct, clean.n)
        if not means:
            continue
        scores = np.stack([image_scores(predictions, name) for name in means], axis=1)
        for name, interval in zip(means, paired_intervals(scores), strict=True):
            found[name][model] = with_width(interval, len(scores))
    return found


def with_width(interval: Interval, n: int) -> Interval:
    """Replace a bootstrap interval without width, where all images score alike, by Wilson's."""
    if interval.low < interval.high:
        return interval
    return Interval(interval.difference, *wilson_ends(interval.difference, n))
