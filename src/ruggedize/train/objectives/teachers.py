"""The teacher of an objective: a frozen classifier, or several that are averaged."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float32
from torch import Tensor, nn

from ruggedize.core.errors import UserError
from ruggedize.kernels.types import Images, Views
from ruggedize.models import Classifier
from ruggedize.train.objectives.objective import Context


class Ensemble(nn.Module):
    """Several classifiers whose probabilities are averaged; the logits are their logarithm."""

    def __init__(self, members: Sequence[Classifier]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.input_size = members[0].input_size
        self.test_view = members[0].test_view

    if TYPE_CHECKING:  # nn.Module.__call__ is untyped

        def __call__(self, images: Views) -> Float32[Tensor, "n k"]:
            """Return the logarithm of the mean probabilities."""
            ...

    def forward(self, images: Images) -> Float32[Tensor, "n k"]:
        """Return the logarithm of the mean probabilities."""
        found = [member(images).float().log_softmax(1) for member in self.members]
        return torch.stack(found).logsumexp(0) - math.log(len(found))


def teacher_of(context: Context, kind: str) -> nn.Module:
    """Return the teacher of a stage, or the average of its teachers.

    Raises:
        UserError: there is none.
    """
    teachers = list(context.teachers.values())
    if not teachers:
        raise UserError(
            f"{context.name}: {kind} needs a teacher, got none;\n"
            'set learns_from to a stage or a list of stages, or use objective = "supervised"'
        )
    return teachers[0] if len(teachers) == 1 else Ensemble(teachers)  # pyright: ignore


@torch.no_grad()
def frozen_logits(teacher: nn.Module, clean: Tensor) -> Float32[Tensor, "n k"]:
    """Return the teacher's logits in float32, without gradients."""
    return teacher(clean).float()
