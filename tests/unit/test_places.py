"""Where the data of a recipe or a call is looked up."""

from pathlib import Path

import pytest

from ruggedize import load_data, load_recipe
from ruggedize.core.errors import UserError
from ruggedize.core.places import user_path
from ruggedize.recipe import differing_keys
from tests.behaviour.test_changed_data import make_photos


def recipe_in(folder: Path, name: str, more: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "recipe.toml"
    file.write_text(f'base = "demo"\n[data]\nname = "{name}"\nimage_size = 16\n{more}')
    return file


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with nothing set."""
    monkeypatch.delenv("RUGGEDIZE_DATA", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_data_of_a_recipe_is_looked_up_beside_it_first(tmp_path: Path, here: Path) -> None:
    file = recipe_in(tmp_path / "project", "photos")
    assert load_recipe(file).data.name == "photos"  # nowhere yet
    (here / "photos").mkdir()
    assert load_recipe(file).data.name == str(here / "photos")
    (tmp_path / "project/photos").mkdir()
    assert load_recipe(file).data.name == str(tmp_path / "project/photos")


def test_a_path_on_the_command_line_belongs_to_the_current_folder(
    tmp_path: Path, here: Path
) -> None:
    file = recipe_in(tmp_path / "project", "photos")
    for place in (here / "photos", tmp_path / "project/photos", here / "root/photos"):
        place.mkdir(parents=True)
    assert load_recipe(file, ("data.name=photos",)).data.name == str(here / "photos")
    rooted = load_recipe(file, ("data.root=root",)).data
    assert (rooted.name, rooted.root) == (str(here / "root/photos"), here / "root")


def test_data_of_a_base_is_looked_up_beside_the_base(tmp_path: Path, here: Path) -> None:
    base = recipe_in(tmp_path / "bases", "photos")
    (tmp_path / "bases/photos").mkdir()
    (here / "photos").mkdir()
    (here / "mine.toml").write_text(f'base = "{base}"\nseed = 3')
    assert load_recipe("mine.toml").data.name == str(tmp_path / "bases/photos")


def test_a_relative_root_of_a_recipe_lies_beside_it(tmp_path: Path, here: Path) -> None:
    file = recipe_in(tmp_path / "project", "photos", 'root = "data"\n')
    (tmp_path / "project/data/photos").mkdir(parents=True)
    assert load_recipe(file).data.name == str(tmp_path / "project/data/photos")


def test_the_data_variable_works_for_folders(
    tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photos(tmp_path / "store/photos")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RUGGEDIZE_DATA", "~/store")
    assert len(load_data("photos", image_size=16).train) == 36
    found = load_recipe("demo", ("data.name=photos", "data.image_size=16"))
    assert found.data.name == str(tmp_path / "store/photos")


def test_home_is_expanded_in_recipes_and_calls(
    tmp_path: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photos(tmp_path / "photos")
    monkeypatch.setenv("HOME", str(tmp_path))
    recipe = load_recipe(recipe_in(here, "~/photos"), ("data.root=~/store",))
    assert (recipe.data.name, recipe.data.root) == (f"{tmp_path}/photos", tmp_path / "store")
    for name in ("~/photos", Path("~/photos")):
        assert len(load_data(name, image_size=16).test) == 16
    assert len(load_data("photos", "~", image_size=16).test) == 16


def test_messages_name_absolute_places(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUGGEDIZE_DATA", "/store")
    with pytest.raises(UserError, match=rf"neither {here}/photoz nor /store/photoz exists"):
        load_data("photoz", image_size=16)


def test_only_the_place_of_a_folder_is_not_compared(tmp_path: Path, here: Path) -> None:
    names, count = ("/a", "/b", "cifar10"), "data.validation=9"
    places = [load_recipe("demo", (f"data.name={name}", count)) for name in names]
    assert differing_keys(places[0], places[1]) == []
    assert differing_keys(places[0], places[2]) == ["data.name"]


def test_a_name_that_is_no_home_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert user_path("~/x") == Path("/home/me/x")
    assert user_path("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")
    assert user_path("a/~/x") == Path("a/~/x")
