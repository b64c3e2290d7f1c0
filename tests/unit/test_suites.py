"""The generated suite: the data's own images, corrupted when they are asked for."""

import pytest
import torch

from ruggedize.corruptions import CORRUPTIONS, corrupt, generated_suite, suites

PROCEDURAL = {"frost": {"textures": "procedural"}}  # needs no photographs


def test_a_suite_gives_the_same_images_however_they_are_cut(small_images: torch.Tensor):
    suite = generated_suite(small_images, seed=3)
    whole = suite.images("shot_noise", 2, 0, len(small_images))
    parts = [suite.images("shot_noise", 2, start, start + 8) for start in (0, 8, 16)]
    assert torch.equal(torch.cat(parts), whole)
    assert torch.equal(whole, corrupt(small_images, "shot_noise", 2, seed=3))
    other = generated_suite(small_images, seed=4).images("shot_noise", 2, 0, 24)
    assert not torch.equal(whole, other)


def test_a_suite_says_where_its_images_come_from(small_images: torch.Tensor):
    suite = generated_suite(small_images, seed=3)
    assert suite.name == "generated"
    assert suite.describe() == {
        "preset": "cifar",
        "seed": "3",
        "size": "32x32",
        "frost.textures": "photographs",
    }
    assert generated_suite(small_images, preset="imagenet").describe()["preset"] == "imagenet"
    assert set(suite.corruptions) == set(CORRUPTIONS)


def test_a_suite_of_larger_images_says_how_lengths_suit_them() -> None:
    images = torch.randint(256, (2, 3, 64, 70), dtype=torch.uint8)
    weaker = "meant for 32 pixels: blurs are weaker at 64; the preset scaled scales them"
    assert generated_suite(images).describe()["lengths"] == weaker
    scaled = generated_suite(images, preset="scaled")
    assert scaled.describe()["lengths"] == "scaled from 32 to 64 pixels"
    blurred = corrupt(images, "gaussian_blur", 3, preset="scaled")
    assert torch.equal(scaled.images("gaussian_blur", 3, 0, 2), blurred)
    assert "lengths" not in generated_suite(images, preset="imagenet").describe()


def test_a_suite_corrupts_no_more_than_it_is_asked_for(
    small_images: torch.Tensor, monkeypatch: pytest.MonkeyPatch
):
    seen: list[int] = []

    def watched(images: torch.Tensor, *args: object, **options: object) -> torch.Tensor:
        seen.append(len(images))
        return images

    monkeypatch.setattr(suites, "corrupt_indexed", watched)
    suite = generated_suite(small_images)
    for start in range(0, 24, 6):
        suite.images("contrast", 1, start, start + 6)
    assert seen == [6, 6, 6, 6]


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_an_image_is_the_same_in_any_selection(small_images: torch.Tensor, name: str):
    suite = generated_suite(small_images, seed=3, options=PROCEDURAL)
    whole = suite.images(name, 2, 0, len(small_images))
    for positions in (torch.tensor([1, 4, 5, 6, 23]), torch.tensor([7, 2, 7]), torch.tensor([5])):
        assert torch.equal(suite.images_at(name, 2, positions), whole[positions])
    if CORRUPTIONS[name].random:
        as_first = corrupt(small_images[4:5], name, 2, seed=3, options=PROCEDURAL.get(name))
        assert not torch.equal(as_first[0], whole[4])  # an index of its own gives other draws


def test_a_selection_is_read_once_for_all_cells(small_images: torch.Tensor):
    suite = generated_suite(small_images)
    positions = torch.tensor([0, 3, 9])
    read = suite.clean_at(positions)
    assert torch.equal(read, small_images[positions])
    assert suite.clean_at(positions.clone()) is read
    other = torch.tensor([0, 3, 8])
    assert torch.equal(suite.clean_at(other), small_images[other])
    assert suite.clean_at(positions) is not read


def test_images_beyond_the_last_are_an_error(small_images: torch.Tensor):
    suite = generated_suite(small_images)
    assert len(suite.images("contrast", 1, 24, 24)) == 0
    for start, stop in [(0, 25), (-1, 3), (5, 4)]:
        with pytest.raises(ValueError, match="0 <= start <= stop <= 24"):
            suite.images("contrast", 1, start, stop)
    assert len(suite.images_at("contrast", 1, torch.tensor([], dtype=torch.int64))) == 0
    for positions in ([0, 24], [-1]):
        with pytest.raises(ValueError, match=r"positions must be in 0\.\.23"):
            suite.images_at("contrast", 1, torch.tensor(positions))
