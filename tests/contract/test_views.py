"""Contract of the two views: what their pixels depend on, and what each noise does."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from jaxtyping import TypeCheckError

from ruggedize.corruptions.names import ALL
from ruggedize.data import ImageSet
from ruggedize.kernels.blocks import available_cores
from ruggedize.views.noise_chain import overlaps
from ruggedize.views.noise_options import (
    AdditiveNoiseOptions,
    AmplitudeMixOptions,
    AugMixOptions,
    CutMixOptions,
    LpNoiseOptions,
    MixUpOptions,
    PatchNoiseOptions,
    RandAugmentOptions,
    RandomErasingOptions,
    SpectralFilterOptions,
    TrivialAugmentOptions,
)
from ruggedize.views.options import NoiseOptions, OneOfOptions, ViewOptions
from ruggedize.views.pairs import ViewMaker
from ruggedize.views.partners import Partners, choose_partners

Pictures = tuple[torch.Tensor, torch.Tensor]

ERASING = RandomErasingOptions(fill="noise")
CHAINS: dict[str, tuple[NoiseOptions, ...]] = {
    "additive noise": (AdditiveNoiseOptions(),),
    "random erasing": (ERASING,),
    "randaugment": (RandAugmentOptions(),),
    "trivialaugment": (TrivialAugmentOptions(),),
    "lp noise": (LpNoiseOptions(norm="l2"),),
    "patch noise": (PatchNoiseOptions(),),
    "augmix": (AugMixOptions(operations="all"),),
    "spectral filter": (SpectralFilterOptions(),),
    "amplitude mix": (AmplitudeMixOptions(probability=0.9),),
    "mixed labels": (MixUpOptions(alpha=0.7), CutMixOptions(probability=0.9)),
    "one of": (OneOfOptions(one_of=(TrivialAugmentOptions(), ERASING, AdditiveNoiseOptions())),),
    "all": (RandAugmentOptions(), ERASING, AdditiveNoiseOptions(distribution="uniform")),
}
RULES = {"resized": {"resize": 48, "crop": 36}, "padded": {"pad": 4}}
ELSEWHERE = """
import hashlib, sys, torch
from ruggedize.views.options import ViewOptions
from ruggedize.views.pairs import ViewMaker
images = torch.arange(40 * 3 * 32 * 32).mul(7).remainder(251).to(torch.uint8)
maker = ViewMaker(ViewOptions.model_validate_json(sys.argv[1]), image_size=32, seed=3)
pair = maker.pair(images.reshape(40, 3, 32, 32), torch.arange(40), epoch=2)
print(hashlib.sha256(b"".join(view.numpy().tobytes() for view in pair)).hexdigest())
"""


@pytest.fixture(scope="module")
def pictures(small_images: torch.Tensor) -> Pictures:
    """Return 120 images, enough for several blocks, and indices that are not their places."""
    images = torch.cat([small_images.roll(shift, 3) for shift in range(5)])
    return images, torch.arange(120) * 3 + 1000


def maker_of(
    chain: str, rule: str = "padded", seed: int = 0, geometry: str = "independent"
) -> ViewMaker:
    noise = CHAINS[chain] if chain else ()
    options = ViewOptions.model_validate({**RULES[rule], "noise": noise, "geometry": geometry})
    return ViewMaker(options, image_size=32, seed=seed, partners=partners(options))


def partners(options: ViewOptions) -> Partners | None:
    """Return images to mix with: stripes."""
    images = torch.arange(50 * 3 * 32 * 32).mul(11).remainder(253).to(torch.uint8)
    labels = torch.arange(50) % 10
    pool = ImageSet(images.reshape(50, 3, 32, 32), labels, tuple("abcdefghij"), labels)
    return choose_partners(pool, options, seed=0)


@contextmanager
def one_core() -> Iterator[None]:
    """Leave this thread one core, so that the kernels run on one thread."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize("geometry", ["independent", "shared"])
@pytest.mark.parametrize("chain", CHAINS)
def test_a_pair_is_the_clean_and_the_noisy_view(
    chain: str, geometry: str, pictures: Pictures
) -> None:
    images, index = pictures
    before = images.clone()
    maker = maker_of(chain, geometry=geometry)
    clean, noisy = maker.pair(images, index, 1)
    assert torch.equal(clean, maker.clean(images, index, 1))
    assert torch.equal(noisy, maker.noisy(images, index, 1))
    assert not torch.equal(clean, noisy)
    assert torch.equal(images, before), "the stored images were changed"


@pytest.mark.parametrize("rule", RULES)
def test_with_shared_geometry_the_views_differ_by_the_noise_only(
    rule: str, pictures: Pictures
) -> None:
    images, index = pictures
    clean, noisy = maker_of("", rule, geometry="shared").pair(images, index, 0)
    assert torch.equal(clean, noisy)
    assert clean.data_ptr() != noisy.data_ptr(), "changing one view would change the other"


@pytest.mark.parametrize("rule", RULES)
def test_with_independent_geometry_the_noisy_view_has_its_own_draws(
    rule: str, pictures: Pictures
) -> None:
    images, index = pictures
    clean, noisy = maker_of("", rule).pair(images, index, 0)
    same = (clean == noisy).flatten(1).all(1)
    assert same.float().mean() < 0.1
    shared = maker_of("", rule, geometry="shared").clean(images, index, 0)
    assert torch.equal(clean, shared), "clean views must not depend on the geometry option"


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("chain", CHAINS)
def test_views_do_not_depend_on_batching(chain: str, rule: str, pictures: Pictures) -> None:
    images, index = pictures
    maker = maker_of(chain, rule)
    whole = torch.stack(maker.pair(images, index, 4))
    for size in (1, 7, 64):
        parts = zip(images.split(size), index.split(size), strict=True)
        pairs = [torch.stack(maker.pair(*part, 4)) for part in parts]
        assert torch.equal(whole, torch.cat(pairs, dim=1))
    order = torch.randperm(120, generator=torch.Generator().manual_seed(0))
    shuffled = torch.stack(maker.pair(images[order], index[order], 4))
    assert torch.equal(whole[:, order], shuffled)
    assert not torch.equal(whole, shuffled)  # must differ


@pytest.mark.parametrize("chain", CHAINS)
def test_draws_depend_on_seed_epoch_and_index(chain: str, pictures: Pictures) -> None:
    images, index = pictures
    base = maker_of(chain, geometry="shared").pair(images, index, 0)
    others = {
        "seed": maker_of(chain, geometry="shared", seed=1).pair(images, index, 0),
        "epoch": maker_of(chain, geometry="shared").pair(images, index, 1),
        "index": maker_of(chain, geometry="shared").pair(images, index + 1, 0),
    }
    for name, other in others.items():
        for view, changed in zip(base, other, strict=True):
            same = (view == changed).flatten(1).all(1).float().mean()
            assert same < 0.2, f"another {name} hardly changes the views"


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
@pytest.mark.parametrize("chain", CHAINS)
def test_views_do_not_depend_on_the_number_of_threads(chain: str, pictures: Pictures) -> None:
    maker = maker_of(chain, "resized")
    whole = maker.pair(*pictures, 0)
    with one_core():
        assert available_cores() == 1
        alone = maker.pair(*pictures, 0)
    assert all(torch.equal(*views) for views in zip(whole, alone, strict=True))


@pytest.mark.more
def test_another_process_gives_the_same_views() -> None:
    options = maker_of("all", "resized").options
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    command = [sys.executable, "-c", ELSEWHERE, options.model_dump_json()]
    run = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    images = torch.arange(40 * 3 * 32 * 32).mul(7).remainder(251).to(torch.uint8)
    images = images.reshape(40, 3, 32, 32)
    digests = []
    for seed in (3, 4):
        pair = ViewMaker(options, image_size=32, seed=seed).pair(images, torch.arange(40), 2)
        content = b"".join(view.numpy().tobytes() for view in pair)
        digests.append(hashlib.sha256(content).hexdigest())
    assert run.stdout.strip() == digests[0]
    assert run.stdout.strip() != digests[1]  # must differ


def test_noise_of_probability_zero_changes_nothing(pictures: Pictures) -> None:
    silent = (RandomErasingOptions(probability=0), AdditiveNoiseOptions(probability=0))
    options = ViewOptions(geometry="shared", noise=silent)
    clean, noisy = ViewMaker(options, image_size=32, seed=0).pair(*pictures, 0)
    assert torch.equal(clean, noisy)


def test_no_images_give_no_views(pictures: Pictures) -> None:
    images, index = pictures
    for rule in RULES:
        maker = maker_of("all", rule)
        for views in maker.pair(images[:0], index[:0], 0):
            assert views.shape == (0, 3, maker.input_size, maker.input_size)


def test_images_of_another_size_are_rejected_with_a_fix(pictures: Pictures) -> None:
    maker = ViewMaker(ViewOptions(), image_size=28, seed=0)
    with pytest.raises(ValueError, match=r"\[n, 3, 28, 28\](.|\n)*image_size of the stored images"):
        maker.clean(*pictures, 0)
    with pytest.raises((ValueError, TypeCheckError)):  # the latter where shapes are checked
        maker_of("").clean(pictures[0], pictures[1][:5], 0)


def test_test_views_show_the_whole_image_at_the_views_size(pictures: Pictures) -> None:
    images, _ = pictures
    assert maker_of("", "resized").test(images).shape == (120, 3, 36, 36)
    assert torch.equal(maker_of("", "padded").test(images), images)


def test_overlaps_name_the_noise_and_its_corruptions() -> None:
    chain = CHAINS["all"]
    assert overlaps(chain, ALL) == {
        "randaugment Brightness": ("brightness",),
        "randaugment Color": ("saturate",),
        "randaugment Contrast": ("contrast",),
        "random_erasing": ("impulse_noise",),
        "additive_noise": ("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise"),
    }
    assert overlaps(chain, ("fog", "saturate")) == {"randaugment Color": ("saturate",)}
    assert overlaps((), ALL) == {}


def test_sharpness_overlaps_the_blurs_only_where_it_can_smooth() -> None:
    blurs, name = ("defocus_blur", "gaussian_blur"), "randaugment Sharpness"
    for semantics in ("torchvision", "timm-inc1"):
        assert overlaps((RandAugmentOptions(semantics=semantics),), ALL)[name] == blurs
    assert overlaps((RandAugmentOptions(magnitude=4),), ALL)[name] == blurs
    assert name not in overlaps((RandAugmentOptions(magnitude=9),), ALL)
