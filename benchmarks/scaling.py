"""One process and two: the same training, the same batch, on one core and on two.

Every training is `train_teacher` in processes of its own, each kept to its cores; the rate is that
of the second epoch, without start and validation. The second of two processes costs the exchange of
all gradients in every step (gloo, over the loopback device).
"""

import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.record import Content, add_group, begun, interleaved
from benchmarks.turns import ROOT
from ruggedize.core.files import read_lines
from ruggedize.kernels.blocks import available_cores


class Split(NamedTuple):
    """How two cores are used."""

    num_processes: int
    threads: int  # of each process


ONE, WIDE, TWO = "one process, one core", "one process, two cores", "two processes, a core each"
SPLITS = {ONE: Split(1, 1), WIDE: Split(1, 2), TWO: Split(2, 1)}
PAIRS = [(TWO, ONE, ()), (TWO, WIDE, ()), (WIDE, ONE, ())]
TRAININGS: dict[str, dict[str, Any]] = {
    "airbench of `cifar10-cpu`, 32 px, batch 512": {
        "recipe": "cifar10-cpu",
        "size": 32,
        "num_images": 8 * 512,
        "changes": {},
    },
    "ResNet50V2 of `keras-example`, 72 px, batch 128": {
        "recipe": "keras-example",
        "size": 72,
        "num_images": 4 * 128,
        "changes": {"batch_size": 128},
    },
}
EPOCHS = 2  # the first compiles, allocates and warms up
HELD_OUT = 100  # images, so that validation is not what is measured
END_OF_OUTPUT = 2_000  # characters of a failed training's output that are shown


def measure(rounds: int) -> dict[str, Content]:
    """Train with each split of the cores in turn."""
    if available_cores() < 2:
        raise SystemExit("scaling compares one core with two, and this process has one")
    content = begun(rounds)
    for name in TRAININGS:
        splits = {how: partial(rate, name, split) for how, split in SPLITS.items()}
        add_group(content, name, interleaved(splits, rounds), PAIRS)
    return {"scaling": content}


def rate(name: str, split: Split) -> float:
    """Train in so many processes; give images a second, over all of them."""
    launcher = ["-m", "torch.distributed.run", "--standalone"]
    launcher += ["--nproc_per_node", str(split.num_processes)]
    with tempfile.TemporaryDirectory() as out:
        worker = ["-m", "benchmarks.scaling", name, str(split.threads), out]
        result = subprocess.run(
            [sys.executable, *(launcher if split.num_processes > 1 else []), *worker],
            env=os.environ | {"OMP_NUM_THREADS": str(split.threads), "CUDA_VISIBLE_DEVICES": ""},
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        if result.returncode:
            raise RuntimeError(f"{name}, {split}:\n{result.stderr[-END_OF_OUTPUT:]}")
        return second_epoch(Path(out), split.num_processes)


def second_epoch(out: Path, num_processes: int) -> float:
    """Read the rate of the second epoch, and check that the processes found one another."""
    found = json.loads((out / "delivered.json").read_text())["processes"]
    if found != num_processes:
        raise RuntimeError(f"{num_processes} processes were started, and {found} trained together")
    return read_lines(out / "metrics.jsonl")[-1]["images_per_second"]


def keep_to_cores(threads: int) -> None:
    """Pin this process to its own cores, before torch is imported, which counts them."""
    cores = sorted(os.sched_getaffinity(0))
    first = threads * int(os.environ.get("LOCAL_RANK", "0"))
    os.sched_setaffinity(0, cores[first : first + threads])


def worker(name: str, threads: str, out: str) -> None:
    """Train two epochs on generated pictures."""
    keep_to_cores(int(threads))
    from benchmarks.peer_ruggedize import image_set
    from benchmarks.pictures import pictures
    from ruggedize.data import Splits
    from ruggedize.recipe import load_recipe
    from ruggedize.train import TrainingOptions, train_teacher
    from ruggedize.views import ViewOptions

    training = TRAININGS[name]
    options = load_recipe(training["recipe"]).teacher.model_dump()
    options |= {"epochs": EPOCHS, "averaging": "none", "early_stopping": None}
    options |= {"deliver": "auto"}
    images = pictures(training["size"], training["num_images"])
    few = image_set(images[:HELD_OUT])
    train_teacher(
        Splits(image_set(images), few, few),
        ViewOptions(pad=2),
        TrainingOptions.model_validate(options | training["changes"]),
        out,
    )


if __name__ == "__main__":
    worker(*sys.argv[1:])
