"""Recipes: bases, changes, round trip, and errors that name the cure."""

import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

from ruggedize.core.errors import UserError
from ruggedize.recipe import (
    Recipe,
    differing_keys,
    load_recipe,
    recipe_toml,
    shipped_recipes,
)
from ruggedize.recipe.merge import merged
from ruggedize.recipe.reading import SHIPPED


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_a_resolved_recipe_reads_back_as_itself(name: str) -> None:
    recipe = load_recipe(name)
    assert Recipe.model_validate(tomllib.loads(recipe_toml(recipe))) == recipe


def test_changes_overrule_a_file_which_overrules_its_base(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('base = "keras-example"\n[teacher]\nepochs = 7\nbatch_size = 64\n')
    recipe = load_recipe(own, ("teacher.epochs=9",))
    assert (recipe.teacher.epochs, recipe.teacher.batch_size) == (9, 64)
    assert recipe.student == load_recipe("keras-example").student


def test_a_base_may_be_a_file_beside_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "under.toml").write_text('base = "demo"\nseed = 3\n')
    (tmp_path / "over.toml").write_text('base = "under.toml"\n')
    assert load_recipe(tmp_path / "over.toml").seed == 3


def test_a_bare_word_chooses_a_kind_and_leaves_none_of_the_other_kinds_settings() -> None:
    unaveraged = ("teacher.averaging=none", "teacher.deliver=auto")
    recipe = load_recipe("keras-example", (*unaveraged, "student.model=resnet9"))
    assert recipe.teacher.averaging.kind == "none"
    assert recipe.student.model.name == "resnet9"
    changed = load_recipe("keras-example", ('teacher.averaging={kind="ema", decay=0.9}',))
    assert changed.teacher.averaging.model_dump() == {"kind": "ema", "decay": 0.9, "start": 0.0}


def test_a_setting_of_the_chosen_kind_is_merged_into_it() -> None:
    recipe = load_recipe("keras-example", ("teacher.averaging.every=5",))
    assert recipe.teacher.averaging.model_dump() == {"kind": "swa", "start": 0.0, "every": 5}
    table = merged({"schedule": "one-cycle"}, {"schedule": {"warmup": 0.5}})
    assert table == {"schedule": {"kind": "one-cycle", "warmup": 0.5}}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("student.objective.temprature=4", ("student.objective.temprature", "temperature")),
        ("techer.epochs=4", ("techer", "teacher")),
        ("model.name=resnet9", ("unknown key model; did you mean teacher.model?",)),
        ("teacher.optimiser.lrr=1", ("teacher.optimiser.lrr", "did you mean lr?")),
        ("views.noise=[{kind='randaugment', layers=3}]", ("views.noise.0.layers", "num_layers")),
        (
            "student.objective.temperature=0",
            ("student.objective.temperature", "equal to 0.01", "got 0"),
        ),
        ("student.objective.consistency_weight=-1", ("student.objective.consistency_weight", "-1")),
        ("teacher.averaging=foo", ("teacher.averaging", "foo", "none, ema, swa")),
        ("student.objective=jds", ("objective.kind", "'jds'", "supervised, ", "mean jsd?")),
        ("teacher.model=resnt9", ("teacher.model.name", "'resnt9'", "mean resnet9?")),
        ("views.noise=[{std=1}]", ("views.noise.0 has no kind", "additive_noise")),
        ("stages.a={like='student', objective='x'}", ("stages.a.objective.kind", "jsd, ")),
        ("stages.a.epohcs=1", ("unknown key stages.a.epohcs", "mean epochs?")),
        ("teacher.generations=2", ("teacher.generations", "mean student.generations?")),
        ("student.control=true", ("student.control", "control at the top level")),
        ("teacher.base='demo'", ("teacher.base", "base at the top of a recipe file")),
        ("teacher.epochs=many", ("teacher.epochs", "many")),
        ("views.crop=97", ("crop", "97", "96")),
        ("assess.severities=[9]", ("severit", "9")),
        ("nonsense", ("section.key=value", "nonsense")),
    ],
)
def test_a_mistake_is_named_with_its_cure_in_at_most_three_lines(
    change: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe("keras-example", (change,))
    message = str(caught.value)
    assert all(word in message for word in words), message
    assert message.count("\n") < 3


def test_an_unknown_recipe_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean keras-example"):
        load_recipe("keras-exmple")


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\0b", ".", "/", "~"])
def test_what_cannot_be_the_name_of_a_file_is_no_recipe(name: str) -> None:
    with pytest.raises(UserError, match="there is no recipe") as caught:
        load_recipe(name)
    assert len(str(caught.value)) < 300


def test_a_base_that_is_no_name_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('base = ["demo"]\n')
    with pytest.raises(UserError, match="base must be the name of a recipe or file"):
        load_recipe(tmp_path / "a.toml")


def test_circular_bases_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('base = "b.toml"\n')
    (tmp_path / "b.toml").write_text('base = "a.toml"\n')
    with pytest.raises(UserError, match="its own base"):
        load_recipe(tmp_path / "a.toml")


def test_broken_toml_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text("[teacher\n")
    with pytest.raises(UserError, match="not valid TOML"):
        load_recipe(tmp_path / "a.toml")


def test_differing_keys_are_named_but_where_the_data_lies_does_not_count() -> None:
    recipe = load_recipe("keras-example")
    moved = load_recipe("keras-example", ("data.root='/elsewhere'",))
    other = load_recipe("keras-example", ("student.objective.temperature=4", "seed=1"))
    assert differing_keys(recipe, moved) == []
    assert differing_keys(recipe, other) == ["seed", "student.objective.temperature"]


def test_keras_full_differs_from_keras_example_in_scale_alone() -> None:
    keys = differing_keys(load_recipe("keras-example"), load_recipe("keras-full"))
    scale = ("batch_size", "epochs", "ghost_batches")
    assert keys == [f"{who}.{key}" for who in ("student", "teacher") for key in scale]


def test_keras_full_normalises_as_many_images_as_its_author_s_replicas() -> None:
    recipe = load_recipe("keras-full")
    for options in (recipe.teacher, recipe.student):
        assert options.batch_size / options.ghost_batches == 128


COMMANDS = [
    line.split()
    for name in shipped_recipes()
    for line in (SHIPPED / f"{name}.toml").read_text().splitlines()
    if line.startswith("# ruggedize run ")
]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_in_a_recipe_s_header_works_as_printed(words: list[str]) -> None:
    name = words[3]
    changes = tuple(after for word, after in pairwise(words) if word == "--set")
    assert (load_recipe(name, changes) != load_recipe(name)) == bool(changes)


def test_some_header_switches_averaging_off() -> None:
    assert any("teacher.averaging=none" in words for words in COMMANDS)


def test_a_choice_called_none_is_kept_when_a_resolved_recipe_is_read_again(tmp_path: Path) -> None:
    recipe = load_recipe("demo", ("teacher.averaging=none",))
    (tmp_path / "recipe.toml").write_text(recipe_toml(recipe))
    assert load_recipe(tmp_path / "recipe.toml") == recipe


@pytest.mark.parametrize(
    "change", ["seed={}", "student.objective.temperature={}", "assess.severities=[{}]"]
)
def test_a_number_that_toml_does_not_know_is_rejected(change: str) -> None:
    for number in ("0x" + "f" * 5_000, "9223372036854775808"):
        with pytest.raises(UserError, match="must fit into 64 bits"):
            load_recipe("demo", (change.format(number),))


def test_a_name_of_line_breaks_is_shown_on_one_line() -> None:
    with pytest.raises(UserError, match=r"there is no recipe \\n\\n, shipped or as a file;\n.*$"):
        load_recipe("\n\n")
