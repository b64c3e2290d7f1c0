"""What users rely on: public names, commands and their options. A change here is a decision."""

import inspect
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields

import pytest

import ruggedize
from ruggedize.cli.commands import COMMANDS
from ruggedize.cli.foreign_models import ForeignModels
from ruggedize.core.tables import flat
from ruggedize.recipe import Recipe, load_recipe, shipped_recipes

NAMES = (
    "CORRUPTIONS Classifier ImageBatch ImageSet Predictor Recipe UserError corrupt generated_suite"
    " load_data load_model load_recipe randaugment run train_student train_teacher write_report"
)

OPTIONS = {
    "run": "recipe out seed data data_root skip_bad_images track resume changes",
    "train-teacher": "recipe out seed data data_root skip_bad_images track changes",
    "train-student": "recipe teacher out seed data data_root skip_bad_images track changes",
    "assess": "models data data_root image_size skip_bad_images suite corruptions preset"
    " corruption_options severities num_images seed foreign out",
    "study": "file out data_root only status",
    "report": "runs out format baseline mce_baseline",
    "views": "recipe out seed data data_root skip_bad_images changes",
    "predict": "model images skip_bad_images max_megapixels as_csv",
    "export": "model format out",
    "card": "run out license data_license stage",
    "push": "folder name private dry_run",
    "corrupt": "data out data_root image_size skip_bad_images corruptions seed preset"
    " corruption_options sheet image",
    "fetch": "name data_root",
    "recipes": "",
}

RECIPES = [
    *(
        "adamatch-cifar10",
        "cifar10-cpu",
        "cifar10-gpu",
        "cifar100-cpu",
        "demo",
        "few-labels",
        "fixmatch-cifar10",
    ),
    *("keras-example", "keras-full", "photos"),
]


def options_of(command: Callable[..., None]) -> str:
    return " ".join(inspect.signature(command).parameters)


def test_the_public_names_are_these() -> None:
    assert sorted(ruggedize.__all__) == sorted(NAMES.split())


@pytest.mark.parametrize("name", NAMES.split())
def test_every_public_name_resolves_and_is_described(name: str) -> None:
    assert getattr(ruggedize, name).__doc__


def test_the_commands_and_their_options_are_these() -> None:
    assert {name: options_of(command) for name, command in COMMANDS.items()} == OPTIONS


def test_the_options_of_models_of_other_origin_are_these() -> None:
    names = "classes class_map input_size resize mean std layout channels output download"
    assert [field.name for field in fields(ForeignModels)] == names.split()


def test_the_check_of_options_bites() -> None:
    def run(recipe: str, out: str | None = None) -> None: ...

    assert options_of(run) != OPTIONS["run"]


def test_the_shipped_recipes_are_these_and_resolve() -> None:
    assert sorted(shipped_recipes()) == RECIPES
    assert all(isinstance(load_recipe(name), Recipe) for name in RECIPES)


def test_every_option_of_a_recipe_says_what_it_means() -> None:
    schema = Recipe.model_json_schema()
    silent = [
        f"{title}.{key}"
        for title, table in schema["$defs"].items()
        for key, option in table.get("properties", {}).items()
        if "description" not in option and key not in ("kind", "name")
    ]
    assert not silent


def test_flattening_shows_every_option() -> None:
    keys = flat(load_recipe("keras-example").model_dump(mode="json"))
    assert {
        "seed",
        "views.crop",
        "student.objective.temperature",
        "teacher.averaging.every",
    } <= keys.keys()


def test_help_comes_within_a_second() -> None:
    command = [sys.executable, "-m", "ruggedize", "--help"]
    seconds = []
    for _ in range(5):
        started = time.monotonic()
        subprocess.run(command, capture_output=True, check=True)
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 1.0, f"`ruggedize --help` took {min(seconds):.2f} s; what is imported?"
