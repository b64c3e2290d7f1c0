"""A folder that is streamed beside the same folder in memory: images a second, and memory.

Every training is one epoch of `train_teacher` in a process of its own.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from benchmarks.pictures import pictures
from benchmarks.record import Content, add_group, begun, interleaved
from benchmarks.turns import ROOT
from ruggedize.core.files import read_lines
from ruggedize.data import DataOptions, load_splits
from ruggedize.kernels.blocks import available_cores
from ruggedize.train import TrainingOptions, train_teacher
from ruggedize.views import ViewOptions

STORED, KEPT = 96, 64  # pixels: of the JPEG files, and at which the images are kept
SMALL = 32  # pixels, both, where memory is measured
STREAMED, IN_MEMORY = "streamed", "in memory"
GROUP = f"JPEG of {STORED} px kept at {KEPT} px, resnet9 of width 32, batch 128"
NUM_TIMED = 4_000  # images
FEW, MANY = 10_000, 200_000
DISTINCT = 1_000  # pictures; the files beyond are further names of theirs
HELD_OUT = 500  # images, so that validation is not what is measured


def measure(rounds: int) -> dict[str, Content]:
    """Compare the rates in turn, then the largest memory with few and with many images."""
    content = begun(rounds)
    content["cores"] = available_cores()
    with tempfile.TemporaryDirectory() as folder:
        make_folder(Path(folder), NUM_TIMED, STORED)
        rates = {how: partial(rate, Path(folder), how) for how in (STREAMED, IN_MEMORY)}
        add_group(content, GROUP, interleaved(rates, rounds), [(STREAMED, IN_MEMORY, ())])
    content["peak memory, MB"] = {
        f"{num_images:,} images": {how: peak(num_images, how) for how in (STREAMED, IN_MEMORY)}
        for num_images in (FEW, MANY)
    }
    return {"streaming": content}


def rate(folder: Path, how: str) -> float:
    """Train one epoch on a folder; give images a second, without loading and validation."""
    return trained(folder, KEPT, how, width=32)["images_per_second"]


def peak(num_images: int, how: str) -> dict[str, float]:
    """Train one epoch and give the largest resident memory, of the main process and of a worker."""
    with tempfile.TemporaryDirectory() as folder:
        make_folder(Path(folder), num_images, SMALL)
        found = trained(Path(folder), SMALL, how, width=8)
    return {"main process": found["main_mb"], "largest worker process": found["worker_mb"]}


def make_folder(root: Path, num_images: int, size: int) -> None:
    """Write JPEG files of two classes; names beyond the distinct pictures are hard links."""
    some = pictures(size, DISTINCT).permute(0, 2, 3, 1).numpy()
    for name in ("first", "second"):
        (root / "train" / name).mkdir(parents=True)
    (root / "test").symlink_to("train")
    written: list[Path] = []
    for number in range(num_images):
        path = root / "train" / ("first", "second")[number % 2] / f"picture-{number:07}.jpg"
        if number < DISTINCT:
            Image.fromarray(some[number]).save(path, quality=90)
            written.append(path)
        else:
            os.link(written[number % DISTINCT], path)


def trained(folder: Path, size: int, how: str, width: int) -> dict[str, float]:
    """Run a worker and read what it measured."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.streaming",
        str(folder),
        str(size),
        how,
        str(width),
    ]
    result = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    return json.loads(result.stdout.splitlines()[-1])


def worker(folder: str, size: str, how: str, width: str) -> None:
    """Train one epoch on a folder and print rate and memory."""
    options = DataOptions(
        name=folder,
        image_size=int(size),
        validation=HELD_OUT,
        streaming=how == STREAMED,
    )
    model = {"name": "resnet9", "width": int(width)}
    training = TrainingOptions.model_validate({"model": model, "epochs": 1, "batch_size": 128})
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as out:
        train_teacher(load_splits(options), ViewOptions(pad=4), training, out)
        (row,) = read_lines(Path(out) / "metrics.jsonl")
    found = {
        "images_per_second": row["images_per_second"],
        "main_mb": own_peak(),
        "worker_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024, 1),
    }
    print(json.dumps(found))


def own_peak() -> float:
    """Return this program's largest resident memory in MB.

    `getrusage` would not do: it goes on counting from what the parent had before this program.
    """
    rows = Path("/proc/self/status").read_text().splitlines()
    (peak,) = (row for row in rows if row.startswith("VmHWM:"))
    return round(int(peak.split()[1]) / 1024, 1)


if __name__ == "__main__":
    worker(*sys.argv[1:])
