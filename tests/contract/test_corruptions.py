"""What holds for every corruption, on any size and at every severity."""

import os
from collections.abc import Callable

import pytest
import torch

import ruggedize
from ruggedize.corruptions import CORRUPTIONS, resolve_preset
from ruggedize.corruptions.names import ALL, BENCHMARK, SEVERITIES
from ruggedize.kernels import blocks

RANDOM = [name for name, row in CORRUPTIONS.items() if row.random]
EXACT = [name for name, row in CORRUPTIONS.items() if not row.random]
SIZES = [(28, 28), (32, 32), (64, 64), (96, 96), (40, 56)]
NO_FILES = {"frost": {"textures": "procedural"}}
PHOTOGRAPH = pytest.param((224, 224), marks=pytest.mark.more)


def corrupt(images: torch.Tensor, name: str, severity: int, **given) -> torch.Tensor:
    """Corrupt without the photographs that frost would need."""
    options = NO_FILES.get(name)
    return ruggedize.corrupt(images, name, severity, options=options, **given)


def pictures(n: int, size: tuple[int, int]) -> torch.Tensor:
    """Smooth colour gradients with grain, of any size."""
    generator = torch.Generator().manual_seed(7)
    corners = torch.rand(n, 3, 2, 2, generator=generator) * 255
    smooth = torch.nn.functional.interpolate(corners, size, mode="bilinear", align_corners=True)
    grain = torch.randn(smooth.shape, generator=generator) * 8
    return (smooth + grain).clamp(0, 255).to(torch.uint8)


def faults(apply: Callable[[torch.Tensor, int], torch.Tensor], images: torch.Tensor) -> list[str]:
    """Name what is wrong with `apply(images, index of the first)`."""
    before = images.clone()
    whole = apply(images, 0)
    found = []
    if whole.shape != images.shape or whole.dtype != torch.uint8 or not whole.is_contiguous():
        found.append("form")
    if not torch.equal(images, before) or whole.data_ptr() == images.data_ptr():
        found.append("input changed")
    for size in (1, 7, 64):
        starts = range(0, len(images), size)
        parts = [apply(images[start : start + size], start) for start in starts]
        if len(torch.cat(parts)) != len(whole) or not torch.equal(torch.cat(parts), whole):
            found.append(f"batches of {size}")
    sideways = images.transpose(2, 3).contiguous().transpose(2, 3)
    if not torch.equal(apply(sideways, 0), whole):
        found.append("memory order")
    if torch.equal(whole, images):
        found.append("nothing happened")
    return found


@pytest.mark.parametrize("severity", SEVERITIES)
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_every_corruption_keeps_the_contract(name: str, severity: int):
    images = pictures(70, (32, 32))
    found = faults(lambda part, start: corrupt(part, name, severity, start=start), images)
    assert found == []


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_thousand_images_are_corrupted_as_each_of_them(name: str):
    images = pictures(1_007, (32, 32))
    for severity in SEVERITIES:
        whole = corrupt(images, name, severity)
        parts = [corrupt(images[:1_000], name, severity)]
        parts.append(corrupt(images[1_000:], name, severity, start=1_000))
        assert torch.equal(torch.cat(parts), whole)
        if name in RANDOM:
            unplaced = corrupt(images[1_000:], name, severity)
            assert not torch.equal(unplaced, parts[1])  # it bites


@pytest.mark.parametrize("size", [*SIZES, PHOTOGRAPH])
@pytest.mark.parametrize("preset", ["cifar", "imagenet", "scaled"])
@pytest.mark.parametrize("name", CORRUPTIONS)
def test_any_size_will_do(name: str, preset, size: tuple[int, int]):
    images = pictures(8, size)
    for severity in SEVERITIES:
        whole = corrupt(images, name, severity, preset=preset)
        assert whole.shape == images.shape
        assert not torch.equal(whole, images)
        assert torch.equal(whole[5:], corrupt(images[5:], name, severity, start=5, preset=preset))


@pytest.mark.parametrize(
    ("apply", "fault"),
    [
        (lambda part, start: part.sub_(part // 4), "input changed"),
        (lambda part, start: (part - part.float().mean()).to(torch.uint8), "batches of 7"),
        (lambda part, start: part[:, :, ::2], "form"),
        (lambda part, start: 255 - part.int(), "form"),
        (lambda part, start: part.clone(), "nothing happened"),
        (lambda part, start: corrupt(part, "gaussian_noise", 1), "batches of 64"),
        (lambda part, start: torch.zeros_like(part) + len(part), "batches of 1"),
        (lambda part, start: part.flip(2) // 2 + part.stride(2), "memory order"),
    ],
)
def test_the_contract_finds_faulty_corruptions(apply, fault: str):
    assert fault in faults(apply, pictures(70, (32, 32)))


@pytest.mark.parametrize("name", RANDOM)
def test_the_seed_and_the_index_matter_to_a_random_corruption(name: str):
    images = pictures(1, (32, 32)).expand(4, 3, 32, 32)
    for severity in SEVERITIES:
        first = corrupt(images, name, severity, seed=1)
        assert torch.equal(first, corrupt(images, name, severity, seed=1))
        assert not torch.equal(first, corrupt(images, name, severity, seed=2))
        assert not torch.equal(first, corrupt(images, name, severity, seed=1, start=4))
        assert not torch.equal(first[0], first[1])


@pytest.mark.parametrize("name", EXACT)
def test_the_seed_does_not_matter_to_the_others(name: str):
    images = pictures(4, (32, 32))
    assert torch.equal(corrupt(images, name, 3, seed=1), corrupt(images, name, 3, seed=2, start=9))


def test_the_noises_do_not_share_their_draws():
    grey = torch.full((1, 3, 32, 32), 128, dtype=torch.uint8)
    added = corrupt(grey, "gaussian_noise", 2).double() - 128  # 0.06 x 255, as is speckle's
    scaled = corrupt(grey, "speckle_noise", 3).double() - 128  # 0.12 x 128
    both = torch.stack([added.flatten(), scaled.flatten()])
    assert torch.corrcoef(both)[0, 1].abs() < 0.1
    assert torch.corrcoef(both[:1].repeat(2, 1))[0, 1] > 0.9


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_number_of_threads_does_not_matter(name: str, monkeypatch: pytest.MonkeyPatch):
    images = pictures(130, (32, 40))
    cuts: list[set[tuple[int, int]]] = []

    def corrupted(threads: int) -> torch.Tensor:
        monkeypatch.setattr(blocks, "available_cores", lambda: threads)
        used = blocks.pool(os.getpid(), threads)
        cuts.append(set())
        monkeypatch.setattr(used, "map", watched(used.map, cuts[-1]))
        return torch.cat([corrupt(images, name, severity) for severity in SEVERITIES])

    assert torch.equal(corrupted(1), corrupted(2))
    assert cuts[0] == set()
    assert len(cuts[1]) > 1  # the second time the images really were cut into blocks


def watched(work_through: Callable, cuts: set) -> Callable:
    def watching(block, starts, stops):
        starts = list(starts)
        cuts.update(zip(starts, stops, strict=True))
        return work_through(block, starts, stops)

    return watching


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_no_images_are_no_trouble(name: str):
    assert corrupt(torch.empty(0, 3, 32, 32, dtype=torch.uint8), name, 1).shape == (0, 3, 32, 32)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_tiny_images_are_no_trouble(name: str):
    for size in [(1, 1), (2, 3), (8, 8)]:
        assert corrupt(pictures(3, size), name, 5, preset="imagenet").shape == (3, 3, *size)


def test_the_table_holds_five_levels_of_each_preset():
    assert tuple(CORRUPTIONS) == ALL
    for name, row in CORRUPTIONS.items():
        assert len(row.cifar) == len(row.imagenet) == len(SEVERITIES)
        assert row.group == ("benchmark15" if name in BENCHMARK else "extra4")


def test_the_preset_follows_the_shorter_side():
    assert resolve_preset("auto", 32, 32) == resolve_preset("auto", 84, 500) == "cifar"
    assert resolve_preset("auto", 224, 224) == resolve_preset("auto", 85, 85) == "imagenet"
    assert resolve_preset("imagenet", 32, 32) == "imagenet"
    images = pictures(2, (32, 32))
    strong = corrupt(images, "gaussian_blur", 5, preset="imagenet")
    assert not torch.equal(strong, corrupt(images, "gaussian_blur", 5))


def test_errors_name_the_fix():
    images = pictures(2, (32, 32))
    with pytest.raises(ValueError, match=r"severity must be in 1\.\.5, got 0;\nfor severity 0"):
        corrupt(images, "contrast", 0)
    with pytest.raises(
        ValueError, match="unknown corruption gausian_noise; did you mean gaussian_noise"
    ):
        corrupt(images, "gausian_noise", 1)
    with pytest.raises(ValueError, match="known: gaussian_noise, "):
        corrupt(images, "xyz", 1)
    with pytest.raises(
        ValueError, match="preset must be cifar, imagenet, scaled or auto, got 'tiny'"
    ):
        corrupt(images, "contrast", 1, preset="tiny")  # pyright: ignore[reportArgumentType]
    with pytest.raises(
        ValueError, match=r"frost\.textures must be photographs or procedural, got 'real'"
    ):
        ruggedize.corrupt(images, "frost", 1, options={"textures": "real"})
    with pytest.raises(ValueError, match=r"frost has no option ice; it has textures"):
        ruggedize.corrupt(images, "frost", 1, options={"ice": "real"})
    with pytest.raises(ValueError, match=r"fog has no option textures; it has none"):
        ruggedize.corrupt(images, "fog", 1, options={"textures": "procedural"})
    with pytest.raises(ValueError, match=r"must be uint8 \[n, 3, h, w\], got float32"):
        corrupt(images.float(), "contrast", 1)
    with pytest.raises(ValueError, match=r"got uint8 \[2, 32, 32, 3\]"):
        corrupt(images.permute(0, 2, 3, 1), "contrast", 1)
