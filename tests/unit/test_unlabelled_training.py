"""Trainings with unlabelled images: exact resume, views, epochs of a set length."""

import dataclasses
import json
from pathlib import Path

import pytest
import torch

from ruggedize.core.errors import UserError
from ruggedize.train.batches import batches_of_epoch
from ruggedize.train.checkpoint import load_newest_state, save_state
from ruggedize.train.loop import fit, fresh_state
from ruggedize.train.safety import divergence_error
from tests.tiny_stages import NUM_UNLABELLED, checked, tiny_stage
from tests.unit.test_state import equal, walk

pytestmark = pytest.mark.more

ADAMATCH = {
    "kind": "fixmatch",
    "unlabelled_ratio": 2,
    "threshold": 0.5,
    "relative_threshold": True,
    "distribution_alignment": True,
}
OBJECTIVES = [
    {"kind": "consistency", "unlabelled_ratio": 2, "threshold": 0.3},
    {"kind": "consistency", "unlabelled_ratio": 2, "clean_view": "test"},
    {"kind": "jsd", "unlabelled_ratio": 2},
    {"kind": "mean-teacher", "unlabelled_ratio": 2},
    {"kind": "noisy-student", "unlabelled_ratio": 2, "threshold": 0.0},
    ADAMATCH,
    ADAMATCH | {"labels_from": "average"},
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda o: f"{o['kind']}-{len(o)}")
@pytest.mark.parametrize("length", [{}, {"steps_per_epoch": 5}], ids=["passes", "steps"])
def test_seven_steps_equal_three_a_save_a_load_and_four(
    tmp_path: Path, objective: dict, length: dict
) -> None:
    changes = {"objective": objective, **length}
    whole = tiny_stage(tmp_path, **changes)
    unbroken = fresh_state(whole)
    walk(whole, unbroken, 7)
    first = tiny_stage(tmp_path, **changes)
    before = fresh_state(first)
    walk(first, before, 3)
    save_state(before, tmp_path / "state")
    second = tiny_stage(tmp_path, weights_seed=99, **changes)
    after = fresh_state(second)
    assert load_newest_state(after, tmp_path / "state")
    assert equal(before, after)
    walk(second, after, 4)
    assert equal(unbroken, after)
    assert not equal(before, after)


def seen(stage, epoch: int) -> list[list[int]]:
    """Return the indices of the unlabelled images of every step of an epoch."""
    found: list[list[int]] = []
    inner = stage.objective.batch

    def noting(images, epoch, step):
        found.append(images["unlabelled"].index.tolist())
        return inner(images, epoch, step)

    object.__setattr__(stage.objective, "batch", noting)
    list(batches_of_epoch(stage, epoch, 0))
    object.__delattr__(stage.objective, "batch")
    return found


def test_every_unlabelled_image_is_seen_once_in_a_pass(tmp_path: Path) -> None:
    stage = tiny_stage(tmp_path, objective=ADAMATCH)
    steps = [index for epoch in range(3) for index in seen(stage, epoch)]
    places = [index for step in steps for index in step]
    assert sorted(places[:NUM_UNLABELLED]) == list(range(NUM_UNLABELLED))
    assert sorted(places[NUM_UNLABELLED : 2 * NUM_UNLABELLED]) == list(range(NUM_UNLABELLED))
    assert places[:NUM_UNLABELLED] != places[NUM_UNLABELLED : 2 * NUM_UNLABELLED]


def test_an_image_that_is_repeated_gets_another_view(tmp_path: Path) -> None:
    stage = tiny_stage(tmp_path, objective=ADAMATCH, steps_per_epoch=30)
    views: dict[str, list[torch.Tensor]] = {"labelled": [], "unlabelled": []}
    for planned in batches_of_epoch(stage, 0, 0):
        for source, kept in views.items():
            kept.append(planned.batch[source]["clean"])
    for kept in views.values():
        rows = torch.cat(kept).flatten(1)
        num_images = 64 if kept is views["labelled"] else NUM_UNLABELLED
        num_views = len({row.numpy().tobytes() for row in rows})
        assert num_views > 3 * num_images  # of 480 and 960 drawn; with pad 2 there are 50 each


def test_few_labels_are_used_once_in_every_step(tmp_path: Path) -> None:
    stage = tiny_stage(tmp_path, objective=ADAMATCH, steps_per_epoch=3, batch_size=200)
    for planned in batches_of_epoch(stage, 0, 0):
        assert planned.batch.counts["images"] == 64
        assert planned.batch.counts["unlabelled"] == NUM_UNLABELLED


def test_the_rate_counts_unlabelled_images(tmp_path: Path) -> None:
    changes = {"objective": OBJECTIVES[0], "epochs": 1, "steps_per_epoch": 3}
    fit(tiny_stage(tmp_path, **changes))
    (row,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert row["images_per_second"] * row["seconds"] == pytest.approx(3 * (16 + 2 * 16))


def test_an_epoch_has_as_many_steps_as_set(tmp_path: Path) -> None:
    fit(tiny_stage(tmp_path / "run", objective=ADAMATCH, steps_per_epoch=6, epochs=2))
    names = sorted(path.name for path in (tmp_path / "run/state").iterdir())
    assert [int(name[:8]) for name in names] == [6, 12]


def test_a_diverging_step_names_its_own_images(tmp_path: Path) -> None:
    stage = tiny_stage(tmp_path, objective=ADAMATCH, steps_per_epoch=6)
    labels = [planned.batch["labelled"]["labels"] for planned in batches_of_epoch(stage, 1, 0)]
    divergence_error(stage, 6 + 3, 1.0)
    images = json.loads((tmp_path / "not_finite.json").read_text())["images"]
    assert torch.equal(stage.train.labels[images], labels[2])


def test_batch_norm_is_refreshed_on_the_larger_source(tmp_path: Path) -> None:
    assert len(tiny_stage(tmp_path, objective=ADAMATCH).refresh_images) == NUM_UNLABELLED
    assert len(tiny_stage(tmp_path).refresh_images) == 64


def test_missing_unlabelled_images_are_found_before_the_training(tmp_path: Path) -> None:
    stage = tiny_stage(tmp_path, objective=ADAMATCH)
    checked(stage)
    without = dataclasses.replace(stage, sources={"labelled": stage.train})
    with pytest.raises(UserError, match=r"needs unlabelled images, .*;\nset data\.unlabelled"):
        checked(without)
