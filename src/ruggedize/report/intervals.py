"""Compute 95 % intervals of accuracies and of differences in one cell. Imports no torch."""

import functools

import numpy as np

from ruggedize.assess import (
    CLEAN,
    LEVEL,
    NO_WIDTH,
    RESAMPLES,
    SEED,
    Interval,
    image_scores,
    paired_intervals,
    with_width,
)
from ruggedize.report.record import RunRecord

Z = 1.959964  # the normal quantile of a two-sided 95 % interval


def share_interval(count: int, n: int) -> Interval:
    """Return a fraction with its Wilson score interval, which is also valid near 0 and 1.

    Source: Wilson 1927; Brown, Cai & DasGupta 2001.
    """
    share = count / n
    return Interval(share, *wilson_ends(share, n))


def wilson_ends(share: float, n: int) -> tuple[float, float]:
    """Return the ends of the Wilson score interval of a fraction of n images."""
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    reach = Z / (1 + Z**2 / n) * (share * (1 - share) / n + Z**2 / (4 * n**2)) ** 0.5
    return max(0.0, middle - reach), min(1.0, middle + reach)


@functools.cache
def cell_interval(gained: int, lost: int, n: int) -> Interval:
    """Return the paired difference in one cell with its bootstrap interval over images.

    In a single cell, resampling the images means drawing three counts: images gained, lost and
    unchanged.
    """
    tail = (1.0 - LEVEL) / 2.0
    shares = [gained / n, lost / n, (n - gained - lost) / n]
    counts = np.random.default_rng(SEED).multinomial(n, shares, RESAMPLES)
    low, high = np.quantile((counts[:, 0] - counts[:, 1]) / n, [tail, 1.0 - tail])
    return with_width(Interval((gained - lost) / n, float(low), float(high)), n)


def unpaired_interval(share: Interval, baseline: Interval) -> Interval:
    """Return the difference of two fractions of different images with Newcombe's interval.

    Source: Newcombe 1998, method 10.
    """
    difference = share.difference - baseline.difference
    down = np.hypot(share.difference - share.low, baseline.high - baseline.difference)
    up = np.hypot(share.high - share.difference, baseline.difference - baseline.low)
    return Interval(difference, difference - float(down), difference + float(up))


def accuracy_intervals(record: RunRecord, summaries: list[str]) -> dict[str, dict[str, Interval]]:
    """Return each model's accuracy with its interval, by summary and model.

    Clean accuracy has a Wilson interval. Means over cells have a bootstrap interval over images,
    each resampled with all of its cells.
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
            found[name][model] = wilson_if_narrow(interval, len(scores))
    return found


def wilson_if_narrow(interval: Interval, n: int) -> Interval:
    """Replace a zero-width bootstrap interval (all images have equal scores) by Wilson's."""
    if interval.high - interval.low > NO_WIDTH:
        return interval
    return Interval(interval.difference, *wilson_ends(interval.difference, n))
