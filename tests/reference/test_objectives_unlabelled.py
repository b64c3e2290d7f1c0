"""Losses of unlabelled images against plain NumPy, written from the formulas."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from ruggedize.models import GhostBatchNorm, batch_norms, create_model, joint_logits
from ruggedize.train import Term
from ruggedize.train.objectives.mean_teacher import MeanTeacher
from ruggedize.train.objectives.objective import (
    LABELLED,
    UNLABELLED,
    make_objective,
)
from ruggedize.train.objectives.options import (
    ConsistencyOptions,
    FixMatchOptions,
    JsdOptions,
    MeanTeacherOptions,
    NoisyStudentOptions,
)
from ruggedize.train.step import means_of, sums_of
from tests.objective_rows import (
    RESNET,
    K,
    M,
    N,
    Rows,
    batch_of,
    labels_term,
    made,
    means,
    numpy,
    teaching,
    views,
)
from tests.reference.test_objectives import jsd_oracle, kl_oracle, softmax
from tests.tiny_stages import CLASSES, three_colours, without_labels


@pytest.mark.parametrize("threshold", [0.0, 0.8])
def test_consistency_averages_over_labelled_and_confident_unlabelled_images(
    threshold: float,
) -> None:
    student, ours, theirs = Rows(1, N + M), Rows(2, N), Rows(3, M)
    teacher = nn.Module()
    by_length = {N: ours, M: theirs}
    teacher.forward = lambda images: by_length[len(images)](images)  # type: ignore[method-assign]
    options = ConsistencyOptions(
        unlabelled_ratio=2, threshold=threshold, temperature=2.0, consistency_weight=0.3
    )
    batch = batch_of({"clean": views(N), "noisy": views(N)}, {"clean": views(M), "noisy": views(M)})
    found = means(dict(made(options, student, teacher).loss(student, batch)), batch)
    is_used = softmax(numpy(theirs)).max(1) >= threshold
    kl = kl_oracle(numpy(student, 0, N), numpy(ours), 2.0)
    kl += kl_oracle(numpy(student, N)[is_used], numpy(theirs)[is_used], 2.0)
    assert found["consistency"] == pytest.approx(kl / (N + M), rel=1e-4)
    expected = 0.7 * labels_term(numpy(student, 0, N)) + 0.3 * kl / (N + M)
    assert found["loss"] == pytest.approx(expected, rel=1e-4)
    assert found["confident"] == pytest.approx(is_used.mean())
    assert is_used.all() == (threshold == 0)
    assert found["unlabelled_agreement"] == pytest.approx(
        (numpy(student, N).argmax(1) == numpy(theirs).argmax(1)).mean()
    )


def test_jsd_averages_over_all_images() -> None:
    student = Rows(1, 3 * (N + M))
    batch = batch_of({"views": views(N, 3)}, {"views": views(M, 3)})
    objective = made(JsdOptions(weight=5.0, unlabelled_ratio=2), student)
    found = means(dict(objective.loss(student, batch)), batch)
    logits = numpy(student).reshape(N + M, 3, K)
    divergence = jsd_oracle(logits) / (N + M)
    assert found["consistency"] == pytest.approx(divergence, rel=1e-4)
    assert found["loss"] == pytest.approx(labels_term(logits[:N, 0]) + 5 * divergence, rel=1e-4)


@pytest.mark.parametrize("threshold", [0.0, 0.8])
def test_mean_teacher_averages_over_labelled_and_confident_unlabelled_images(
    threshold: float,
) -> None:
    student = Rows(1, N + M)
    options = MeanTeacherOptions(unlabelled_ratio=2, consistency_weight=0.4, threshold=threshold)
    objective = made(options, student)
    batch = batch_of({"clean": views(N), "noisy": views(N)}, {"clean": views(M), "noisy": views(M)})
    first = numpy(student).copy()  # the average's
    objective.loss(student, batch)
    with torch.no_grad():
        student.logits += torch.randn(N + M, K, generator=torch.Generator().manual_seed(0))
    found = means(dict(objective.loss(student, batch)), batch)
    is_used = np.concatenate([np.ones(N, bool), softmax(first[N:]).max(1) >= threshold])
    kl = kl_oracle(numpy(student)[is_used], first[is_used], 1.0) / (N + M)
    expected = 0.6 * labels_term(numpy(student, 0, N)) + 0.4 * kl
    assert found["loss"] == pytest.approx(expected, rel=1e-4)
    assert found["confident"] == pytest.approx(is_used[N:].mean())
    assert is_used.all() == (threshold == 0)


def test_mean_teacher_normalises_as_the_student_does() -> None:
    student = create_model(RESNET, CLASSES, 16, 16, seed=1)
    made_in = replace(teaching(5), model=student)
    objective = make_objective(MeanTeacherOptions(), made_in)
    assert isinstance(objective, MeanTeacher)
    drawn = np.random.default_rng(0).integers(0, 256, (M, 3, 16, 16), np.uint8)
    images = torch.from_numpy(drawn)
    ours, theirs = ({"clean": each, "noisy": each} for each in (images[:N], images))
    batch = batch_of(ours, theirs)
    for is_probe in (True, False):  # in a linear probe, the body is in eval mode
        student.train(not is_probe)
        objective.loss(student, batch)
        assert {layer.training for layer in batch_norms(objective.teacher.network)} == {
            not is_probe
        }


def every_objective() -> list[object]:
    return [
        ConsistencyOptions(unlabelled_ratio=2),
        JsdOptions(unlabelled_ratio=2),
        MeanTeacherOptions(unlabelled_ratio=2),
        NoisyStudentOptions(unlabelled_ratio=2, threshold=0.0),
        FixMatchOptions(unlabelled_ratio=2, threshold=0.0),
        FixMatchOptions(unlabelled_ratio=2, threshold=0.0, labels_from="average"),
    ]


@pytest.mark.parametrize("options", every_objective(), ids=str)
def test_hidden_labels_change_the_pseudo_label_accuracy_and_nothing_else(options) -> None:
    images, outcomes = three_colours(20, 2), []
    for shift in (0, 1):
        hidden = without_labels(replace(images, labels=(images.labels + shift) % K))
        torch.manual_seed(0)
        student = create_model(RESNET, CLASSES, 16, 16, 1).train()
        made_in = replace(teaching(5), model=student, unlabelled=hidden)
        objective = make_objective(options, made_in)
        parts = {LABELLED: three_colours(8, 0).take(range(8)), UNLABELLED: hidden.take(range(16))}
        batch = objective.batch(parts, 0, 0)
        terms = dict(objective.loss(student, batch))
        sum(t.weight * t.total for t in terms.values() if t.weight).backward()
        gradients = torch.cat([p.grad.flatten() for p in student.parameters()])  # type: ignore[union-attr]
        outcomes.append((gradients, means(terms, batch)))
    (first, ours), (second, theirs) = outcomes
    assert torch.equal(first, second)
    differing = {name for name in ours if ours[name] != theirs[name]}
    assert differing == {"pseudo_label_accuracy"}


def test_a_metric_divided_by_a_metric_of_zero_is_left_out() -> None:
    zero, one = torch.zeros(()), torch.ones(())
    terms = {
        "n": Term(zero, "images", 0.0),
        "share": Term(zero, "n", 0.0),
        "x": Term(one, "images"),
    }
    sums = {name: float(value) for name, value in sums_of(terms).items()} | {"count/images": 4.0}
    assert "share" not in means_of(sums)
    assert means_of(sums | {"images/n": 2.0, "n/share": 1.0})["share"] == 0.5


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_each_ghost_group_gets_its_share_of_every_batch(groups: int) -> None:
    layer = nn.BatchNorm2d(3)
    network = nn.Sequential(GhostBatchNorm(layer, groups), nn.Flatten(), nn.Linear(12, K)).train()
    batches = [torch.randn(7, 3, 2, 2), torch.randn(9, 3, 2, 2), torch.randn(5, 2, 3, 2, 2)]
    found = joint_logits(network, batches)
    assert [tuple(each.shape) for each in found] == [(7, K), (9, K), (5, 2, K)]
    pieces = [batch.tensor_split(groups) for batch in batches]
    for number in range(groups):
        rows = torch.cat([piece[number].flatten(0, -4) for piece in pieces])
        alone = (rows - rows.mean((0, 2, 3), keepdim=True)) / (
            rows.var((0, 2, 3), unbiased=False, keepdim=True) + layer.eps
        ).sqrt()
        expected = network[2](alone.flatten(1))
        ours = torch.cat([each.tensor_split(groups)[number].flatten(0, -2) for each in found])
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
