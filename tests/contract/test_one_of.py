"""A chain may draw one of several kinds of noise for each image."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ruggedize.core.errors import UserError
from ruggedize.core.seeding import stream_key
from ruggedize.views import ViewMaker, ViewOptions, overlaps
from ruggedize.views.kinds.one_of import choices
from ruggedize.views.options import OneOfOptions
from tests.image_draws import Draws

NUM = 4000
ERASING = {"kind": "random_erasing", "probability": 1.0, "area": (0.2, 0.2)}
ADDITIVE = {"kind": "additive_noise", "std": 0.5}


def one_of(*kinds: dict[str, object], **options: object) -> ViewOptions:
    noise = [{"one_of": kinds, **options}]
    return ViewOptions.model_validate({"flip": False, "noise": noise})


def noisy(views: ViewOptions) -> np.ndarray:
    grey = torch.full((NUM, 3, 8, 8), 100, dtype=torch.uint8)
    return ViewMaker(views, image_size=8, seed=0).noisy(grey, torch.arange(NUM), 0).numpy()


def is_erased(images: np.ndarray) -> np.ndarray:
    return (np.isin(images, (100, 128))).all((1, 2, 3))


@pytest.mark.parametrize(("weights", "share"), [(None, 0.5), ((3, 1), 0.75), ((0.1, 0.9), 0.1)])
def test_kinds_are_drawn_with_their_weights(weights: tuple[float, ...], share: float) -> None:
    images = noisy(one_of(ERASING, ADDITIVE, weights=weights))
    tolerance = 4.5 * np.sqrt(share * (1 - share) / NUM)
    assert is_erased(images).mean() == pytest.approx(share, abs=tolerance)


def test_the_draw_of_an_image_follows_from_its_own_number() -> None:
    options = OneOfOptions(one_of=({**ERASING}, {**ADDITIVE}, {**ERASING}), weights=(2, 1, 1))
    stream, index = stream_key(0, "test"), np.arange(50) * 7
    draws = [Draws(stream, number).uniform(0) for number in index]
    expected = [0 if draw < 0.5 else 1 if draw < 0.75 else 2 for draw in draws]
    assert choices(index, stream, options).tolist() == expected
    assert choices(index + 1, stream, options).tolist() != expected  # must differ


def test_equal_kinds_draw_differently() -> None:
    images = noisy(one_of(ERASING, ERASING))
    other = noisy(one_of({**ERASING, "probability": 0.0}, ERASING))
    changed = (other != 100).any((1, 2, 3))
    assert changed.mean() == pytest.approx(0.5, abs=0.04)
    assert np.array_equal(images[changed], other[changed])
    alone = noisy(ViewOptions.model_validate({"flip": False, "noise": [ERASING]}))
    assert not np.array_equal(images, alone)


def test_overlaps_are_those_of_every_kind() -> None:
    views = one_of({**ERASING, "fill": "noise"}, {"kind": "trivialaugment"})
    found = overlaps(views.noise, ("impulse_noise", "saturate", "fog"))
    assert found == {
        "random_erasing": ("impulse_noise",),
        "trivialaugment Color": ("saturate",),
    }


def test_options_survive_a_round_trip() -> None:
    views = one_of(ERASING, ADDITIVE, weights=(1, 2))
    assert views.noise[0].kind == "one_of"
    assert ViewOptions.model_validate_json(views.model_dump_json()) == views


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": (1.0,)}, "each of the 2 entries"),
        ({"weights": (1.0, 0.0)}, "greater than 0"),
        ({"one_of": [ERASING]}, "at least 2"),
        ({"one_of": [ERASING, {"one_of": [ERASING, ADDITIVE]}]}, "discriminator"),
    ],
)
def test_mistakes_are_rejected(change: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ViewOptions.model_validate({"noise": [{"one_of": [ERASING, ADDITIVE], **change}]})


def test_the_rules_of_randaugment_hold_within_one_of() -> None:
    randaugment = {"kind": "randaugment", "semantics": "tf-2021"}
    with pytest.raises(UserError, match="at least 64 pixels"):
        one_of(randaugment, ADDITIVE).check_image_size(32)
    with pytest.raises(ValidationError, match="first entry"):
        ViewOptions.model_validate({"noise": [ERASING, {"one_of": [randaugment, ADDITIVE]}]})
