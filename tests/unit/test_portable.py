"""Recipes and reports without paths of this machine, and where reports may be written."""

from pathlib import Path

import pytest

from ruggedize.cli.training import with_options
from ruggedize.core.errors import UserError
from ruggedize.recipe import load_recipe
from ruggedize.report import default_page, reject_other_ending
from ruggedize.report.portable import last_part, table_without_places


@pytest.mark.parametrize(
    ("place", "kept"),
    [
        ("/home/ann/photos", "photos"),
        ("photos", "photos"),
        ("hf:uoft-cs/cifar10", "hf:uoft-cs/cifar10"),
        ("hf:/home/ann/saved", "saved"),
        ("hf:/ann", "ann"),
        ("timm/resnet18.a1_in1k", "timm/resnet18.a1_in1k"),
    ],
)
def test_paths_are_cut_and_names_on_the_hub_are_kept(place: str, kept: str) -> None:
    assert last_part(place) == kept


def test_the_folder_of_unlabelled_images_is_cut() -> None:
    data = {"name": "/home/ann/photos", "unlabelled": "/home/ann/secret/more"}
    table = table_without_places({"data": data})
    assert table["data"] == {"name": "photos", "unlabelled": "more"}


@pytest.mark.parametrize("name", ["mine.json", "mine.toml", "mine.safetensors"])
def test_a_report_does_not_replace_what_it_reads(name: str) -> None:
    with pytest.raises(UserError, match=r"not written into a \.\w+ file.*\n.*ends with \.html"):
        reject_other_ending(Path(name), "html")


def test_the_page_of_the_folder_above_is_not_hidden(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "runs" / "here")
    assert default_page([Path("..")]) == tmp_path / "runs.html"


@pytest.mark.parametrize("name", ["caf\u00e9", "\U0001f4f7"])
def test_any_folder_can_be_named_on_the_command_line(name: str) -> None:
    changes = with_options((), None, name, Path(name), False)
    recipe = load_recipe("photos", changes)
    assert (recipe.data.name, str(recipe.data.root)[-len(name) :]) == (name, name)
