"""Contract of RandAugment: what views depend on, and the frequency of operations."""

from collections import Counter

import numpy as np
import pytest
import torch

from ruggedize.views import operations as op
from ruggedize.views.augment import plan_for, randaugment, randaugment_into, run_plan
from ruggedize.views.noise_options import RandAugmentOptions
from ruggedize.views.operations import SEMANTICS, operations
from tests.single_operation import apply, pictures

SIZES = [(28, 28), (32, 32), (72, 72), (96, 96), (40, 56), (5, 2), (1, 1)]
ALL = sorted(SEMANTICS)
NUM_DRAWS = 20_000


@pytest.fixture(scope="module")
def images(small_images: torch.Tensor) -> torch.Tensor:
    """Return 120 images, enough for several blocks."""
    return torch.cat([small_images.roll(shift, 3) for shift in range(5)])


def large_enough(images: torch.Tensor, semantics: str) -> torch.Tensor:
    """Return the images at twice their size for the semantics that rejects small ones."""
    repeats = 2 if semantics == "tf-2021" else 1
    return images.repeat_interleave(repeats, 2).repeat_interleave(repeats, 3)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("semantics", ALL)
def test_shape_and_dtype_are_kept_and_the_input_is_not_modified(
    small_images: torch.Tensor, semantics: str, size: tuple[int, int]
) -> None:
    given = torch.from_numpy(pictures(small_images, *size))
    if semantics == "tf-2021" and min(size) < 64:
        with pytest.raises(ValueError, match="'tf-2021' needs images of at least 64 pixels, got"):
            randaugment(given, seed=0, semantics=semantics)
        return
    before = given.clone()
    views = randaugment(given, seed=0, num_layers=3, semantics=semantics)
    assert (views.shape, views.dtype) == (given.shape, torch.uint8)
    assert torch.equal(given, before)
    assert views.data_ptr() != given.data_ptr()


@pytest.mark.parametrize("semantics", ALL)
def test_views_do_not_depend_on_batching(images: torch.Tensor, semantics: str) -> None:
    images = large_enough(images, semantics)
    index = torch.arange(len(images)) * 7 + 3
    whole = randaugment(images, seed=1, index=index, semantics=semantics)
    for size in (1, 17, 64):
        pairs = zip(images.split(size), index.split(size), strict=True)
        parts = [randaugment(i, seed=1, index=j, semantics=semantics) for i, j in pairs]
        assert torch.equal(whole, torch.cat(parts))
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    shuffled = randaugment(images[order], seed=1, index=index[order], semantics=semantics)
    assert torch.equal(shuffled, whole[order])
    assert not torch.equal(shuffled, randaugment(images[order], seed=1, semantics=semantics))


@pytest.mark.parametrize("semantics", ALL)
def test_views_do_not_depend_on_the_number_of_threads(images: torch.Tensor, semantics: str) -> None:
    source, index = images.numpy(), np.arange(len(images))
    plan = plan_for(semantics, 9, 2, 32, 32)
    results = [np.zeros_like(source) for _ in range(3)]
    for out, threads in zip(results, (1, 2, 5), strict=True):
        run_plan(plan, source, out, index, np.uint64(3), threads)
    assert all(np.array_equal(out, results[0]) for out in results)


@pytest.mark.parametrize("semantics", ALL)
def test_seeds_epochs_and_indices_give_other_views(images: torch.Tensor, semantics: str) -> None:
    images = large_enough(images, semantics)
    first = randaugment(images, seed=0, semantics=semantics)
    assert torch.equal(first, randaugment(images, seed=0, semantics=semantics))
    index = torch.arange(len(images)) + 1000
    others = [
        randaugment(images, seed=1, semantics=semantics),
        randaugment(images, seed=0, epoch=1, semantics=semantics),
        randaugment(images, seed=0, index=index, semantics=semantics),
    ]
    for other in others:
        same = (first == other).flatten(1).all(1).float().mean()
        assert same < 0.5


def test_images_that_are_not_contiguous_give_the_same_views(images: torch.Tensor) -> None:
    expected = randaugment(images, seed=0)
    channels_last = images.to(memory_format=torch.channels_last)
    assert torch.equal(randaugment(channels_last, seed=0), expected)
    every_other = images.repeat_interleave(2, 0)[::2]
    assert torch.equal(randaugment(every_other, seed=0), expected)
    repeated = images[:1].expand(50, -1, -1, -1)
    assert torch.equal(randaugment(repeated, seed=0), randaugment(repeated.clone(), seed=0))


def test_arrays_of_another_layout_are_rejected(images: torch.Tensor) -> None:
    source, stream, options = images.numpy(), np.uint64(0), RandAugmentOptions()
    index, out = np.arange(len(source)), np.empty_like(source)
    for wrong in (out.transpose(0, 1, 3, 2), out[..., ::-1]):
        with pytest.raises(ValueError, match="must be C-contiguous"):
            randaugment_into(source, wrong, index, stream, options)
    with pytest.raises(ValueError, match="out must have the shape of images"):
        randaugment_into(source, out[:-1], index, stream, options)
    with pytest.raises(ValueError, match="out must have the shape of images"):
        randaugment_into(source, out, index[:-1], stream, options)


def test_no_images_give_no_views(images: torch.Tensor) -> None:
    assert randaugment(images[:0], seed=0).shape == (0, 3, 32, 32)


def test_options_and_arguments_mean_the_same(images: torch.Tensor) -> None:
    out = np.empty_like(images.numpy())
    options = RandAugmentOptions(num_layers=3, magnitude=5, semantics="timm")
    stream, index = np.uint64(17), np.arange(len(images))
    randaugment_into(images.numpy(), out, index, stream, options)
    expected = np.empty_like(out)
    run_plan(plan_for("timm", 5, 3, 32, 32), images.numpy(), expected, index, stream)
    assert np.array_equal(out, expected)
    assert not np.array_equal(out, images.numpy())


@pytest.mark.parametrize("semantics", ALL)
def test_the_options_reach_to_the_end_of_the_scale_and_no_further(semantics) -> None:
    scale = {"torchvision": 30}.get(semantics, 10)
    assert RandAugmentOptions(semantics=semantics, magnitude=scale).magnitude == scale
    with pytest.raises(ValueError, match=f"magnitude must be in 0..{scale}"):
        RandAugmentOptions(semantics=semantics, magnitude=scale + 1)


def test_adding_a_layer_does_not_change_the_earlier_ones(images: torch.Tensor) -> None:
    many = images.repeat(20, 1, 1, 1)
    one, two = (randaugment(many, seed=0, num_layers=layers) for layers in (1, 2))
    share = (one == two).flatten(1).all(1).float().mean().item()
    assert 0.045 < share < 0.15  # 1/17 draw the identity second; other draws would agree seldom


def observed(semantics: str, image: np.ndarray) -> Counter[tuple[str, int]]:
    """Count which operation and sign one layer did to an image, recognised by its result.

    What is not recognised is a square at any place. `(name, 0)` where both signs look alike.
    """
    nearest = SEMANTICS[semantics].interpolation == op.NEAREST
    interpolations = (op.NEAREST,) if nearest else (op.BILINEAR, op.BICUBIC)
    known: dict[bytes, tuple[str, int]] = {image.tobytes(): ("Identity", 0)}
    for each in operations(semantics, 9, *image.shape[1:]):
        for sign, level in ((1, each.level), (-1, each.opposite)):
            for interpolation in interpolations:
                if each.code not in (op.IDENTITY, op.CUTOUT):
                    done = apply(image[None], semantics, each.code, level, interpolation)
                    entry = (each.name, 0 if each.level == each.opposite else sign)
                    assert known.setdefault(done.tobytes(), entry) == entry
    copies = torch.from_numpy(image).expand(NUM_DRAWS, -1, -1, -1)
    views = randaugment(copies, seed=4, num_layers=1, semantics=semantics)
    return Counter(known.get(view.tobytes(), ("Cutout", 0)) for view in views.numpy())


@pytest.mark.parametrize("semantics", ALL)
def test_operations_and_signs_are_equally_frequent(
    small_images: torch.Tensor, semantics: str
) -> None:
    counts = observed(semantics, pictures(small_images, 72, 72)[0])
    listed = operations(semantics, 9, 72, 72)
    probability = SEMANTICS[semantics].probability
    share = probability / len(listed)
    tolerance = 5 * (share / NUM_DRAWS) ** 0.5
    for each in listed:
        signs = [0] if each.level == each.opposite else [1, -1]
        for sign in signs:
            extra = 1 - probability if each.name == "Identity" else 0
            expected = share / len(signs) + extra
            assert abs(counts[each.name, sign] / NUM_DRAWS - expected) < tolerance, (each, sign)
    done = sum(count for (name, _), count in counts.items() if name != "Identity")
    identities = sum(each.name == "Identity" for each in listed)
    assert done / NUM_DRAWS == pytest.approx(probability - identities * share, abs=0.015)


def test_timm_takes_bilinear_as_often_as_bicubic(small_images: torch.Tensor) -> None:
    image = pictures(small_images, 32, 32)[0]
    rotated = {
        how: apply(image[None], "timm", op.ROTATE, 27.0, how).tobytes()
        for how in (op.BILINEAR, op.BICUBIC)
    }
    copies = torch.from_numpy(image).expand(NUM_DRAWS, -1, -1, -1)
    views = randaugment(copies, seed=9, num_layers=1, semantics="timm").numpy()
    counts = Counter(view.tobytes() for view in views)
    bilinear, bicubic = counts[rotated[op.BILINEAR]], counts[rotated[op.BICUBIC]]
    assert bilinear + bicubic > 200
    assert abs(bilinear - bicubic) < 5 * (bilinear + bicubic) ** 0.5


def test_squares_are_centred_anywhere_and_grey(small_images: torch.Tensor) -> None:
    image = np.zeros((1, 3, 32, 32), np.uint8)
    many = apply(np.repeat(image, 5000, axis=0), "tf", op.CUTOUT, 5.0)
    covered = (many == 128).all(axis=1).mean(axis=0)
    assert set(np.unique(many)) == {0, 128}
    assert np.abs(covered[5:27, 5:27] - 100 / 1024).max() < 0.03
    assert covered[0, 0] == pytest.approx(25 / 1024, abs=0.015)


@pytest.mark.parametrize("epoch", [0, 1])
def test_few_views_of_real_images_are_constant(
    cifar10_test: tuple[torch.Tensor, torch.Tensor], epoch: int
) -> None:
    views = randaugment(cifar10_test[0], seed=0, epoch=epoch, semantics="tf").flatten(2)
    constant = (views.amin(2) == views.amax(2)).all(1)
    assert constant.float().mean() < 0.005


def test_a_magnitude_of_zero_moves_nothing(images: torch.Tensor) -> None:
    for semantics in ALL:
        for each in operations(semantics, 0, 32, 32):
            if each.code > op.CUTOUT:
                out = apply(images.numpy(), semantics, each.code, each.level)
                assert np.array_equal(out, images.numpy()), each.name


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"semantics": "keras"}, "semantics must be one of tf-2021, tf, torchvision"),
        ({"magnitude": 11}, "magnitude must be in 0..10"),
        ({"magnitude": -1}, "magnitude must be in 0..10"),
        ({"magnitude": 31, "semantics": "torchvision"}, "magnitude must be in 0..30"),
        ({"num_layers": 0}, "num_layers must be at least 1"),
        ({"index": torch.arange(3)}, r"index must have one entry per image \(120\)"),
        ({"images": torch.zeros(2, 3, 8, 8)}, "images must be uint8"),
        ({"images": torch.zeros(2, 1, 8, 8, dtype=torch.uint8)}, "images must be uint8"),
    ],
)
def test_invalid_arguments_are_rejected_with_a_fix(
    images: torch.Tensor, changes: dict[str, object], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        randaugment(**{"images": images, "seed": 0, **changes})
