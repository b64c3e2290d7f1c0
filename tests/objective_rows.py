"""Networks whose logits are parameters, and batches for them, to test losses by formula."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from ruggedize.models import create_model
from ruggedize.models.options import ResNet9Options
from ruggedize.train import Context, Objective, Term
from ruggedize.train.objectives.objective import (
    EVERY,
    IMAGES,
    LABELLED,
    UNLABELLED,
    Batch,
    make_objective,
)
from ruggedize.train.step import means_of, sums_of
from tests.reference.test_objectives import context, softmax
from tests.tiny_stages import CLASSES, three_colours, without_labels

N, M, K = 6, 10, 3  # labelled images, unlabelled images, classes
RESNET = ResNet9Options(width=8)


class Rows(nn.Module):
    """A network whose logits are its parameters, one row for each view of the batch."""

    def __init__(self, seed: int, rows: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.logits = nn.Parameter(3 * torch.randn(rows, K, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        assert len(images) == len(self.logits)
        return self.logits + 0


def numpy(model: Rows, start: int = 0, stop: int | None = None) -> np.ndarray:
    return model.logits.detach().double().numpy()[start:stop]


def views(number: int, *more: int) -> Tensor:
    return torch.zeros(number, *more, 3, 4, 4, dtype=torch.uint8)


def labels_of(number: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).integers(0, K, number))


def batch_of(labelled: dict[str, Tensor], unlabelled: dict[str, Tensor]) -> Batch:
    counts = {IMAGES: N, LABELLED: N, UNLABELLED: M, EVERY: N + M}
    hidden = labels_of(M, 1)
    hidden[:3] = -1  # unknown
    tensors = {LABELLED: {"labels": labels_of(N, 0)} | labelled}
    return Batch(tensors | {UNLABELLED: {"hidden_labels": hidden} | unlabelled}, counts)


def means(terms: dict[str, Term], batch: Batch) -> dict[str, float]:
    sums = {name: float(value) for name, value in sums_of(terms).items()}
    return means_of(sums | {f"count/{name}": float(n) for name, n in batch.counts.items()})


def cross_entropy(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return -(targets * np.log(softmax(logits))).sum(1)


def labels_term(logits: np.ndarray) -> float:
    return float(cross_entropy(logits, np.eye(K)[labels_of(N, 0).numpy()]).mean())


def made(options: object, student: nn.Module, teacher: nn.Module | None = None) -> Objective:
    return make_objective(options, context(student, teacher))  # type: ignore[arg-type]


def teaching(*seeds: int) -> Context:
    """Return a context with teachers and twenty unlabelled images, in shuffled order."""
    teachers = {str(seed): create_model(RESNET, CLASSES, 16, 16, seed).eval() for seed in seeds}
    images = without_labels(three_colours(20, 2)).select([*range(19, 9, -1), *range(10)])
    return replace(context(Rows(1, N + M)), teachers=teachers, unlabelled=images)
