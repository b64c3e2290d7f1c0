"""Exchanged amplitude spectra against NumPy's full transform in float64."""

import numpy as np
import pytest
import torch

from ruggedize.core.errors import UserError
from ruggedize.core.seeding import stream_key
from ruggedize.data import ImageSet
from ruggedize.views import ViewMaker, ViewOptions
from ruggedize.views.kinds import amplitude_mix
from ruggedize.views.noise_options import AmplitudeMixOptions
from ruggedize.views.partners import Partners, choose_partners
from tests.image_draws import Draws

STREAM = stream_key(1, "test")


def recombined(image: np.ndarray, partner: np.ndarray) -> np.ndarray:
    phase = np.angle(np.fft.fft2(image.astype(float)))
    amplitude = np.abs(np.fft.fft2(partner.astype(float)))
    return np.fft.ifft2(amplitude * np.exp(1j * phase)).real.clip(0, 255)


@pytest.mark.parametrize("side", [32, 27])
def test_amplitudes_are_those_of_the_partner(small_images: torch.Tensor, side: int) -> None:
    images = np.ascontiguousarray(small_images.numpy()[..., :side, :side])
    pool = torch.from_numpy(images[::-1].copy())
    partners = Partners(pool, torch.zeros(len(pool), dtype=torch.int64), 1)
    index, out = np.arange(len(images)) + 5, np.empty_like(images)
    amplitude_mix.apply(images, out, index, STREAM, AmplitudeMixOptions(), partners)
    expected, applied = images.astype(float), []
    for row, number in enumerate(index):
        draws = Draws(STREAM, number)
        applied.append(draws.uniform(0) < 0.6)
        if applied[-1]:
            partner = pool[draws.integer(1, len(pool))].numpy()
            expected[row] = recombined(images[row], partner)
    assert 0 < sum(applied) < len(applied)
    assert np.abs(out - expected).max() < 0.55
    assert np.abs(out[1:][applied[1:]] - expected[:-1][applied[1:]]).mean() > 10  # must differ


def test_an_image_without_variation_keeps_its_lack_of_phase() -> None:
    black = np.zeros((3, 3, 8, 8), np.uint8)
    partners = Partners(torch.full((1, 3, 8, 8), 70, dtype=torch.uint8), torch.zeros(1).long(), 1)
    out, options = np.empty_like(black), AmplitudeMixOptions(probability=1.0)
    amplitude_mix.apply(black, out, np.arange(3), STREAM, options, partners)
    assert (out == 70).all()


def set_of(n: int, labels: torch.Tensor | None = None) -> ImageSet:
    generator = torch.Generator().manual_seed(n)
    images = torch.randint(0, 256, (n, 3, 8, 8), dtype=torch.uint8, generator=generator)
    given = torch.arange(n) % 2 if labels is None else labels
    return ImageSet(images, given, ("a", "b"), torch.arange(n))


VIEWS = ViewOptions.model_validate({"noise": [{"kind": "amplitude_mix"}], "resize": 12})


def test_the_pool_follows_from_the_seed_and_has_labels_only() -> None:
    labels = torch.arange(3000) % 3 - 1
    found, again, other = (choose_partners(set_of(3000, labels), VIEWS, s) for s in (0, 0, 1))
    assert found.images.shape == (1024, 3, 12, 12)
    assert found.labels.min() == 0
    assert torch.equal(found.images, again.images)
    assert not torch.equal(found.images, other.images)  # must differ
    assert len(choose_partners(set_of(50), VIEWS, 0)) == 50
    assert choose_partners(set_of(50), ViewOptions(), 0) is None


def test_mistakes_are_rejected_with_a_fix() -> None:
    with pytest.raises(UserError, match="no image has a label;\nremove amplitude_mix"):
        choose_partners(set_of(5, torch.full((5,), -1)), VIEWS, 0)
    maker = ViewMaker(VIEWS, image_size=8, seed=0)
    with pytest.raises(UserError, match=r"amplitude_mix needs partners.*\n.*choose_partners"):
        maker.noisy(set_of(5).images, torch.arange(5), 0)
