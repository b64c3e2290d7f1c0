"""FixMatch and AdaMatch against plain NumPy, written from the formulas."""

import numpy as np
import pytest
import torch

from ruggedize.train.objectives.fixmatch import FixMatch
from ruggedize.train.objectives.options import FixMatchOptions
from tests.objective_rows import (
    K,
    M,
    N,
    Rows,
    batch_of,
    cross_entropy,
    labels_of,
    labels_term,
    made,
    means,
    numpy,
    views,
)
from tests.reference.test_objectives import softmax


@pytest.mark.parametrize("relative", [False, True])
@pytest.mark.parametrize(("smoothing", "is_warned"), [(0.05, False), (0.2, True)])
def test_a_threshold_that_smoothed_labels_do_not_reach_is_warned_of(
    smoothing: float, is_warned: bool, relative: bool, caplog: pytest.LogCaptureFixture
) -> None:
    options = FixMatchOptions(label_smoothing=smoothing, relative_threshold=relative)
    made(options, Rows(1, N + 2 * M))
    text = "predictions tend to a confidence of 0.867 at most"  # of three classes
    assert (text in caplog.text) == (is_warned and not relative)


def fixmatch_oracle(
    logits: np.ndarray, threshold: float, ratio: np.ndarray, hard: bool
) -> tuple[float, np.ndarray, np.ndarray]:
    """Return the unlabelled term, the pseudo-labels and which of them count."""
    weak, strong = logits[N : N + M], logits[N + M :]
    aligned = softmax(weak) * ratio
    aligned /= aligned.sum(1, keepdims=True)
    is_used = aligned.max(1) >= threshold
    targets = np.eye(K)[aligned.argmax(1)] if hard else aligned
    losses = cross_entropy(strong, targets) * is_used
    return float(losses.sum() / M), aligned.argmax(1), is_used


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_fixmatch_learns_confident_labels_of_weak_views_on_strong_views(kind: str) -> None:
    student = Rows(1, N + 2 * M)
    options = FixMatchOptions.model_validate({"threshold": 0.7, "pseudo_labels": kind, "weight": 2})
    objective = made(options, student)
    batch = batch_of({"clean": views(N)}, {"clean": views(M), "noisy": views(M)})
    terms = dict(objective.loss(student, batch))
    found = means(terms, batch)
    expected, classes, is_used = fixmatch_oracle(numpy(student), 0.7, np.ones(K), kind == "hard")
    assert 0 < is_used.sum() < M
    assert found["consistency"] == pytest.approx(expected, rel=1e-4)
    assert found["loss"] == pytest.approx(
        labels_term(numpy(student, 0, N)) + 2 * expected, rel=1e-4
    )
    hidden = labels_of(M, 1).numpy()
    compared = is_used & (np.arange(M) >= 3)
    right = (classes == hidden)[compared].mean()
    assert found["pseudo_label_accuracy"] == pytest.approx(right)
    assert found["confident"] == pytest.approx(is_used.mean())
    assert objective.state_dict() == {}  # type: ignore[attr-defined]


@pytest.mark.parametrize("adamatch", [False, True])
def test_the_average_predicts_the_labels_that_the_network_learns(adamatch: bool) -> None:
    student = Rows(1, N + M)
    options = FixMatchOptions(
        threshold=0.7,
        labels_from="average",
        average_decay=0.9,
        relative_threshold=adamatch,
        distribution_alignment=adamatch,
    )
    objective = made(options, student)
    assert isinstance(objective, FixMatch)
    assert objective.average
    batch = batch_of({"clean": views(N)}, {"clean": views(M), "noisy": views(M)})
    averaged = numpy(student).copy()
    for number in range(1, 4):
        found = means(dict(objective.loss(student, batch)), batch)
        labelled, unlabelled, confidence = (each.numpy() for each in statistics_of(objective))
        ratio = labelled / unlabelled if adamatch else np.ones(K)
        threshold = 0.7 * float(confidence[0]) if adamatch else 0.7
        logits = np.concatenate([averaged, numpy(student, N)])
        expected, _, is_used = fixmatch_oracle(logits, threshold, ratio, hard=True)
        assert 0 < is_used.sum() < M
        assert found["consistency"] == pytest.approx(expected, rel=1e-4)
        assert found["cross_entropy"] == pytest.approx(labels_term(numpy(student, 0, N)))
        with torch.no_grad():
            student.logits += torch.randn(N + M, K, generator=torch.Generator().manual_seed(number))
        objective.after_step(student, number)
        decay = min(0.9, (1 + number) / (10 + number))
        averaged = decay * averaged + (1 - decay) * numpy(student)
        np.testing.assert_allclose(objective.state_dict()["average.logits"], averaged, rtol=1e-5)
    assert not np.allclose(averaged, numpy(student), atol=0.1)


def statistics_of(objective: FixMatch) -> tuple[torch.Tensor, ...]:
    found = objective.statistics
    return found.labelled, found.unlabelled, found.confidence


def test_no_gradient_flows_through_the_weak_views() -> None:
    student = Rows(1, N + 2 * M)
    objective = made(FixMatchOptions(threshold=0.0, pseudo_labels="soft"), student)
    batch = batch_of({"clean": views(N)}, {"clean": views(M), "noisy": views(M)})
    objective.loss(student, batch)["consistency"].total.backward()
    assert student.logits.grad is not None
    assert not student.logits.grad[: N + M].any()
    assert student.logits.grad[N + M :].abs().sum(1).min() > 0


def test_adamatch_aligns_with_the_means_of_earlier_steps() -> None:
    student = Rows(1, N + 2 * M)
    options = FixMatchOptions(
        threshold=0.9, relative_threshold=True, distribution_alignment=True, statistics_decay=0.5
    )
    objective = made(options, student)
    assert isinstance(objective, FixMatch)
    labelled, unlabelled, confidence = np.full(K, 1 / K), np.full(K, 1 / K), 1.0
    batch = batch_of({"clean": views(N)}, {"clean": views(M), "noisy": views(M)})
    for number in range(1, 5):
        terms = dict(objective.loss(student, batch))
        ratio = labelled / unlabelled
        expected, _, is_used = fixmatch_oracle(numpy(student), 0.9 * confidence, ratio, hard=True)
        assert means(terms, batch)["consistency"] == pytest.approx(expected, rel=1e-4)
        assert terms["confident"].total == is_used.sum()
        share = 1 - (0 if number == 1 else min(0.5, number / (9 + number)))
        ours, theirs = softmax(numpy(student, 0, N)), softmax(numpy(student, N, N + M))
        labelled = labelled + share * (ours.mean(0) - labelled)
        unlabelled = unlabelled + share * (theirs.mean(0) - unlabelled)
        confidence = confidence + share * (ours.max(1).mean() - confidence)
        objective.after_step(student, number)
        np.testing.assert_allclose(objective.statistics.labelled, labelled, rtol=1e-5)
        with torch.no_grad():
            student.logits += torch.randn(
                N + 2 * M, K, generator=torch.Generator().manual_seed(number)
            )
    again = made(options, student)
    assert isinstance(again, FixMatch)
    again.load_state_dict(objective.state_dict())
    assert torch.equal(again.statistics.unlabelled, objective.statistics.unlabelled)
    assert not np.allclose(ratio, 1)
