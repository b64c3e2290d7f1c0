"""CutMix and mixup against NumPy, and the labels that belong to their views."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import beta, kstest

from ruggedize.core.errors import UserError
from ruggedize.core.seeding import stream_key
from ruggedize.data import Splits
from ruggedize.train import train_stage
from ruggedize.train.objectives.supervised import mixed_cross_entropy_sum
from ruggedize.views import Partners, ViewMaker, ViewOptions, mixing_kinds
from ruggedize.views.kinds import cutmix, mixup
from ruggedize.views.noise_options import CutMixOptions, MixUpOptions
from tests.image_draws import Draws
from tests.tiny_stages import checked, three_colours, tiny_stage

STREAM = stream_key(1, "test")
SIDE, NUM_CLASSES = 24, 4


def random_images(n: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (n, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)


POOL = Partners(random_images(30, 1), torch.arange(30) % NUM_CLASSES, NUM_CLASSES)


def blended(image: np.ndarray, draws: Draws, partner: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the image and the partner's share: lambda x_i + (1 - lambda) x_j."""
    share = 1 - beta.ppf(draws.uniform(2), 0.4, 0.4) if draws.uniform(0) < 0.7 else 0
    return (1 - share) * image + share * partner, share


def pasted(image: np.ndarray, draws: Draws, partner: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the image and the partner's share, by rand_bbox of the published script."""
    result = image.astype(float)
    if draws.uniform(0) >= 0.7:
        return result, 0
    side = int(SIDE * np.sqrt(1 - beta.ppf(draws.uniform(2), 0.4, 0.4)))
    y, x = draws.integer(3, SIDE), draws.integer(4, SIDE)
    top, bottom = max(0, y - side // 2), min(SIDE, y + side // 2)
    left, right = max(0, x - side // 2), min(SIDE, x + side // 2)
    result[:, top:bottom, left:right] = partner[:, top:bottom, left:right]
    return result, (bottom - top) * (right - left) / SIDE**2


KINDS = {
    "mixup": (mixup, MixUpOptions(probability=0.7, alpha=0.4), blended),
    "cutmix": (cutmix, CutMixOptions(probability=0.7, alpha=0.4), pasted),
}


@pytest.mark.parametrize("name", KINDS)
def test_views_and_shares_follow_the_formula(name: str) -> None:
    kind, options, oracle = KINDS[name]
    images, index = random_images(200).numpy(), np.arange(200) + 8
    out = np.empty_like(images)
    kind.apply(images, out, index, STREAM, options, POOL)
    draws = [Draws(STREAM, number) for number in index]
    partners = [POOL.images[each.integer(1, len(POOL))].numpy() for each in draws]
    pairs = [oracle(*three) for three in zip(images, draws, partners, strict=True)]
    views, shares = (np.stack(each) for each in zip(*pairs, strict=True))
    assert np.abs(out - views).max() < 0.51
    assert np.abs(kind.partner_shares(index, STREAM, options, SIDE) - shares).max() < 1e-9
    assert 0.2 < (shares == 0).mean() < 0.45
    assert np.abs(out[1:] - views[:-1]).mean() > 20  # must differ


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_shares_are_distributed_as_beta(alpha: float) -> None:
    shares = mixup.partner_shares(np.arange(3000), STREAM, MixUpOptions(alpha=alpha), SIDE)
    assert kstest(shares, beta(alpha, alpha).cdf).pvalue > 0.001
    assert kstest(shares, beta(alpha + 0.5, alpha).cdf).pvalue < 0.001  # must differ


def maker(*noise: dict[str, object], seed: int = 0) -> ViewMaker:
    views = ViewOptions.model_validate({"flip": False, "noise": noise})
    return ViewMaker(views, image_size=SIDE, seed=seed, partners=POOL)


CHAINS = {
    "mixup": [{"kind": "mixup"}],
    "cutmix": [{"kind": "cutmix", "probability": 1.0}],
    "one of": [{"one_of": [{"kind": "mixup"}, {"kind": "cutmix"}, {"kind": "additive_noise"}]}],
    "both": [{"kind": "mixup"}, {"kind": "additive_noise"}, {"kind": "cutmix"}],
}


@pytest.mark.parametrize("chain", CHAINS)
def test_labels_do_not_depend_on_the_batch(chain: str) -> None:
    own, labels, index = maker(*CHAINS[chain]), torch.arange(40) % NUM_CLASSES, torch.arange(40)
    whole = own.mixed_labels(labels, index, 2)
    halves = [own.mixed_labels(labels[rows], index[rows], 2) for rows in (index[:9], index[9:])]
    assert torch.equal(whole, torch.cat(halves))
    assert torch.allclose(whole.sum(1), torch.ones(40))
    assert (whole.max(1).values < 1).any()
    assert not torch.equal(whole, own.mixed_labels(labels, index, 3))  # must differ


@pytest.mark.parametrize("chain", CHAINS)
def test_labels_are_the_shares_of_the_pixels(chain: str) -> None:
    """Black images and partners that are white for one class show its share as their mean."""
    noise = [link for link in CHAINS[chain] if link.get("kind") != "additive_noise"]
    own = maker(*noise)
    for label in range(1, NUM_CLASSES):
        white = (POOL.labels == label)[:, None, None, None] * torch.full_like(POOL.images, 255)
        pool = Partners(white.to(torch.uint8), POOL.labels, NUM_CLASSES)
        mixed = ViewMaker(own.options, image_size=SIDE, seed=0, partners=pool)
        index, black = torch.arange(60), torch.zeros(60, 3, SIDE, SIDE, dtype=torch.uint8)
        links = mixed.options.noise[0]
        if chain == "one of":
            kept = links.model_copy(update={"one_of": links.one_of[:2]})
            mixed = ViewMaker(
                own.options.model_copy(update={"noise": (kept,)}),
                image_size=SIDE,
                seed=0,
                partners=pool,
            )
        shares = mixed.mixed_labels(torch.zeros(60, dtype=torch.int64), index, 0)
        means = mixed.noisy(black, index, 0).float().mean((1, 2, 3)) / 255
        assert (means - shares[:, label]).abs().max() < 0.5 / 255 + 1e-5
        assert means.max() > 0.3


def test_unlabelled_images_have_no_label() -> None:
    labels = torch.tensor([-1, 0, -1])
    mixed = maker({"kind": "mixup"}).mixed_labels(labels, torch.arange(3), 0)
    assert (mixed[::2] == 0).all()
    assert mixed[1].sum() == pytest.approx(1)
    assert maker({"kind": "additive_noise"}).mixed_labels(labels, torch.arange(3), 0) is None


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 0.5, 3.0])])
def test_the_loss_is_the_weighted_mean_of_the_losses_of_both_labels(
    weights: torch.Tensor | None,
) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, NUM_CLASSES, generator=generator)
    mixed = torch.tensor([[0.7, 0.3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]])
    factors = torch.ones(NUM_CLASSES) if weights is None else weights
    losses = -logits.double().log_softmax(1)
    first = (0.7 * factors[0] + 0.3 * factors[1]) * (0.7 * losses[0, 0] + 0.3 * losses[0, 1])
    expected = first + factors[3] * losses[2, 3]
    found = mixed_cross_entropy_sum(logits, mixed, 0.0, weights)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert mixed_cross_entropy_sum(logits, mixed, 0.1, weights) != found


def test_objectives_without_mixed_labels_are_rejected(tmp_path: Path) -> None:
    views = maker({"one_of": [{"kind": "cutmix"}, {"kind": "additive_noise"}]}).options
    assert mixing_kinds(views.noise) == ("cutmix",)
    stage = tiny_stage(tmp_path, objective={"kind": "jsd"})
    with pytest.raises(UserError, match=r'cutmix mixes labels(.|\n)*objective = "supervised"'):
        checked(replace(stage, views=views))
    checked(replace(tiny_stage(tmp_path), views=views))


@pytest.mark.more
def test_a_training_on_mixed_images_learns_mixed_labels(tmp_path: Path) -> None:
    views = maker({"kind": "mixup"}).options
    options = tiny_stage(tmp_path, epochs=1, views="noisy", averaging="none").options
    data = Splits(three_colours(48, 0), three_colours(30, 1), three_colours(30, 2))
    rows = {}
    for name, chain in (("mixed", views), ("plain", ViewOptions(flip=False))):
        train_stage(name, data, chain, options, tmp_path / name)
        rows[name] = json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[-1])
    assert np.isfinite(rows["mixed"]["cross_entropy"])
    assert rows["mixed"]["cross_entropy"] != rows["plain"]["cross_entropy"]
