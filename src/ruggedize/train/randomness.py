"""Random draws inside the network, such as dropout and stochastic depth."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ruggedize.core import seeding
from ruggedize.train.stage import Stage

RANDOM = ("timm", "custom")  # networks that may draw; the others do not


@contextmanager
def keyed_draws(stage: Stage, step: int) -> Iterator[None]:
    """Key torch's generators by seed, process and planned step within the `with` block.

    Their state follows from the step, which is saved, so a resumed training draws the same
    numbers. Unlike views, they depend on the processes and micro-batches that share a step.
    """
    if stage.model.architecture.name not in RANDOM:
        yield
        return
    device = stage.accelerator.device
    purpose = f"{stage.name}/network/{stage.accelerator.process_index}"
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(seeding.stream_key(stage.seed, purpose, step)))
        yield
