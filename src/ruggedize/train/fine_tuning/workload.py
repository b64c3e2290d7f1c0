"""The trainings that a network is chosen for. This module does not import torch."""

from typing import NamedTuple


class Workload(NamedTuple):
    """What the chosen network has to do, within how much time."""

    candidates: tuple[str, ...]  # networks of timm, fast ones first
    num_classes: int
    input_size: int  # pixels
    batch_size: int
    num_images: float  # training steps times images per step, over all stages
    hours: float  # budget for these steps
