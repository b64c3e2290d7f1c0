"""Custom noise is passed as an object."""

from pathlib import Path
from typing import get_args, get_origin

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from ruggedize.core.seeding import image_generator
from ruggedize.views import (
    CustomNoise,
    RandomErasingOptions,
    ViewMaker,
    ViewOptions,
    kinds,
    overlaps,
)
from ruggedize.views.options import NoiseOptions, OneOfOptions

NOISE_KINDS = get_args(get_args(NoiseOptions)[0])


class Salt(CustomNoise):
    """White pixels."""

    name: str = "salt"
    share: float = 0.1

    def apply(self, images, out, index, stream):
        np.copyto(out, images)
        for image, number in zip(out, index, strict=True):
            rng = image_generator(stream, number)
            image[:, rng.random(image.shape[1:]) < self.share] = 255

    def overlaps(self):
        return {"salt": ("impulse_noise",)}


def noisy(images: Tensor, *noise: object, index: Tensor | None = None) -> Tensor:
    views = ViewOptions(flip=False, noise=noise)
    numbers = torch.arange(len(images)) if index is None else index
    return ViewMaker(views, image_size=32, seed=1).noisy(images, numbers, 0)


def test_custom_noise_is_a_link_of_the_chain(small_images: Tensor) -> None:
    salted = noisy(small_images, Salt())
    share = (salted == 255).all(1).float().mean()
    assert 0.08 < share < 0.2
    assert not torch.equal(noisy(small_images, Salt(), RandomErasingOptions()), salted)
    assert not torch.equal(noisy(small_images, Salt(share=0.3)), salted)


def test_custom_noise_does_not_depend_on_batching(small_images: Tensor) -> None:
    whole, numbers = noisy(small_images, Salt()), torch.arange(len(small_images))
    parts = [noisy(small_images[n : n + 5], Salt(), index=numbers[n : n + 5]) for n in (0, 5, 10)]
    assert torch.equal(torch.cat(parts), whole[:15])
    assert not torch.equal(noisy(small_images, Salt(), index=numbers + 1), whole)


def test_custom_noise_declares_its_overlaps() -> None:
    found = overlaps((Salt(),), ("fog", "impulse_noise"))
    assert found == {"salt": ("impulse_noise",)}


def test_the_options_of_custom_noise_are_part_of_the_views() -> None:
    dumped = ViewOptions(noise=(Salt(share=0.2),)).model_dump(mode="json")
    assert dumped["noise"] == [{"kind": "custom", "name": "salt", "share": 0.2}]


def test_a_recipe_cannot_name_custom_noise() -> None:
    with pytest.raises(ValidationError, match="passed from Python"):
        ViewOptions.model_validate({"noise": [{"kind": "custom", "name": "salt"}]})


def test_every_kind_of_noise_has_options_and_a_file_of_its_name() -> None:
    files = {path.stem for path in Path(kinds.__file__).parent.glob("[a-z]*.py")}
    members = (get_args(member)[0] if get_origin(member) else member for member in NOISE_KINDS)
    assert {kind.model_fields["kind"].default for kind in members} == files | {"custom"}


class Stacked(CustomNoise):
    """Fails for zero images, as `np.stack` does."""

    name: str = "stacked"

    def apply(self, images, out, index, stream):
        out[:] = np.stack([255 - image for image in images])


def test_custom_noise_is_not_asked_for_a_batch_that_draws_other_kinds(small_images: Tensor) -> None:
    seldom = OneOfOptions(one_of=(Stacked(), Salt(share=0.0)), weights=(0.001, 1.0))
    maker = ViewMaker(ViewOptions(geometry="shared", noise=(seldom,)), image_size=32, seed=0)
    few = small_images[:4]
    assert torch.equal(maker.noisy(few, torch.arange(4), 0), maker.clean(few, torch.arange(4), 0))
