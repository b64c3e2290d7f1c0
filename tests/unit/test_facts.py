"""A state is accepted if its facts are equal; options added since then have their defaults."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save

from ruggedize.core.errors import UserError
from ruggedize.data import DataDigest
from ruggedize.data.digest import PartDigest
from ruggedize.train.checkpoint import hash_of, load_newest_state, save_state
from ruggedize.train.loop import fit, fresh_state
from ruggedize.train.stage import Stage
from ruggedize.views import ViewOptions
from tests.tiny_stages import three_colours, tiny_stage

Change = Callable[[dict[str, Any]], None]


def rewrite(folder: Path, change: Change) -> None:
    """Change the numbers of every saved state, and its name accordingly."""
    for path in list((folder / "state").iterdir()):
        with safe_open(path, "pt") as file:
            numbers = json.loads(file.metadata()["state"])
        change(numbers)
        data = save(load_file(path), {"state": json.dumps(numbers)})
        path.unlink()
        path.with_name(f"{path.name[:8]}-{hash_of(data)}.safetensors").write_bytes(data)


def without_deliver(facts: dict[str, Any]) -> None:
    """Remove an option, as if it had been added since."""
    del facts["options"]["deliver"]


def saved(stage: Stage) -> Stage:
    save_state(fresh_state(stage), stage.folder / "state")
    return stage


def complaint(stage: Stage) -> str:
    """Return the message with which a stage rejects the state in its folder."""
    with pytest.raises(UserError) as error:
        load_newest_state(fresh_state(stage), stage.folder / "state")
    return str(error.value)


def test_a_state_written_before_an_option_existed_is_resumed(tmp_path: Path) -> None:
    saved(tiny_stage(tmp_path))
    rewrite(tmp_path, lambda numbers: without_deliver(numbers["facts"]))
    assert load_newest_state(fresh_state(tiny_stage(tmp_path)), tmp_path / "state")
    assert "differs in teacher.deliver;" in complaint(tiny_stage(tmp_path, deliver="raw"))


def test_a_state_whose_counters_have_older_names_is_resumed(tmp_path: Path) -> None:
    def with_older_names(numbers: dict[str, Any]) -> None:
        counters = numbers["counters"]
        counters["rate_share"] = counters.pop("lr_scale") / 2
        counters["best_figure"] = counters.pop("best_metric")

    saved(tiny_stage(tmp_path))
    rewrite(tmp_path, with_older_names)
    state = fresh_state(tiny_stage(tmp_path))
    assert load_newest_state(state, tmp_path / "state")
    assert state.counters.lr_scale == 0.5


@pytest.mark.more
def test_a_finished_training_from_before_an_option_existed_is_finished(tmp_path: Path) -> None:
    fit(tiny_stage(tmp_path, epochs=1))
    rewrite(tmp_path, lambda numbers: without_deliver(numbers["facts"]))
    note = json.loads((tmp_path / "delivered.json").read_text())
    without_deliver(note["training"])
    (tmp_path / "delivered.json").write_text(json.dumps(note))
    before = (tmp_path / "model.safetensors").stat().st_mtime_ns
    fit(tiny_stage(tmp_path, epochs=1))
    assert (tmp_path / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(UserError, match=r"differs in teacher.deliver;"):
        fit(tiny_stage(tmp_path, epochs=1, deliver="raw"))


def test_a_fact_that_was_not_recorded_is_not_compared(tmp_path: Path) -> None:
    saved(tiny_stage(tmp_path))
    rewrite(tmp_path, lambda numbers: numbers["facts"].pop("seed"))
    other = dataclasses.replace(tiny_stage(tmp_path), seed=5)
    assert load_newest_state(fresh_state(other), tmp_path / "state")


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        (
            {"options": {"batch_size": 8}, "views": ViewOptions(pad=3)},
            "teacher.batch_size, views.pad",
        ),
        (
            {"options": {"schedule": {"kind": "one-cycle", "warmup": 0.5}}},
            "teacher.schedule.warmup",
        ),
        ({"options": {"class_weights": "balanced"}}, "teacher.class_weights"),
        ({"options": {"early_stopping": {"patience": 3}}}, "teacher.early_stopping.patience"),
        ({"seed": 1}, "seed"),
        ({"parents": {"teacher": "0" * 64}}, "parents.teacher"),
        ({"validation": three_colours(31, 1)}, "images.validation"),
        ({"sources": {"labelled": three_colours(65, 0)}}, "images.training"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_differs_is_named(tmp_path: Path, changes: dict[str, Any], names: str) -> None:
    saved(tiny_stage(tmp_path))
    others = dict(changes)
    other = dataclasses.replace(tiny_stage(tmp_path, **others.pop("options", {})), **others)
    message = complaint(other)
    assert f"another training, which differs in {names};\n" in message
    assert "another folder" in message


def test_other_classes_are_named(tmp_path: Path) -> None:
    saved(tiny_stage(tmp_path))
    rewrite(tmp_path, lambda numbers: numbers["facts"].update(classes=["a", "b", "c"]))
    assert "differs in classes;" in complaint(tiny_stage(tmp_path))


def of_an_earlier_layout(numbers: dict[str, Any]) -> None:
    del numbers["facts"]
    numbers["fingerprint"] = "0123456789abcdef"


def of_a_later_version(numbers: dict[str, Any]) -> None:
    numbers["facts"]["options"]["unheard_of"] = 1


def no_table(numbers: dict[str, Any]) -> None:
    numbers["facts"] = "0123456789abcdef"


@pytest.mark.parametrize("change", [of_an_earlier_layout, of_a_later_version, no_table])
def test_unreadable_facts_are_a_clear_error(tmp_path: Path, change: Change) -> None:
    saved(tiny_stage(tmp_path))
    rewrite(tmp_path, change)
    message = complaint(tiny_stage(tmp_path))
    assert "this version cannot read" in message
    assert "another folder" in message
    assert len(message.splitlines()) <= 3


@pytest.mark.parametrize(
    "training",
    [
        pytest.param("0123456789abcdef", marks=pytest.mark.more),
        pytest.param({}, marks=pytest.mark.more),
        {"options": 3},
    ],
)
def test_an_unreadable_finished_training_is_a_clear_error(tmp_path: Path, training: Any) -> None:
    fit(tiny_stage(tmp_path, epochs=1))
    note = json.loads((tmp_path / "delivered.json").read_text())
    (tmp_path / "delivered.json").write_text(json.dumps(note | {"training": training}))
    rewrite(tmp_path, of_an_earlier_layout)
    with pytest.raises(UserError, match=r"cannot read .*\n.*another folder"):
        fit(tiny_stage(tmp_path, epochs=1))


def test_the_same_data_may_lie_elsewhere_in_another_process(tmp_path: Path) -> None:
    def digest(place: str, labels: str = "ab") -> int:
        part = PartDigest(images=64, labels=labels, content="cd")
        stage = dataclasses.replace(
            tiny_stage(tmp_path), data=DataDigest(place=place, parts={"train": part})
        )
        return int(stage.digest())

    assert digest("/disk1/photos") == digest("/disk2/photos")
    assert digest("/disk1/photos") != digest("/disk1/photos", labels="other")
