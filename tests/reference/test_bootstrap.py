"""The paired bootstrap against a slow obvious one, and whether its intervals cover the truth."""

import numpy as np
import pytest

from ruggedize.assess.bootstrap import (
    RESAMPLES,
    Interval,
    compare,
    draw_counts,
    paired_intervals,
    with_width,
)
from ruggedize.assess.predictions import Predictions, Top


def predictions(right: dict[tuple[str, int] | None, np.ndarray]) -> Predictions:
    n = len(right[None])
    labels = np.zeros(n, np.int64)

    def top(answers: np.ndarray) -> Top:
        classes = np.where(answers, 0, 1).astype(np.int16)[:, None]
        return Top(classes, np.ones((n, 1), np.float32))

    cells = {cell: top(answers) for cell, answers in right.items() if cell}
    return Predictions(np.arange(n), labels, top(right[None]), cells)


def correlated_pair(n: int, seed: int) -> tuple[Predictions, Predictions]:
    """Make two models whose mistakes are mostly on the same hard images."""
    rng = np.random.default_rng(seed)
    hardness = rng.uniform(0, 1, n)
    cells = [None, ("fog", 5), ("snow", 5), ("fog", 1)]
    worse = {cell: hardness + rng.normal(0, 0.1, n) < 0.6 for cell in cells}
    better = {cell: hardness + rng.normal(0, 0.1, n) < 0.7 for cell in cells}
    return predictions(worse), predictions(better)


def slow_interval(worse: Predictions, better: Predictions, seed: int) -> tuple[float, float]:
    """Resample images one draw at a time: severity 5 over what is present."""
    rng = np.random.default_rng(seed)
    cells = [cell for cell in worse.cells if cell[1] == 5]
    n = len(worse.labels)
    differences = []
    for _ in range(2_000):
        rows = rng.choice(n, n)
        accuracy = [
            np.mean([p.correct(cell)[rows].mean() for cell in cells]) for p in (worse, better)
        ]
        differences.append(accuracy[1] - accuracy[0])
    return float(np.percentile(differences, 2.5)), float(np.percentile(differences, 97.5))


def test_intervals_equal_those_of_a_slow_obvious_loop() -> None:
    worse, better = correlated_pair(300, seed=1)
    pair = {"worse": worse, "better": better}
    (ours,) = compare("worse", "better", pair, ["severity5_present"])
    low, high = slow_interval(worse, better, seed=2)
    width = high - low
    assert ours.low == pytest.approx(low, abs=0.08 * width)
    assert ours.high == pytest.approx(high, abs=0.08 * width)
    exact = np.mean(
        [better.correct(c).mean() - worse.correct(c).mean() for c in worse.cells if c[1] == 5]
    )
    assert ours.difference == pytest.approx(exact)


def test_an_image_carries_all_its_cells() -> None:
    # Four copies of one cell say no more than one: the interval must not shrink.
    worse, better = correlated_pair(300, seed=3)
    copies = {f"copy{k}": k for k in range(4)}

    def copied(p: Predictions) -> Predictions:
        cells = {(name, 5): p.cells["fog", 5] for name in copies}
        return Predictions(p.index, p.labels, p.clean, cells)

    (four,) = compare("w", "b", {"w": copied(worse), "b": copied(better)}, ["severity5_present"])
    one = {("copy0", 5): worse.cells["fog", 5]}, {("copy0", 5): better.cells["fog", 5]}
    pair = {
        name: Predictions(p.index, p.labels, p.clean, cells)
        for name, p, cells in zip("wb", (worse, better), one, strict=True)
    }
    (single,) = compare("w", "b", pair, ["severity5_present"])
    assert (four.low, four.high) == pytest.approx((single.low, single.high))


def test_pairing_narrows_the_interval() -> None:
    worse, better = correlated_pair(500, seed=4)
    paired = better.correct(None).astype(float) - worse.correct(None)
    shuffled = better.correct(None).astype(float) - np.random.default_rng(0).permutation(
        worse.correct(None)
    )
    narrow, wide = paired_intervals(np.stack([paired, shuffled], axis=1))
    assert narrow.high - narrow.low < 0.8 * (wide.high - wide.low)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    truth, covered, trials = 0.1, 0, 200
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        scores = rng.choice([1.0, 0.0, -1.0], (200, 1), p=[0.2, 0.7, 0.1])
        (interval,) = paired_intervals(scores, resamples=500)
        covered += interval.low <= truth <= interval.high
    assert 0.90 <= covered / trials <= 0.99


def test_models_that_are_right_on_the_same_images_have_an_interval_with_a_width() -> None:
    same = predictions({None: np.arange(100) % 4 > 0})
    (found,) = compare("a", "b", {"a": same, "b": same}, ["clean"])
    # Unless more than 3.6 % of all images differ, 100 may all be equal with a chance of 2.5 %.
    assert (1 - found.high) ** 100 == pytest.approx(0.025)
    assert (found.difference, found.low) == (0.0, -found.high)


@pytest.mark.parametrize("n", [1, 20, 100])
@pytest.mark.parametrize("difference", [-1.0, -0.25, 0.0, 1 / 3, 1.0])
def test_a_widened_interval_is_plausible(n: int, difference: float) -> None:
    low, high = with_width(Interval(difference, difference, difference), n)[1:]
    assert -1 <= low <= difference <= high <= 1
    assert high - low == pytest.approx(2 * (1 - 0.025 ** (1 / n)))
    wide = Interval(difference, difference - 0.01, difference)
    assert with_width(wide, n) == wide


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    scores = np.random.default_rng(0).normal(0, 1, (100, 2))
    assert paired_intervals(scores, seed=1) == paired_intervals(scores, seed=1)
    assert paired_intervals(scores, seed=1) != paired_intervals(scores, seed=2)


def test_every_resample_draws_as_many_images_as_there_are() -> None:
    counts = draw_counts(np.random.default_rng(0), 50, 30)
    assert counts.shape == (50, 30)
    assert (counts.sum(1) == 30).all()
    assert counts.max() > 1
    assert RESAMPLES >= 2_000
