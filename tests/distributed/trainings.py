"""Trainings in one or several processes, and their results."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors.torch import load_file
from torch import Tensor

from tests.distributed import worker
from tests.distributed.launching import launched


class Trained(NamedTuple):
    """What a training left on the disk."""

    weights: dict[str, Tensor]
    rows: list[dict[str, Any]]
    delivered: dict[str, Any]
    gradients: list[dict[str, Tensor]]  # of the first step, one a process
    notes: list[dict[str, Any]]  # what each process saw and ended with


def trained(folder: Path, num_processes: int, **wish: Any) -> Trained:
    """Train here, or in processes of their own where there are several."""
    if num_processes == 1:
        worker.main(folder, **wish)
    else:
        train_together({folder: wish}, num_processes)
    return left_by(folder, num_processes)


def train_together(wishes: Mapping[Path, dict[str, Any]], num_processes: int) -> None:
    """Train one after the other, by folder, in processes that are started once."""
    work = json.dumps({str(folder): wish for folder, wish in wishes.items()})
    result = launched("tests.distributed.worker", work, num_processes=num_processes)
    assert result.returncode == 0, result.stderr[-3000:]


def left_by(folder: Path, num_processes: int) -> Trained:
    """Read what a training left."""
    ranks = range(num_processes)
    beside = [folder.with_name(f"{folder.name}-notes-{rank}.json") for rank in ranks]
    first = [folder.with_name(f"{folder.name}-gradients-{rank}.safetensors") for rank in ranks]
    return Trained(
        load_file(folder / "model.safetensors"),
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()],
        json.loads((folder / "delivered.json").read_text()),
        [load_file(path) for path in first],
        [json.loads(path.read_text()) for path in beside],
    )
