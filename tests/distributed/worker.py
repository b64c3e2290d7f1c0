"""What each process of a test does: train a net without batch norm, so that only sums matter."""

import dataclasses
import sys
from pathlib import Path

import torch
from torch import nn

from evenkeel.models import Classifier
from evenkeel.training.loop import fit
from tests.training_jobs import CLASSES, tiny_job

BATCH_SIZE = 15  # neither 15 nor the last batch of 4 divides evenly between two processes


def main(folder: Path) -> None:
    """Train for two epochs and deliver the average."""
    torch.set_num_threads(1)
    job = tiny_job(folder, epochs=2, batch_size=BATCH_SIZE, averaging="ema", clip_norm=1.0)
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 49, len(CLASSES))
    )
    model = Classifier(
        network,
        architecture=job.options.model,
        classes=CLASSES,
        image_size=16,
        input_size=16,
    )
    fit(dataclasses.replace(job, model=model))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
