"""The trainings that a network is chosen for. This module does not import torch."""

from typing import NamedTuple


class Workload(NamedTuple):
    """The training that the chosen network has to do, and its time budget."""

    candidates: tuple[str, ...]  # networks of timm, fast ones first
    num_classes: int
    input_size: int  # pixels
    batch_size: int
    num_images: float  # of all training steps of teacher and student
    hours: float  # budget for these steps
