"""A `--set` whose value looks like another type: the message shows what to type in a shell."""

import shlex

import pytest

from ruggedize.core.errors import UserError
from ruggedize.recipe import load_recipe


@pytest.mark.parametrize(
    "text",
    ["2024", "1e5", "true", "2024-05-06", "07:30:00", "2024-05-06T07:30:00", "nan", "[1]", "-0"],
)
@pytest.mark.parametrize("key", ["data.name", "data.root", "assess.suite"])
def test_a_name_that_looks_like_another_type_is_shown_in_quotes(key: str, text: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe("demo", ("data.name=x", f"{key}={text}"))
    *_, fix = str(caught.value).splitlines()
    assert fix == f"in a shell: --set '{key}=\"{text}\"'"
    _, change = shlex.split(fix.removeprefix("in a shell: "))  # what the command then gets
    found = load_recipe("demo", ("data.name=x", change)).model_dump(mode="json")
    section, name = key.split(".")
    assert str(found[section][name]).rpartition("/")[2] == text


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ("assess.severities=5", "'assess.severities=[5]'"),
        ("assess.severities=1,2", "'assess.severities=[1,2]'"),
        ("assess.corruptions=fog", "'assess.corruptions=[\"fog\"]'"),
        ("assess.corruptions=fog,snow", '\'assess.corruptions=["fog", "snow"]\''),
    ],
)
def test_a_list_without_brackets_is_shown_with_them(change: str, shown: str) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe("demo", (change,))
    assert str(caught.value).endswith(f";\nin a shell: --set {shown}")
    load_recipe("demo", (shlex.split(shown)[0],))


def test_values_that_are_wrong_in_a_file_get_no_shell_hint() -> None:
    with pytest.raises(UserError) as caught:
        load_recipe("demo", ("teacher.epochs=ten",))
    assert "in a shell" not in str(caught.value)
    assert load_recipe("demo", ("data.name=007",)).data.name == "007"  # no number in TOML
