"""Recipes for data of one's own: what is inherited, and the absolute places that a run keeps."""

from pathlib import Path

import pytest

from ruggedize.core.errors import UserError
from ruggedize.recipe import Recipe, differing_keys, load_recipe, recipe_toml
from tests.unit.test_data_layout import fill

SUPERVISED = 'student.objective="supervised"'


@pytest.mark.parametrize("base", ["cifar10-cpu", "keras-example", "demo"])
def test_a_count_of_validation_images_is_not_inherited_by_ones_own_data(
    base: str, tmp_path: Path
) -> None:
    own = tmp_path / "own.toml"
    own.write_text(f'base = "{base}"\n[data]\nname = "photos"\nimage_size = 32\n')
    fill(tmp_path / "photos/train", 10)
    for recipe in (load_recipe(own), load_recipe(base, ("data.name=hf:me/photos",))):
        assert recipe.data.validation == 0.1
        assert recipe.data.validation_choice == "stratified"
    changes = ("data.validation=7", "data.name=photos")
    assert load_recipe(base, changes).data.validation == 7
    assert load_recipe(base, changes[::-1]).data.validation == 7
    assert load_recipe(own, changes[:1]).data.validation == 7
    (tmp_path / "more.toml").write_text('base = "own.toml"\n[data]\nvalidation = 5\n')
    assert load_recipe(tmp_path / "more.toml").data.validation == 5


def test_a_count_of_validation_images_is_inherited_by_built_in_data() -> None:
    assert load_recipe("cifar100-cpu").data.validation == 1000
    assert load_recipe("keras-example", ("data.name=cifar100",)).data.validation == 500


def test_a_teacher_that_no_objective_uses_is_rejected_or_dropped(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"learns_from = 'teacher' has no effect.*remove learns_f"):
        load_recipe("demo", (SUPERVISED, "student.learns_from=teacher"))
    with pytest.raises(UserError, match="objective jsd has no teacher"):
        load_recipe("demo", ("stages.x={like='student', objective='jsd', learns_from='student'}",))
    recipe = load_recipe("demo", (SUPERVISED,))
    assert recipe.student.learns_from is None
    assert load_recipe("demo").student.learns_from == "teacher"
    written = tmp_path / "resolved.toml"
    written.write_text(recipe_toml(recipe))
    assert load_recipe(written) == recipe
    written.write_text(recipe_toml(load_recipe("demo")))  # which names the teacher
    assert load_recipe(written, (SUPERVISED,)).student.learns_from is None


def test_replaced_options_keep_what_follows_from_others() -> None:
    demo = load_recipe("demo")
    longer = load_recipe("demo", (SUPERVISED,)).replaced({"student.epochs": 3})
    assert longer.replaced({"student.objective": demo.student.objective}) == demo.replaced(
        {"student.epochs": 3}
    )
    explicit = load_recipe("demo", ("student.learns_from=teacher",))
    assert explicit.replaced({"student.objective": longer.student.objective}) != explicit


def test_the_place_of_a_suite_is_absolute_and_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(folder: Path) -> Recipe:
        (folder / "suites/mine-c").mkdir(parents=True)
        (folder / "own.toml").write_text('base = "demo"\n[assess]\nsuite = "suites/mine-c"\n')
        return load_recipe(folder / "own.toml")

    here, there = loaded(tmp_path / "here"), loaded(tmp_path / "there")
    assert here.assess.suite == str(tmp_path / "here/suites/mine-c")
    assert differing_keys(here, there) == []
    assert differing_keys(here, load_recipe("demo")) == ["assess.suite"]
    monkeypatch.chdir(tmp_path / "here")
    assert load_recipe("demo", ("assess.suite=suites/mine-c",)).assess == here.assess
    monkeypatch.setenv("RUGGEDIZE_DATA", "suites")
    assert load_recipe("demo", ("assess.suite=mine-c",)).assess == here.assess
    assert load_recipe("demo", ("assess.suite=other-c",)).assess.suite == "other-c"


def test_a_relative_data_variable_is_kept_as_an_absolute_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RUGGEDIZE_DATA", "data")
    assert load_recipe("cifar10-cpu").data.root == tmp_path / "data"
    assert load_recipe("cifar10-cpu", ("data.root=x",)).data.root == tmp_path / "x"
    assert load_recipe("demo").data.root is None
    monkeypatch.delenv("RUGGEDIZE_DATA")
    assert load_recipe("cifar10-cpu").data.root is None
