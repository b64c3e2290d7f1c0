"""Two processes compute the same as one: order, views, gradients, each image once."""

from itertools import chain
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.distributed.trainings import Trained, left_by, train_together, trained
from tests.distributed.worker import BATCH_SIZE, NUM_VALIDATION
from tests.tiny_stages import NUM_IMAGES

SWA = {"kind": "swa", "start": 0.0, "every": 2}
PLATEAU = {"kind": "plateau", "patience": 1}
TOLERANCE = {
    torch.float32: {"rtol": 1e-4, "atol": 1e-5},
    torch.float64: {"rtol": 1e-9, "atol": 1e-9},  # the loss is computed in float32 all the same
    torch.int64: {"rtol": 0, "atol": 0},
}
WISHES = {
    "without batch norm": {"network": "without"},
    "frozen batch norm": {"network": "frozen"},
    "two ghost batches": {"network": "as it is", "ghost_batches": 2, "averaging": SWA},
    "four ghost batches": {"network": "as it is", "ghost_batches": 4, "batch_size": 22},
    "jsd": {"network": "as it is", "ghost_batches": 2, "objective": {"kind": "jsd"}},
    "mean teacher": {
        "network": "as it is",
        "ghost_batches": 2,
        "objective": {"kind": "mean-teacher", "decay": 0.8},
    },
    "mean teacher, unlabelled": {
        "network": "as it is",
        "ghost_batches": 2,
        "objective": {"kind": "mean-teacher", "decay": 0.8, "unlabelled_ratio": 2},
    },
    "adamatch": {
        "network": "as it is",
        "ghost_batches": 4,
        "microbatches": 2,
        "batch_size": 22,
        "objective": {
            "kind": "fixmatch",
            "unlabelled_ratio": 2,
            "threshold": 0.5,
            "relative_threshold": True,
            "distribution_alignment": True,
            "labels_from": "average",
        },
    },
    "noisy student": {
        "network": "as it is",
        "ghost_batches": 2,
        "steps_per_epoch": 6,
        "objective": {"kind": "noisy-student", "unlabelled_ratio": 2, "threshold": 0.0},
    },
    "micro-batches": {
        "network": "as it is",
        "ghost_batches": 4,
        "microbatches": 2,
        "batch_size": 22,
    },
    "plateau and stopping": {
        "network": "without",
        "epochs": 9,
        "schedule": PLATEAU,
        "early_stopping": {"patience": 2},
        "averaging": "none",
        "optimiser": {"kind": "sgd", "lr": 0.5, "momentum": 0.0},
    },
}
MORE = [name for name in WISHES if name != "without batch norm"]


@pytest.fixture(scope="module")
def in_two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train all that is trained in `make test-more` in two processes that are started once."""
    folder = tmp_path_factory.mktemp("together")
    train_together({folder / name: WISHES[name] for name in MORE}, 2)
    return folder


@pytest.fixture(
    scope="module",
    params=["without batch norm", *(pytest.param(name, marks=pytest.mark.more) for name in MORE)],
)
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Trained, Trained]:
    """Train alike in one and in two processes."""
    folder, wish = tmp_path_factory.mktemp("processes"), WISHES[request.param]
    one = trained(folder / "one", 1, **wish)
    if request.param not in MORE:
        return one, trained(folder / "two", 2, **wish)
    return one, left_by(request.getfixturevalue("in_two_processes") / request.param, 2)


def test_there_were_really_two_processes(both: tuple[Trained, Trained]) -> None:
    assert [run.delivered["processes"] for run in both] == [1, 2]


def test_order_and_views_are_the_same(both: tuple[Trained, Trained]) -> None:
    one, two = both
    assert len(one.notes[0]["seen"]) == len(two.notes[0]["seen"]) == one.rows[-1]["steps"]
    shares = zip(two.notes[0]["seen"], two.notes[1]["seen"], strict=True)
    for whole, (first, second) in zip(one.notes[0]["seen"], shares, strict=True):
        assert whole == first + second
        assert first
        assert second


def test_unlabelled_images_and_their_views_are_the_same(both: tuple[Trained, Trained]) -> None:
    one, two = both
    shares = zip(two.notes[0]["unlabelled"], two.notes[1]["unlabelled"], strict=True)
    for whole, (first, second) in zip(one.notes[0]["unlabelled"], shares, strict=True):
        assert whole == first + second
    used = [len(whole) > 0 for whole in one.notes[0]["unlabelled"]]
    assert all(used) == any(used) == ("pseudo_label_accuracy" in one.rows[-1])


def test_the_first_gradients_are_equal_to_float_tolerance(both: tuple[Trained, Trained]) -> None:
    one, two = both
    for name, gradient in one.gradients[0].items():
        assert gradient.abs().max() > 0
        for mine in two.gradients:
            near = TOLERANCE[gradient.dtype]
            torch.testing.assert_close(mine[name], gradient, **near, msg=name)


def test_the_weights_are_equal_to_float_tolerance(both: tuple[Trained, Trained]) -> None:
    one, two = both
    for name, weight in one.weights.items():
        near = TOLERANCE[weight.dtype]
        torch.testing.assert_close(two.weights[name], weight, **near, msg=name)


def test_every_process_ends_with_the_same_bits(both: tuple[Trained, Trained]) -> None:
    _, two = both
    assert two.notes[0]["delivered"] == two.notes[1]["delivered"]


def test_losses_and_validation_are_equal(both: tuple[Trained, Trained]) -> None:
    one, two = both
    for row, other in zip(one.rows, two.rows, strict=True):
        assert row["steps"] == other["steps"]
        assert row["lr"] == other["lr"]
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert row["accuracy"] == other["accuracy"]
        for kind in ("raw", "averaged"):
            if row["validation"][kind] is not None:
                assert row["validation"][kind] == pytest.approx(
                    other["validation"][kind], rel=1e-5, abs=1e-8
                )


def test_every_validation_image_is_counted_once(both: tuple[Trained, Trained]) -> None:
    for row in chain(*(run.rows for run in both)):
        correct = row["validation"]["raw"]["accuracy"] * NUM_VALIDATION
        assert correct == pytest.approx(round(correct), abs=1e-9)


def test_the_last_small_batch_is_trained_on(tmp_path: Path) -> None:
    run = trained(tmp_path / "one", 1, epochs=1)
    assert run.rows[0]["steps"] == -(-NUM_IMAGES // BATCH_SIZE)


def test_training_moved_the_weights(tmp_path: Path) -> None:
    run = trained(tmp_path / "one", 1)
    initial = load_file(tmp_path / "one" / "initial.safetensors")
    assert run.rows[1]["loss"] < run.rows[0]["loss"]
    assert all(not torch.equal(weight, initial[name]) for name, weight in run.weights.items())


def test_the_rate_falls_and_the_training_stops_early(tmp_path: Path) -> None:
    rows = trained(tmp_path / "one", 1, **WISHES["plateau and stopping"]).rows
    assert rows[-1]["lr"] < rows[0]["lr"]
    assert len(rows) < WISHES["plateau and stopping"]["epochs"]


@pytest.mark.more
def test_without_ghost_batches_batch_norm_depends_on_the_number_of_processes(
    tmp_path: Path,
) -> None:
    one, two = (trained(tmp_path / str(n), n, network="as it is") for n in (1, 2))
    assert any(
        not torch.allclose(one.weights[name], two.weights[name], rtol=1e-2, atol=1e-2)
        for name in one.weights
    )
