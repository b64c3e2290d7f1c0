"""The overlaps that an assessment of several models records."""

from pathlib import Path

import pytest

from ruggedize.assess_models import common_overlaps
from tests.tiny_assessment import TinySuite, tiny_images

RANDAUGMENT = 'noise = [{ kind = "randaugment" }]'
NONE = "noise = []"


def model_of_run(folder: Path, noise: str | None) -> Path:
    """Return the place of a model in a run with this noise; None: in a folder without a recipe."""
    folder.mkdir()
    if noise is not None:
        (folder / "recipe.toml").write_text(f'base = "demo"\n\n[views]\n{noise}\n')
    return folder / "student" / "model.safetensors"


@pytest.mark.parametrize(
    ("noises", "is_known"),
    [
        ((RANDAUGMENT,), True),
        ((RANDAUGMENT, RANDAUGMENT), True),
        ((NONE, RANDAUGMENT), False),
        ((RANDAUGMENT, NONE), False),
        ((RANDAUGMENT, None), False),
        ((None, None), False),
    ],
)
def test_overlaps_hold_for_all_models_or_are_unknown(
    noises: tuple[str | None, ...], is_known: bool, tmp_path: Path
) -> None:
    named = {f"m{n}": model_of_run(tmp_path / str(n), noise) for n, noise in enumerate(noises)}
    found = common_overlaps(named, TinySuite(tiny_images().images))
    assert (found is not None) == is_known
    assert not is_known or (found or {})["randaugment Brightness"] == ("brightness",)


def test_the_noise_of_a_foreign_model_is_unknown(tmp_path: Path) -> None:
    named = {"own": model_of_run(tmp_path / "run", RANDAUGMENT), "other": "timm/resnet18"}
    assert common_overlaps(named, TinySuite(tiny_images().images)) is None
