"""The consistency loss as a module."""

import torch.nn.functional as F
from jaxtyping import Float, Float32
from torch import Tensor, nn

from ruggedize.kernels.types import Labels
from ruggedize.train import ConsistencyOptions, softened_kl
from ruggedize.transforms.arguments import checked


class ConsistencyLoss(nn.Module):
    """(1 - w) cross entropy(labels, student) + w KL(teacher || student), means over the batch.

    Args:
        weight: w, the weight of the agreement with the teacher.
        temperature: softmax temperature of both predictions in the agreement.
        temperature_squared: multiply the agreement by T^2, so that its gradient does not shrink
            with the temperature.
        label_smoothing: share of the target that is spread over all classes.

    Source: the Keras example "Consistency training with supervision"; Hinton et al. 2015.
    """

    def __init__(
        self,
        weight: float = 0.5,
        temperature: float = 10.0,
        *,
        temperature_squared: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        values = {
            "consistency_weight": weight,
            "temperature": temperature,
            "temperature_squared": temperature_squared,
            "label_smoothing": label_smoothing,
        }
        self.options = checked(ConsistencyOptions, values, {"consistency_weight": "weight"})

    def forward(
        self,
        student: Float[Tensor, "n k"],
        teacher: Float[Tensor, "n k"],
        labels: Labels | None = None,
    ) -> Float32[Tensor, ""]:
        """Return the loss; without labels the agreement alone, with weight 1.

        Args:
            student: logits for the noisy views.
            teacher: logits for the clean views; no gradient flows into them.
            labels: classes, -1 for images without a label.

        Raises:
            ValueError: student and teacher have different numbers of images or classes.
        """
        reject_other_shape(student, teacher)
        options = self.options
        agreement = softened_kl(student.float(), teacher.detach().float(), options.temperature)
        agreement = agreement * options.kl_scale / len(student)
        if labels is None:
            return agreement
        num_labelled = (labels >= 0).sum().clamp(min=1)
        settings = {"ignore_index": -1, "label_smoothing": options.label_smoothing}
        supervised = F.cross_entropy(student.float(), labels, reduction="sum", **settings)
        weight = options.consistency_weight
        return (1 - weight) * supervised / num_labelled + weight * agreement

    def extra_repr(self) -> str:
        """Return the options, for printing."""
        options = self.options
        return (
            f"weight={options.consistency_weight}, temperature={options.temperature}, "
            f"temperature_squared={options.temperature_squared}, "
            f"label_smoothing={options.label_smoothing}"
        )


def reject_other_shape(student: Tensor, teacher: Tensor) -> None:
    """Raise a ValueError unless both have logits for the same images and classes."""
    if student.shape != teacher.shape:
        raise ValueError(
            "student and teacher must have logits for the same images and classes, "
            f"got {tuple(student.shape)} and {tuple(teacher.shape)}"
        )
