"""What `assess` takes from the run folders it is given."""

from pathlib import Path

import pytest

from ruggedize.assess import AssessOptions, load_assessment
from ruggedize.assess_models import assess_files
from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.data import DataOptions
from ruggedize.models import ResNet9Options, create_model, save_model
from ruggedize.recipe import load_recipe, recipe_toml

OPTIONS = AssessOptions(num_images=10, corruptions=("shot_noise", "frost"), severities=(1,))
DIGITS = DataOptions(name="digits")


def run_folder(folder: Path, seed: int, textures: str = "procedural") -> Path:
    """Write a run that needs no training: a network as it begins, and the recipe."""
    model = create_model(ResNet9Options(width=8), tuple("0123456789"), 32, 32, seed)
    save_model(model, folder / "student" / "model.safetensors", {})
    recipe = load_recipe(
        "demo", (f"seed={seed}", f"assess.corruption_options.frost.textures={textures}")
    )
    files.write_atomically(folder / "recipe.toml", recipe_toml(recipe).encode())
    return folder


def facts(places: list[Path], data: DataOptions | None = None, **given) -> tuple[str, str]:
    out = places[0].parent / "found.json"
    assess_files(places, out, data, OPTIONS, **given)
    found = load_assessment(out).suite_facts
    return found["seed"], found["frost.textures"]


def test_a_run_is_assessed_with_its_own_seed_and_frost(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", 3)
    assert facts([run]) == ("3", "procedural")
    assert facts([run], DIGITS) == ("3", "procedural")
    assert facts([run], seed=0) == ("0", "procedural")


def test_a_run_is_assessed_with_its_own_preset(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", 3)
    recipe = load_recipe("demo", ("assess.preset=scaled",))
    files.write_atomically(run / "recipe.toml", recipe_toml(recipe).encode())
    for given, preset in ((None, "scaled"), ("imagenet", "imagenet"), ("auto", "cifar")):
        assess_files([run], tmp_path / "found.json", None, OPTIONS, preset=given)
        assert load_assessment(tmp_path / "found.json").suite_facts["preset"] == preset


def test_a_preset_does_nothing_to_a_stored_suite(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"preset = 'scaled' .*X-C is a stored suite"):
        AssessOptions(suite="X-C", preset="scaled")
    run, stored = run_folder(tmp_path / "run", 3), AssessOptions(suite="X-C")
    with pytest.raises(UserError, match="--preset applies to generated corruptions only"):
        assess_files([run], tmp_path / "found.json", None, stored, preset="cifar")


@pytest.mark.usefixtures("photographs")
def test_the_frost_that_is_given_replaces_the_runs_own(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", 3)
    assert facts([run], corruption_options={"frost": {"textures": "photographs"}}) == (
        "3",
        "photographs",
    )


@pytest.mark.more
def test_of_several_runs_the_first_ones_seed_is_taken(tmp_path: Path) -> None:
    several = [run_folder(tmp_path / f"run{seed}", seed) for seed in (4, 5)]
    assert facts(several) == ("4", "procedural")
    assert facts(several[::-1]) == ("5", "procedural")


@pytest.mark.usefixtures("photographs")
def test_a_models_file_alone_is_assessed_with_seed_0(tmp_path: Path) -> None:
    file = run_folder(tmp_path / "run", 3) / "student" / "model.safetensors"
    assert facts([file], DIGITS) == ("0", "photographs")
    with pytest.raises(UserError, match="no data was given"):
        facts([file])
