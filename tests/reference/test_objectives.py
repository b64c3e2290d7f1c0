"""Losses against plain NumPy, written from the formula."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ruggedize.core.progress import no_progress
from ruggedize.data import ImageSet
from ruggedize.train import Context, Objective, Term
from ruggedize.train.objectives.losses import (
    balanced_class_weights,
    jensen_shannon_sum,
    softened_kl,
)
from ruggedize.train.objectives.mean_teacher import MeanTeacher
from ruggedize.train.objectives.objective import IMAGES, LABELLED, Batch, make_objective
from ruggedize.train.objectives.options import (
    ConsistencyOptions,
    JsdOptions,
    MeanTeacherOptions,
    SupervisedOptions,
)
from ruggedize.train.step import means_of, scales_of, sums_of, weighted
from ruggedize.views import ViewMaker, ViewOptions
from tests.tiny_stages import three_colours, tiny_stage

N, K = 12, 5
BUILT_IN = (SupervisedOptions, ConsistencyOptions, JsdOptions, MeanTeacherOptions)
IMAGES_SEEN = torch.zeros(N, 3, 4, 4, dtype=torch.uint8)


class FixedLogits(nn.Module):
    """A network whose logits are its parameters, one row for each view."""

    def __init__(self, seed: int, views: int = 1) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.logits = nn.Parameter(3 * torch.randn(N * views, K, generator=generator))

    def forward(self, images: Tensor) -> Tensor:
        return self.logits + 0


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def kl_oracle(student: np.ndarray, teacher: np.ndarray, temperature: float) -> float:
    p, q = softmax(teacher / temperature), softmax(student / temperature)
    return float((p * (np.log(p) - np.log(q))).sum())


def jsd_oracle(views: np.ndarray) -> float:
    """Sum, over images, the mean KL divergence of the views' predictions from their mean."""
    p = softmax(views)
    mean = p.mean(1, keepdims=True)
    return float((p * (np.log(p) - np.log(mean))).sum() / views.shape[1])


def cross_entropy_oracle(logits: np.ndarray, labels: np.ndarray, smoothing: float) -> float:
    target = np.full((N, K), smoothing / K)
    target[np.arange(N), labels] += 1 - smoothing
    return float(-(target * np.log(softmax(logits))).sum())


def own_labels() -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, K, N))


def batch_of(labels: Tensor | None = None, **views: Tensor) -> Batch:
    labels = own_labels() if labels is None else labels
    counts = {IMAGES: N, LABELLED: int((labels >= 0).sum())}
    return Batch({LABELLED: {"labels": labels, **views}}, counts)


def context(student: nn.Module, teacher: nn.Module | None = None) -> Context:
    return Context(
        name="student",
        model=student,  # type: ignore[arg-type]
        maker=ViewMaker(ViewOptions(pad=1), image_size=16, seed=0),
        views=None,
        teachers={"teacher": teacher} if teacher else {},  # type: ignore[dict-item]
        train=three_colours(9, 0),
        precision="fp32",
        accelerator=Accelerator(cpu=True),
        progress=no_progress,
    )


def numpy(model: FixedLogits) -> np.ndarray:
    return model.logits.detach().double().numpy()


def total(terms: Mapping[str, Term]) -> float:
    """The loss summed over the images, as its formula says."""
    return sum(term.weight * term.total.item() for term in terms.values())


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_supervised_loss_is_the_summed_cross_entropy(smoothing: float) -> None:
    model = FixedLogits(1)
    objective = make_objective(SupervisedOptions(label_smoothing=smoothing), context(model))
    terms = objective.loss(model, batch_of(view=IMAGES_SEEN))
    labels = own_labels().numpy()
    expected = cross_entropy_oracle(numpy(model), labels, smoothing)
    assert total(terms) == pytest.approx(expected, rel=1e-5)
    assert terms["accuracy"].total == (numpy(model).argmax(1) == labels).sum()


@pytest.mark.parametrize("temperature", [1.0, 4.0, 10.0])
@pytest.mark.parametrize("squared", [False, True])
def test_consistency_loss_follows_the_formula(temperature: float, squared: bool) -> None:
    student, teacher = FixedLogits(1), FixedLogits(2)
    options = ConsistencyOptions(
        temperature=temperature, consistency_weight=0.3, temperature_squared=squared
    )
    objective = make_objective(options, context(student, teacher))
    terms = objective.loss(student, batch_of(clean=IMAGES_SEEN, noisy=IMAGES_SEEN))
    ours, theirs = numpy(student), numpy(teacher)
    kl = kl_oracle(ours, theirs, temperature) * (temperature**2 if squared else 1)
    expected = 0.7 * cross_entropy_oracle(ours, own_labels().numpy(), 0.0) + 0.3 * kl
    assert total(terms) == pytest.approx(expected, rel=1e-4)
    assert terms["consistency"].total.item() == pytest.approx(kl, rel=1e-4)
    assert terms["agreement"].total == (ours.argmax(1) == theirs.argmax(1)).sum()


def test_jsd_loss_follows_the_formula() -> None:
    model = FixedLogits(1, views=3)
    objective = make_objective(JsdOptions(weight=5.0), context(model))
    views = IMAGES_SEEN[:, None].expand(-1, 3, -1, -1, -1)
    terms = objective.loss(model, batch_of(views=views))
    logits = numpy(model).reshape(N, 3, K)
    clean = cross_entropy_oracle(logits[:, 0], own_labels().numpy(), 0.0)
    assert total(terms) == pytest.approx(clean + 5.0 * jsd_oracle(logits), rel=1e-4)


def test_views_that_agree_have_no_divergence() -> None:
    same = torch.randn(4, 1, K).expand(4, 3, K)
    assert jensen_shannon_sum(same).item() == pytest.approx(0.0, abs=1e-5)
    assert jensen_shannon_sum(torch.randn(4, 3, K)).item() > 0.1


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("starts_trained", [False, True])
def test_mean_teacher_agrees_with_the_average_of_its_own_weights(
    starts_trained: bool, squared: bool
) -> None:
    student = FixedLogits(1)
    options = MeanTeacherOptions(
        decay=0.9, consistency_weight=0.4, temperature=2.0, temperature_squared=squared
    )
    made = replace(context(student), starts_trained=starts_trained)
    objective = make_objective(options, made)
    assert isinstance(objective, MeanTeacher)
    expected = numpy(student).copy()  # the average, by hand
    batch = batch_of(clean=IMAGES_SEEN, noisy=IMAGES_SEEN)
    for number in range(1, 4):
        terms = objective.loss(student, batch)
        kl = kl_oracle(numpy(student), expected, 2.0) * (4 if squared else 1)
        clean = cross_entropy_oracle(numpy(student), own_labels().numpy(), 0.0)
        assert total(terms) == pytest.approx(0.6 * clean + 0.4 * kl, rel=1e-4, abs=1e-4)
        with torch.no_grad():
            student.logits += number
        objective.after_step(student, number)
        decay = 0.9 if starts_trained else min(0.9, (1 + number) / (10 + number))
        expected = decay * expected + (1 - decay) * numpy(student)
        averaged = objective.teacher.state_dict()["logits"].numpy()
        np.testing.assert_allclose(averaged, expected, rtol=1e-5)


def test_the_teacher_gets_no_gradient_and_the_student_does() -> None:
    student, teacher = FixedLogits(1), FixedLogits(2)
    objective = make_objective(ConsistencyOptions(), context(student, teacher))
    batch = batch_of(clean=IMAGES_SEEN, noisy=IMAGES_SEEN)
    weighted(objective.loss(student, batch), {IMAGES: 1.0, LABELLED: 1.0}).backward()
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


def losses_of(objective: Objective, model: nn.Module, batch: Batch, folder: Path) -> float:
    """The loss that a step minimises, every term divided by its own count."""
    stage = tiny_stage(folder)
    return float(weighted(objective.loss(model, batch), scales_of(stage, batch.counts)))


def test_every_term_is_divided_by_its_own_count(tmp_path: Path) -> None:
    """Half of the labels are missing: they count in the consistency term alone."""
    student, teacher = FixedLogits(1), FixedLogits(2)
    objective = make_objective(ConsistencyOptions(temperature=1.0), context(student, teacher))
    labels = own_labels()
    labels[::2] = -1
    batch = batch_of(labels, clean=IMAGES_SEEN, noisy=IMAGES_SEEN)
    kept = labels.numpy() >= 0
    right = np.log(softmax(numpy(student)))[kept, labels.numpy()[kept]]
    kl = kl_oracle(numpy(student), numpy(teacher), 1.0)
    expected = 0.5 * -right.mean() + 0.5 * kl / N
    assert losses_of(objective, student, batch, tmp_path) == pytest.approx(expected, rel=1e-4)
    sums = {name: float(value) for name, value in sums_of(objective.loss(student, batch)).items()}
    sums |= {f"count/{name}": float(count) for name, count in batch.counts.items()}
    means = means_of(sums)
    assert means["loss"] == pytest.approx(expected, rel=1e-4)
    assert means["cross_entropy"] == pytest.approx(-right.mean(), rel=1e-4)


def test_without_any_label_only_the_consistency_term_remains(tmp_path: Path) -> None:
    student, teacher = FixedLogits(1), FixedLogits(2)
    objective = make_objective(ConsistencyOptions(), context(student, teacher))
    unlabelled = torch.full((N,), -1)
    batch = batch_of(unlabelled, clean=IMAGES_SEEN, noisy=IMAGES_SEEN)
    assert objective.loss(student, batch)["cross_entropy"].total == 0
    assert losses_of(objective, student, batch, tmp_path) > 0


def test_a_weight_of_zero_leaves_cross_entropy_on_the_noisy_view() -> None:
    student = FixedLogits(1)
    objective = make_objective(ConsistencyOptions(consistency_weight=0.0), context(student))
    terms = objective.loss(student, batch_of(noisy=IMAGES_SEEN))
    expected = cross_entropy_oracle(numpy(student), own_labels().numpy(), 0.0)
    assert total(terms) == pytest.approx(expected, rel=1e-5)
    assert "consistency" not in terms


def weights_oracle(labels: np.ndarray, num_classes: int) -> list[float]:
    """n / (k n_c), class by class; k counts the classes that have images."""
    known = [int(label) for label in labels if label >= 0]
    present = set(known)
    return [
        len(known) / (len(present) * known.count(c)) if c in present else 0.0
        for c in range(num_classes)
    ]


def uneven_set() -> ImageSet:
    """Six images of class 0, three of 1, one of 2, none of 3, two of 4, and two without a label."""
    labels = torch.tensor([0] * 6 + [1] * 3 + [2] + [4] * 2 + [-1] * 2)
    images = torch.zeros(len(labels), 3, 4, 4, dtype=torch.uint8)
    return ImageSet(images, labels, tuple("abcde"), torch.arange(len(labels)))


def test_balanced_weights_make_all_classes_count_alike() -> None:
    train = uneven_set()
    weights = balanced_class_weights(train)
    labels = train.labels.numpy()
    assert weights.tolist() == pytest.approx(weights_oracle(labels, K))
    per_image = weights.numpy()[labels[labels >= 0]]
    assert per_image.mean() == pytest.approx(1.0)
    sums = [per_image[labels[labels >= 0] == c].sum() for c in (0, 1, 2, 4)]
    assert sums == pytest.approx([3.0] * 4)
    assert not np.allclose(weights, 1.0)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize(
    "kind", [SupervisedOptions, ConsistencyOptions, JsdOptions, MeanTeacherOptions]
)
def test_every_objective_weighs_the_labels_of_each_class(kind: type, smoothing: float) -> None:
    student, teacher = FixedLogits(1, views=3 if kind is JsdOptions else 1), FixedLogits(2)
    weights = balanced_class_weights(uneven_set())
    made = replace(context(student, teacher), class_weights=weights)
    objective = make_objective(kind(label_smoothing=smoothing), made)
    labels = torch.tensor([0, 0, 1, 2, 4, -1, 0, 1, 4, 2, -1, 0])
    views = IMAGES_SEEN[:, None].expand(-1, 3, -1, -1, -1)
    seen = {"view": IMAGES_SEEN, "clean": IMAGES_SEEN, "noisy": IMAGES_SEEN, "views": views}
    terms = objective.loss(student, batch_of(labels, **seen))
    logits = numpy(student).reshape(N, -1, K)[:, 0]
    expected = 0.0
    for row, label in enumerate(labels.tolist()):
        if label >= 0:
            target = np.full(K, smoothing / K)
            target[label] += 1 - smoothing
            expected -= float(weights[label]) * (target * np.log(softmax(logits[row]))).sum()
    assert terms["cross_entropy"].total.item() == pytest.approx(expected, rel=1e-5)
    assert terms["cross_entropy"].per == LABELLED  # divided by the number of labels
    plain = make_objective(kind(label_smoothing=smoothing), context(student, teacher))
    unweighted = plain.loss(student, batch_of(labels, **seen))["cross_entropy"].total.item()
    assert unweighted != pytest.approx(expected, rel=1e-2)
