"""Pseudo-labels of a frozen teacher against plain NumPy, written from the formulas."""

import numpy as np
import pytest
import torch

from ruggedize.core.errors import UserError
from ruggedize.train.objectives.noisy_student import NoisyStudent, weights_of
from ruggedize.train.objectives.objective import (
    LABELLED,
    UNLABELLED,
    make_objective,
)
from ruggedize.train.objectives.options import (
    NoisyStudentOptions,
)
from ruggedize.train.objectives.teachers import Ensemble, teacher_of
from tests.objective_rows import (
    K,
    M,
    N,
    Rows,
    cross_entropy,
    means,
    numpy,
    teaching,
)
from tests.reference.test_objectives import softmax
from tests.tiny_stages import three_colours


def weights_oracle(probabilities: np.ndarray, threshold: float, balanced: bool) -> np.ndarray:
    """Image by image: 0 below the threshold, else 1 or 1 / (images kept of its class)."""
    classes, kept = probabilities.argmax(1), probabilities.max(1) >= threshold
    weights = np.zeros(len(classes))
    for place in np.flatnonzero(kept):
        size = sum(1 for other in np.flatnonzero(kept) if classes[other] == classes[place])
        weights[place] = 1 / size if balanced else 1
    return weights / weights.mean()


@pytest.mark.parametrize("balanced", [False, True])
def test_noisy_student_weighs_images_as_if_classes_had_equally_many(balanced: bool) -> None:
    probabilities = softmax(numpy(Rows(5, 40))).astype(np.float32)
    options = NoisyStudentOptions(threshold=0.7, balanced=balanced)
    weights = weights_of("student", torch.from_numpy(probabilities), options)
    expected = weights_oracle(probabilities, 0.7, balanced)
    np.testing.assert_allclose(weights, expected, rtol=1e-5)
    sums = [expected[probabilities.argmax(1) == number].sum() for number in range(K)]
    assert np.allclose(sums, sums[0]) == balanced
    with pytest.raises(UserError, match=r"none of 40 unlabelled images .*;\nuse a lower threshold"):
        weights_of("student", torch.full((40, K), 1 / K), options)


def test_an_image_of_a_rare_class_weighs_ten_times_as_much_at_most() -> None:
    probabilities = torch.eye(3)[[0] * 400 + [1] * 199 + [2]]
    weights = weights_of("student", probabilities, NoisyStudentOptions(balanced=True))
    assert weights[400] / weights[0] == pytest.approx(400 / 199)
    assert weights[-1] / weights[0] == pytest.approx(10 / (200 / 400))  # a class has 200 on average
    assert weights.mean().item() == pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_noisy_student_learns_what_its_teacher_predicts_for_whole_images(kind: str) -> None:
    made_in = teaching(5)
    options = NoisyStudentOptions.model_validate({"threshold": 0.0, "pseudo_labels": kind})
    objective = make_objective(options, made_in)
    assert isinstance(objective, NoisyStudent)
    assert made_in.unlabelled is not None
    parts = {
        LABELLED: three_colours(N, 0).take(range(N)),
        UNLABELLED: made_in.unlabelled.take(range(M)),
    }
    batch = objective.batch(parts, 0, 0)
    with torch.no_grad():
        expected = made_in.teachers["5"](parts[UNLABELLED].images).softmax(1)
    torch.testing.assert_close(batch[UNLABELLED]["probabilities"], expected)
    student = made_in.model
    found = means(dict(objective.loss(student, batch)), batch)
    targets = np.eye(K)[expected.numpy().argmax(1)] if kind == "hard" else expected.numpy()
    weights = batch[UNLABELLED]["weights"].numpy()
    losses = weights * cross_entropy(numpy(student, N), targets)  # type: ignore[arg-type]
    assert found["consistency"] == pytest.approx(losses.mean(), rel=1e-4)
    assert found["confident"] == 1.0


def test_several_teachers_are_averaged_in_probability() -> None:
    made_in = teaching(5, 6)
    ensemble = teacher_of(made_in, "consistency")
    assert isinstance(ensemble, Ensemble)
    images = three_colours(8, 4).images
    with torch.no_grad():
        one, other = (made_in.teachers[name](images).softmax(1) for name in ("5", "6"))
        torch.testing.assert_close(ensemble(images).softmax(1), (one + other) / 2)
    assert not torch.allclose(one, other, atol=1e-3)
    assert teacher_of(teaching(5), "consistency") is not None
    with pytest.raises(UserError, match=r"needs a teacher, got none;\nset learns_from"):
        teacher_of(teaching(), "consistency")
