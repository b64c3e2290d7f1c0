"""Whatever a file holds, its reader gives an answer or a `UserError`, at once and leaving no trace.

`make test-more` runs 200 cases of each reader, `make test-long` 10,000.
"""

import hashlib
from dataclasses import replace as changed
from pathlib import Path

import pytest
from hypothesis import strategies as st

from ruggedize.core.errors import UserError
from ruggedize.data import decode_image
from ruggedize.data.cifar import CIFAR10, load_cifar
from ruggedize.models import load_model
from ruggedize.recipe import load_recipe, recipe_toml
from ruggedize.train.checkpoint import load_newest_state, save_state
from ruggedize.train.loop import fresh_state
from tests.fuzz import inputs
from tests.fuzz.damage import damaged
from tests.fuzz.hammering import Record, hammer, nothing
from tests.fuzz.watching import untouched_world
from tests.tiny_stages import tiny_stage

NUM_CASES = [
    pytest.param(200, marks=pytest.mark.more),
    pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)]),
]


@pytest.mark.more
@pytest.mark.parametrize("refuses", [True, False])
def test_the_watch_bites_in_a_reader(
    tmp_path: Path, record_property: Record, refuses: bool
) -> None:
    def read(case: int) -> None:
        (tmp_path / "left").write_text("")
        if refuses:
            raise UserError("refused")

    with pytest.raises(AssertionError, match="left"):
        hammer(st.integers(), nothing, read, 3, record_property)


@pytest.mark.parametrize("num_cases", NUM_CASES)
def test_recipes(
    num_cases: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property: Record
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "recipe.toml"

    def lay(case: tuple[bytes, tuple[str, ...]]) -> None:
        path.write_bytes(case[0])

    def read(case: tuple[bytes, tuple[str, ...]]) -> None:
        recipe = load_recipe("recipe.toml", case[1])
        assert recipe_toml(recipe)

    cases = st.tuples(inputs.recipes(), inputs.changes())
    hammer(cases, lay, read, num_cases, record_property)


@pytest.mark.parametrize("num_cases", NUM_CASES)
def test_names_of_recipes_and_changes(num_cases: int, record_property: Record) -> None:
    cases = st.tuples(st.sampled_from(["demo"]) | st.text(), inputs.changes())
    hammer(cases, nothing, lambda case: load_recipe(*case), num_cases, record_property)


@pytest.mark.parametrize("num_cases", NUM_CASES)
def test_cifar_files(num_cases: int, tmp_path: Path, record_property: Record) -> None:
    layout = changed(CIFAR10, num_train=2, num_test=3)
    whole = inputs.cifar_files(layout)

    def lay(case: dict[str, bytes]) -> None:
        for name, content in (whole | case).items():
            (tmp_path / name).write_bytes(content)

    def read(case: dict[str, bytes]) -> None:
        train, test = load_cifar(layout, tmp_path)
        assert (len(train), len(test), len(train.classes)) == (10, 3, 10)

    hammer(inputs.damaged_cifar_files(whole), lay, read, num_cases, record_property)


@pytest.mark.parametrize("num_cases", NUM_CASES)
@pytest.mark.filterwarnings("ignore")
def test_images(num_cases: int, record_property: Record) -> None:
    def read(case: bytes) -> None:
        assert decode_image(case, 16).shape == (3, 16, 16)

    cases = st.one_of([damaged(whole) for whole in inputs.images()])
    hammer(cases, nothing, read, num_cases, record_property)


@pytest.mark.parametrize("num_cases", NUM_CASES)
def test_model_files(num_cases: int, tmp_path: Path, record_property: Record) -> None:
    path = tmp_path / "model.safetensors"
    whole = inputs.model_file(path)
    load_model(path)  # imports what it needs, unwatched
    cases = damaged(whole) | inputs.damaged_header(whole)
    hammer(cases, path.write_bytes, lambda case: load_model(path), num_cases, record_property)


@pytest.mark.parametrize("num_cases", NUM_CASES)
def test_states(num_cases: int, tmp_path: Path, record_property: Record) -> None:
    """Half of the damaged files bear a name that fits, as only a forger's would."""
    stage, folder = tiny_stage(tmp_path), tmp_path / "state"
    save_state(fresh_state(stage), folder)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    assert load_newest_state(fresh_state(stage), folder)  # imports what it needs, unwatched

    def lay(case: tuple[bytes, bool]) -> None:
        content, is_forged = case
        digest = hashlib.sha256(content if is_forged else whole).hexdigest()[:16]
        for earlier in folder.iterdir():
            earlier.unlink()
        (folder / f"00000000-{digest}.safetensors").write_bytes(content)

    def read(case: tuple[bytes, bool]) -> None:
        content, is_forged = case
        found = load_newest_state(fresh_state(stage), folder)
        assert is_forged or found == (content == whole)

    cases = st.tuples(damaged(whole) | inputs.damaged_header(whole), st.booleans())
    hammer(cases, lay, read, num_cases, record_property)


def test_the_watch_bites(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="open"), untouched_world():
        (tmp_path / "file").write_text("x")
    with pytest.raises(AssertionError, match="mkdir"), untouched_world():
        (tmp_path / "folder").mkdir()
    with untouched_world():
        (tmp_path / "file").read_text()
