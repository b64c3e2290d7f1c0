"""Two processes give what one gives: same order, same views, same gradients, images once each."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.distributed.launching import launched
from tests.distributed.worker import BATCH_SIZE
from tests.training_jobs import NUM_IMAGES

FOLDERS: list[Path] = []


def train(folder: Path, num_processes: int) -> tuple[dict[str, torch.Tensor], list[dict], dict]:
    """Train in this many processes of their own; give the weights and the rows of the log."""
    result = launched("tests.distributed.worker", folder, num_processes=num_processes)
    assert result.returncode == 0, result.stderr[-2000:]
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    delivered = json.loads((folder / "delivered.json").read_text())
    FOLDERS.append(folder)
    return load_file(folder / "model.safetensors"), rows, delivered


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("processes")
    return train(folder / "one", 1), train(folder / "two", 2)


def test_the_weights_are_equal_to_float_tolerance(both) -> None:
    (one, *_), (two, *_) = both
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-4, atol=1e-5, msg=name)


def test_losses_and_validation_are_equal(both) -> None:
    (_, one, _), (_, two, _) = both
    for row, other in zip(one, two, strict=True):
        assert row["steps"] == other["steps"]
        assert row["loss"] == pytest.approx(other["loss"], rel=1e-5)
        assert row["accuracy"] == other["accuracy"]
        for kind in ("raw", "averaged"):
            assert row["validation"][kind] == pytest.approx(other["validation"][kind], rel=1e-4)


def test_the_last_small_batch_is_trained_on(both) -> None:
    (_, one, _), _ = both
    assert one[0]["steps"] == -(-NUM_IMAGES // BATCH_SIZE)


def test_there_were_really_two_processes(both) -> None:
    assert [delivered["processes"] for _, _, delivered in both] == [1, 2]


def test_training_moved_the_weights(both) -> None:
    (one, rows, _), _ = both
    initial = load_file(FOLDERS[0] / "initial.safetensors")
    assert rows[1]["loss"] < rows[0]["loss"]
    assert all(not torch.equal(weight, initial[name]) for name, weight in one.items())
