"""Losses against plain NumPy, written from the formula."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ruggedize.training.objectives import Pair, consistency, softened_kl, supervised
from ruggedize.training.options import StudentOptions

N, K = 12, 5


class FixedLogits(nn.Module):
    """A network whose logits are its parameters."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.logits = nn.Parameter(3 * torch.randn(N, K, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        return self.logits + 0


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def kl_oracle(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    return float((p * (np.log(p) - np.log(q))).sum())


def cross_entropy_oracle(logits: np.ndarray, labels: np.ndarray, smoothing: float) -> float:
    target = np.full((N, K), smoothing / K)
    target[np.arange(N), labels] += 1 - smoothing
    return float(-(target * np.log(softmax(logits))).sum())


@pytest.fixture
def pair() -> Pair:
    labels = torch.from_numpy(np.random.default_rng(0).integers(0, K, N))
    images = torch.zeros(N, 3, 4, 4, dtype=torch.uint8)
    return Pair(images, images, labels)


def options(**changes: float) -> StudentOptions:
    return StudentOptions.model_validate({"model": "resnet9"} | changes)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_supervised_loss_is_the_summed_cross_entropy(pair: Pair, smoothing: float) -> None:
    model = FixedLogits(1)
    loss, sums = supervised(smoothing)(model, pair)
    logits = model.logits.detach().double().numpy()
    assert loss.item() == pytest.approx(
        cross_entropy_oracle(logits, pair.labels.numpy(), smoothing), rel=1e-5
    )
    assert sums["correct"] == (logits.argmax(1) == pair.labels.numpy()).sum()


@pytest.mark.parametrize("temperature", [1.0, 4.0, 10.0])
@pytest.mark.parametrize("squared", [False, True])
def test_consistency_loss_follows_the_formula(
    pair: Pair, temperature: float, squared: bool
) -> None:
    student, teacher = FixedLogits(1), FixedLogits(2)
    own = options(temperature=temperature, consistency_weight=0.3, temperature_squared=squared)
    loss, sums = consistency(teacher, own)(student, pair)
    ours, theirs = (m.logits.detach().double().numpy() for m in (student, teacher))
    kl = kl_oracle(ours, theirs, temperature) * (temperature**2 if squared else 1)
    expected = 0.7 * cross_entropy_oracle(ours, pair.labels.numpy(), 0.0) + 0.3 * kl
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert sums["consistency"].item() == pytest.approx(kl, rel=1e-4)
    assert sums["agreement"] == (ours.argmax(1) == theirs.argmax(1)).sum()


def test_the_teacher_gets_no_gradient_and_the_student_does(pair: Pair) -> None:
    student, teacher = FixedLogits(1), FixedLogits(2)
    loss, _ = consistency(teacher, options())(student, pair)
    loss.backward()
    assert teacher.logits.grad is None
    assert student.logits.grad is not None


def test_the_divergence_is_from_the_teacher_to_the_student_and_not_the_reverse() -> None:
    a, b = FixedLogits(1).logits.detach(), FixedLogits(2).logits.detach()
    assert softened_kl(a, a, 2.0).item() == pytest.approx(0.0, abs=1e-5)
    assert softened_kl(a, b, 1.0).item() != pytest.approx(softened_kl(b, a, 1.0).item(), rel=1e-3)


def test_without_t_squared_a_temperature_of_ten_hardly_pulls() -> None:
    student, teacher = FixedLogits(1).logits, FixedLogits(2).logits.detach()
    norms = []
    for temperature in (1.0, 10.0):
        (gradient,) = torch.autograd.grad(softened_kl(student, teacher, temperature), student)
        norms.append(gradient.norm().item())
    assert norms[1] < norms[0] / 20


def test_unlabelled_images_count_in_the_consistency_term_alone(pair: Pair) -> None:
    student, teacher = FixedLogits(1), FixedLogits(2)
    unlabelled = pair._replace(labels=torch.full_like(pair.labels, -1))
    _, sums = consistency(teacher, options())(student, unlabelled)
    assert sums["cross_entropy"] == 0
    assert sums["labelled"] == 0
    assert sums["consistency"] > 0


def test_a_weight_of_zero_leaves_cross_entropy_on_the_noisy_view(pair: Pair) -> None:
    student = FixedLogits(1)
    loss, sums = consistency(None, options(consistency_weight=0.0))(student, pair)
    logits = student.logits.detach().double().numpy()
    assert loss.item() == pytest.approx(
        cross_entropy_oracle(logits, pair.labels.numpy(), 0.0), rel=1e-5
    )
    assert "consistency" not in sums
