"""The counts of a cell, against plain NumPy."""

import numpy as np
import pytest
import torch

from ruggedize.assess.assessment import Cell
from ruggedize.assess.metrics import Outcomes, calibration_error, count_cell, outcomes_of


@pytest.fixture
def logits_and_labels() -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(3)
    logits = torch.from_numpy(rng.normal(0, 3, (400, 7)).astype(np.float32))
    return logits, torch.from_numpy(rng.integers(0, 7, 400))


def counted(logits: torch.Tensor, labels: torch.Tensor, clean: np.ndarray | None = None) -> Cell:
    outcomes = Outcomes(*(part.numpy() for part in outcomes_of(logits, labels)))
    return count_cell("fog", 5, outcomes, labels.numpy(), clean)


def oracle_calibration(confidences: np.ndarray, correct: np.ndarray) -> float:
    error = 0.0
    for b in range(15):
        inside = (confidences > b / 15) & (confidences <= (b + 1) / 15)
        if inside.any():
            gap = correct[inside].mean() - confidences[inside].mean()
            error += inside.sum() / len(confidences) * abs(gap)
    return error


def test_counts_equal_a_plain_numpy_oracle(logits_and_labels) -> None:
    logits, labels = logits_and_labels
    values, wanted = logits.double().numpy(), labels.numpy()
    probabilities = np.exp(values) / np.exp(values).sum(1, keepdims=True)
    likeliest = np.argsort(-probabilities, axis=1)
    clean = np.zeros(len(wanted), np.int64)
    cell = counted(logits, labels, clean)
    assert cell.n == 400
    assert cell.correct == (likeliest[:, 0] == wanted).sum()
    assert cell.top3_correct == sum(w in row[:3] for w, row in zip(wanted, likeliest, strict=True))
    assert cell.agreeing == (likeliest[:, 0] == 0).sum()
    expected = -np.log(probabilities[np.arange(400), wanted]).sum()
    assert cell.negative_log_likelihood_sum == pytest.approx(expected, rel=1e-5)
    correct = likeliest[:, 0] == wanted
    error = oracle_calibration(probabilities.max(1).astype(np.float32), correct)
    assert cell.calibration_error == pytest.approx(error, abs=1e-6)


def test_a_sure_and_right_model_is_calibrated_and_a_sure_and_wrong_one_is_not() -> None:
    sure = np.ones(50, np.float32)
    assert calibration_error(sure, np.ones(50, bool)) == 0.0
    assert calibration_error(sure, np.zeros(50, bool)) == 1.0


def test_confidences_on_two_sides_of_a_bin_edge_do_not_cancel() -> None:
    # 1/3 is the upper edge of the fifth bin of fifteen.
    confidences = np.array([0.333333, 0.34], np.float32)
    apart = calibration_error(confidences, np.array([True, False]))
    assert apart == pytest.approx((2 / 3 + 0.34) / 2, abs=1e-5)


def test_two_classes_have_a_top_two(logits_and_labels) -> None:
    logits, labels = logits_and_labels
    cell = counted(logits[:, :2].contiguous(), labels % 2)
    assert cell.top3_correct == cell.n
    assert cell.agreeing is None
