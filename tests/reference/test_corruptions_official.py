"""Corruptions against what the official CIFAR-10-C script gave for 100 test images."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ruggedize.corruptions import CORRUPTIONS, corrupt, pixel_noise
from ruggedize.corruptions.names import SEVERITIES

NUM_SEEDS = 8
EXACT = [name for name, row in CORRUPTIONS.items() if not row.random]
RANDOM = [name for name, row in CORRUPTIONS.items() if row.random]
Official = np.lib.npyio.NpzFile


@pytest.fixture(scope="session")
def clean(cifar10_test) -> torch.Tensor:
    return cifar10_test[0][:100].contiguous()


def expected(official: Official, name: str, severity: int) -> np.ndarray:
    """Return the official images, planar: uint8 `[100, 3, 32, 32]`."""
    return official[name][severity - 1].transpose(0, 3, 1, 2)


def agree(ours: np.ndarray, official: np.ndarray) -> bool:
    off = np.abs(ours.astype(int) - official)
    return (off <= 1).mean() >= 0.99 and off.mean() <= 0.3


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", EXACT)
def test_without_randomness_the_images_agree(
    name: str, severity: int, clean: torch.Tensor, official_corruptions: Official
):
    official = expected(official_corruptions, name, severity)
    assert agree(corrupt(clean, name, severity).numpy(), official)
    assert not agree(corrupt(clean, name, severity % 5 + 1).numpy(), official)  # it bites


def gaussian_noise(rng: np.random.RandomState, pixels: np.ndarray, out: np.ndarray, std: float):
    pixel_noise.gaussian_noise(pixels, out, normals(rng, std), std)


def speckle_noise(rng: np.random.RandomState, pixels: np.ndarray, out: np.ndarray, std: float):
    pixel_noise.speckle_noise(pixels, out, normals(rng, std), std)


def normals(rng: np.random.RandomState, std: float) -> np.ndarray:
    draws = rng.normal(size=(32, 32, 3), scale=std) / std
    return draws.transpose(2, 0, 1).ravel().astype(np.float32)


def shot_noise(rng: np.random.RandomState, pixels: np.ndarray, out: np.ndarray, photons: float):
    counts = rng.poisson(pixels.transpose(1, 2, 0) / 255.0 * photons)
    pixel_noise.shot_noise(pixels, out, counts.transpose(2, 0, 1).ravel().astype(np.int32), photons)


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("draw_and_apply", [gaussian_noise, shot_noise, speckle_noise])
def test_fed_with_the_official_draws_the_images_agree(
    draw_and_apply: Callable, severity: int, clean: torch.Tensor, official_corruptions: Official
):
    name = draw_and_apply.__name__
    level = float(CORRUPTIONS[name].cifar[severity - 1])
    fed, unfed = np.empty((2, *clean.shape), np.uint8)
    rng = np.random.RandomState(1000 * severity)
    for pixels, out in zip(clean.numpy(), fed, strict=True):
        draw_and_apply(rng, pixels, out, level)
    for pixels, out in zip(clean.numpy(), unfed, strict=True):
        draw_and_apply(rng, pixels, out, level)
    official = expected(official_corruptions, name, severity)
    assert agree(fed, official)
    assert not agree(unfed, official)  # it bites


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", RANDOM)
def test_with_our_own_draws_the_statistics_agree(
    name: str, severity: int, clean: torch.Tensor, official_corruptions: Official, request
):
    if name == "frost":
        request.getfixturevalue("photographs")
    official = expected(official_corruptions, name, severity).astype(float)
    assert deviations(name, severity, clean, official) == []
    far_off = 5 if severity <= 2 else 1  # neighbours may be next to equal
    assert deviations(name, far_off, clean, official) != []  # it bites


def deviations(name: str, severity: int, clean: torch.Tensor, official: np.ndarray) -> list[str]:
    """Name the statistics of (corrupted - clean) in which we differ from the official images."""
    pixels = clean.numpy().astype(float)
    theirs = official - pixels
    ours = [corrupt(clean, name, severity, seed=seed).numpy() - pixels for seed in range(NUM_SEEDS)]
    is_impulse, is_noise = name == "impulse_noise", CORRUPTIONS[name].family == "noise"
    is_loose = name in ("frost", "fog", "snow", "spatter", "impulse_noise")
    found = []
    for statistic in (np.mean, np.std):
        per_image = np.mean([statistic(change, axis=(1, 2, 3)) for change in ours], axis=0)
        paired = per_image - statistic(theirs, axis=(1, 2, 3))
        standard_error = paired.std(ddof=1) / np.sqrt(len(paired))
        if abs(paired.mean()) > max(4 * standard_error, 0.3):
            found.append(f"per-image {statistic.__name__}: {paired.mean()}")
    spread = np.mean([change.std() for change in ours]) / theirs.std()
    if is_noise and abs(spread - 1) > (0.04 if is_impulse else 0.02):
        found.append(f"standard deviation: {spread} times theirs")
    size = np.mean([np.abs(change).mean() for change in ours]) / np.abs(theirs).mean()
    if abs(size - 1) > (0.25 if is_loose else 0.1):
        found.append(f"mean absolute change: {size} times theirs")
    return found
