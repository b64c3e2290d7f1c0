"""One log line per epoch: what it achieved, how fast it was, and how long the training still takes.

The lines have level INFO; the command line shows them where it draws no progress bars.
"""

import logging
import time
from typing import Any

from ruggedize.progress import EpochTask, time_left
from ruggedize.training.job import Job
from ruggedize.training.state import Counters

log = logging.getLogger(__name__)


class Pace:
    """Measures epochs from end to end, validation included."""

    def __init__(self) -> None:
        self.last_end = time.monotonic()

    def log_epoch(self, job: Job, counters: Counters) -> None:
        """Log the epoch that has just ended."""
        row, now = counters.rows[-1], time.monotonic()
        seconds = max(now - self.last_end, row["seconds"])  # a resumed epoch began earlier
        self.last_end = now
        if job.accelerator.is_main_process:
            epochs_left = 0 if counters.stopped else job.options.epochs - counters.epoch
            log.info("%s: %s", epoch_task(job, row["epoch"]), summary(row, seconds * epochs_left))


def epoch_task(job: Job, epoch: int) -> EpochTask:
    """Return the name of an epoch's task; epochs count from 1."""
    return EpochTask(f"{job.name} epoch {epoch}/{job.options.epochs}")


def summary(row: dict[str, Any], seconds_left: float) -> str:
    """Return a row of `metrics.jsonl` in words."""
    scores = row["validation"]
    accuracy = f"validation accuracy {100 * scores['raw']['accuracy']:.2f} %"
    if scores["averaged"]:
        accuracy += f" (average {100 * scores['averaged']['accuracy']:.2f} %)"
    speed = f"{row['images_per_second']:,.0f} images/s"
    parts = [f"loss {row['loss']:.4f}", accuracy, speed]
    if seconds_left:
        parts.append(time_left(seconds_left))
    return ", ".join(parts)
