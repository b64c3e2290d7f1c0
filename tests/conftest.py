"""Real images for the tests, found through the environment.

Tests without their data are skipped, but fail where RUGGEDIZE_REQUIRE_DATA=1.
"""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from jaxtyping import install_import_hook

import tests.typechecking
from tests.long_summary import (  # noqa: F401 - hooks of pytest's
    pytest_runtest_logreport,
    pytest_sessionfinish,
)

CHECKED = tests.typechecking.modules_without_kernels()
install_import_hook(CHECKED, f"{tests.typechecking.__name__}.checked")
torch.set_num_threads(1)  # tiny nets gain nothing from more, and suffer on a busy machine

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # a shell's stage in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

RECORD = 3073  # one label byte, then 3 x 32 x 32 pixels


def required_path(variable: str) -> Path:
    """Return the path that an environment variable names."""
    value = os.environ.get(variable)
    if value and Path(value).exists():
        return Path(value)
    raise missing(f"{variable} does not name existing test data")


def missing(what: str) -> Exception:
    """Return what to raise where a test lacks something: it is skipped, or fails."""
    outcome = pytest.fail if os.environ.get("RUGGEDIZE_REQUIRE_DATA") == "1" else pytest.skip
    return outcome.Exception(what)


@pytest.fixture(scope="session")
def cifar10_root() -> Path:
    return required_path("RUGGEDIZE_TEST_DATA")


@pytest.fixture(scope="session")
def cifar10_test(cifar10_root: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """All 10,000 test images and labels, read without the code under test."""
    path = cifar10_root / "cifar-10-batches-bin" / "test_batch.bin"
    records = np.fromfile(path, np.uint8).reshape(-1, RECORD)
    images = records[:, 1:].reshape(-1, 3, 32, 32).copy()
    return torch.from_numpy(images), torch.from_numpy(records[:, 0].astype(np.int64))


@pytest.fixture(scope="session")
def official_corruptions() -> np.lib.npyio.NpzFile:
    return np.load(required_path("RUGGEDIZE_TEST_OFFICIAL"))


@pytest.fixture(scope="session")
def photographs() -> Path:
    """The folder of the six photographs of frost (`ruggedize fetch frost`)."""
    return required_path("RUGGEDIZE_FROST")


@pytest.fixture(scope="session")
def small_images() -> torch.Tensor:
    """Return 24 generated pictures, uint8 [24, 3, 32, 32]: coloured gradients, discs and grain."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:32, 0:32] / 31
    pictures = []
    for _ in range(24):
        ends = rng.uniform(0, 255, (3, 3))
        picture = ends[0][:, None, None] + ends[1][:, None, None] * x + ends[2][:, None, None] * y
        cy, cx, radius = rng.uniform(0.2, 0.8, 3)
        disc = (x - cx) ** 2 + (y - cy) ** 2 < (0.4 * radius) ** 2
        picture = np.where(disc, rng.uniform(0, 255, (3, 1, 1)), picture / 2)
        pictures.append(picture + rng.normal(0, 6, picture.shape))
    return torch.from_numpy(np.clip(pictures, 0, 255).astype(np.uint8))
