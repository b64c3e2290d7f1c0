"""Random draws inside the network, such as dropout and stochastic depth."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ruggedize.core import seeding
from ruggedize.models import keyed_rows
from ruggedize.train.stage import Stage

RANDOM = ("timm", "custom")  # networks that may draw from torch's generators


@contextmanager
def keyed_draws(stage: Stage, step: int) -> Iterator[None]:
    """Key all draws of the network by seed and planned step within the `with` block.

    The masks of our own networks depend on nothing else but the image. Other networks draw from
    torch's generators, which are keyed by the process as well: unlike views, their draws depend on
    the processes and micro-batches that share a step. A resumed training draws the same numbers.
    """
    key = int(seeding.stream_key(stage.seed, f"{stage.name}/network", step))
    with keyed_rows(stage.model, key), torch_draws(stage, step):
        yield


@contextmanager
def torch_draws(stage: Stage, step: int) -> Iterator[None]:
    """Key torch's generators by seed, process and planned step within the `with` block."""
    if stage.model.architecture.name not in RANDOM:
        yield
        return
    device = stage.accelerator.device
    purpose = f"{stage.name}/network/{stage.accelerator.process_index}"
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(seeding.stream_key(stage.seed, purpose, step)))
        yield
