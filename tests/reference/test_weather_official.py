"""Snow, frost, fog and spatter, fed with the draws of the official CIFAR-10-C script."""

import numpy as np
import pytest
import torch

from ruggedize.corruptions import CORRUPTIONS
from ruggedize.corruptions.names import SEVERITIES
from tests.reference.test_corruptions_official import Official, agree, expected
from tests.reference.weather_draws import WEATHER


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", WEATHER)
def test_fed_with_the_official_draws_the_weather_agrees(
    name: str, severity: int, cifar10_test, official_corruptions: Official, request
):
    if name == "frost":
        request.getfixturevalue("photographs")
    clean = cifar10_test[0][:100].contiguous()
    rng = np.random.RandomState(1000 * severity)
    fed, unfed = (drawn(name, severity, clean, rng) for _ in range(2))
    official = expected(official_corruptions, name, severity)
    assert agree(fed, official)
    assert not agree(unfed, official)  # it bites


def drawn(name: str, severity: int, clean: torch.Tensor, rng: np.random.RandomState) -> np.ndarray:
    out = np.empty(clean.shape, np.uint8)
    for pixels, target in zip(clean.numpy(), out, strict=True):
        WEATHER[name](rng, pixels, target, CORRUPTIONS[name].cifar[severity - 1])
    return out
