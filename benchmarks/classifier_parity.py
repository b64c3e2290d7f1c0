"""The final word on the corruptions: does a classifier score on ours as on the official ones?

    python -m benchmarks.classifier_parity RUN CIFAR10_TEST_BATCH OFFICIAL.npz

OFFICIAL holds, for each corruption, uint8 [5, n, 32, 32, 3]: what the official script gave for the
first n test images.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.record import RESULTS
from ruggedize import load_model
from ruggedize.core import files
from ruggedize.core.environment import environment
from ruggedize.corruptions import CORRUPTIONS, corrupt
from ruggedize.models import Classifier, autocast_for

NUM_SEEDS = 5
SEVERITY = 5
RECORD = 3073  # bytes of a label and an image


def main(run: Path, test_batch: Path, official: Path) -> None:
    """Compare teacher and student of a run on both, and write the differences."""
    with np.load(official) as arrays:
        theirs = {name: arrays[name][SEVERITY - 1].transpose(0, 3, 1, 2) for name in CORRUPTIONS}
    n = len(theirs["fog"])
    records = np.fromfile(test_batch, np.uint8).reshape(-1, RECORD)[:n]
    clean = torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32).copy())
    labels = torch.from_numpy(records[:, 0].astype(np.int64))
    content: dict[str, Any] = {"images": n, "severity": SEVERITY, "seeds": NUM_SEEDS}
    for name in ("teacher", "student"):
        model = load_model(run / name / "model.safetensors")
        content[name] = {
            corruption: agreement(model, clean, labels, corruption, images)
            for corruption, images in theirs.items()
        }
        is_within = [row["within"] for row in content[name].values()]
        print(f"{name}: {sum(is_within)} of {len(is_within)} within")
    path = RESULTS / "corruptions--classifier.json"
    files.write_json(path, {"environment": environment(), **content})
    print(path)


def agreement(
    model: Classifier,
    clean: torch.Tensor,
    labels: torch.Tensor,
    corruption: str,
    official: np.ndarray,
) -> dict[str, Any]:
    """Compare accuracies in points, image by image; ours is the mean over the seeds."""
    theirs = is_right(model, torch.from_numpy(official.copy()), labels)
    ours = torch.stack(
        [
            is_right(model, corrupt(clean, corruption, SEVERITY, seed=seed), labels)
            for seed in range(NUM_SEEDS)
        ]
    ).mean(0)
    paired = 100 * (ours - theirs)
    standard_error = float(paired.std() / len(paired) ** 0.5)
    difference = float(paired.mean())
    return {
        "official": round(100 * float(theirs.mean()), 1),
        "ours": round(100 * float(ours.mean()), 1),
        "standard error of the difference": round(standard_error, 2),
        "within": abs(difference) <= max(1.0, 3 * standard_error),
    }


def is_right(model: Classifier, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return which images are classified correctly: float64 [n]."""
    with autocast_for("fp32", torch.device("cpu")):
        return (model.predict(images).labels == labels).double()


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:4]))
