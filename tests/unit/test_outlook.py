"""The estimate of a whole run's time."""

import logging
import time

import pytest

from ruggedize.core.progress import EpochTask, no_progress
from ruggedize.recipe import Counts, Outlook, load_recipe, passes_of
from ruggedize.recipe.outlook import StagePasses


def test_passes_follow_the_recipe() -> None:
    change = 'stages.wise={interpolate="student", start="teacher", alphas=[0.0, 1.0]}'
    recipe = load_recipe("demo", (change, "assess.severities=[1, 5]", "assess.num_images=40"))
    passes = passes_of(recipe, Counts(train=1000, validation=200, test=500))
    assert passes == {
        "teacher": StagePasses(3 * 1000, 2 * 200 + 2 * 1000, 15),
        "student": StagePasses(4 * 1000, 2 * 200 + 2 * 1000, 25),
        "wise": StagePasses(0, 2 * (21 * 200 + 1000), 1),
        "assessment": StagePasses(0, 3 * (1 + 2 * 19) * 40, 1),
    }


def test_unlabelled_images_and_set_steps_count() -> None:
    recipe = load_recipe("fixmatch-cifar10")
    counts = Counts(train=250, validation=1000, test=500, unlabelled=40_000)
    passes = passes_of(recipe, counts)
    assert passes["student"].other == 2 * 1000 + 2 * 2500  # batch-norm refresh on unlabelled images
    assert passes["teacher"].other == 2 * 1000 + 2 * 250
    assert passes["teacher"].steps == 3 * 1000 * 64
    views = 1 + 7 * 2  # one of the labelled image, two of each of seven unlabelled ones
    assert passes["student"].steps == 3 * 1000 * 64 * views


def test_the_first_epoch_of_every_stage_predicts_the_rest(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: seconds[0])
    outlook = Outlook(
        no_progress,
        {
            "a": StagePasses(100, 10, 3),
            "b": StagePasses(50, 0, 2),
            "assessment": StagePasses(0, 270, 1),
        },
    )
    with caplog.at_level(logging.INFO):
        for epoch in (1, 2, 3):
            for step in range(1, 11):  # ten seconds each, after one of a minute
                seconds[0] += 60 if step == epoch == 1 else 10
                outlook(EpochTask(f"a epoch {epoch}/3"), step, 10)
        assert len(caplog.messages) == 1
        assert "about 10 min left, of which 45 % for the assessment" in caplog.messages[0]
        for step in (1, 2):
            seconds[0] += 10
            outlook(EpochTask("b epoch 1/2"), step, 2)
            outlook("b validation", step, 2)
    assert len(caplog.messages) == 2
    assert "about 2 min left" in caplog.messages[1]


def test_an_epoch_of_a_linear_probe_counts_without_the_gradient(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load_recipe("demo", ("student.start=teacher", "student.probe_epochs=2"))
    student = passes_of(recipe, Counts(train=1000, validation=200, test=500))["student"]
    assert (student.probe_epochs, student.probe_steps) == (2, 2 * 1000)
    seconds = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: seconds[0])
    passes = {"a": StagePasses(300, 0, 3, 1, 100), "assessment": StagePasses(0, 0, 1)}
    outlook = Outlook(no_progress, passes)
    with caplog.at_level(logging.INFO):
        for step in range(1, 11):  # 100 passes take 100 seconds, so 600 passes are left
            seconds[0] += 10
            outlook(EpochTask("a epoch 1/3"), step, 10)
    assert "about 10 min left" in caplog.messages[0]


def test_a_resumed_epoch_and_one_of_a_single_step_are_no_basis_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outlook = Outlook(no_progress, {"a": StagePasses(1, 0, 9), "assessment": StagePasses(0, 1, 1)})
    with caplog.at_level(logging.INFO):
        outlook(EpochTask("a epoch 1/9"), 1, 1)
        assert not caplog.messages
        outlook(EpochTask("a epoch 2/9"), 9, 10)
        outlook(EpochTask("a epoch 2/9"), 10, 10)
    assert len(caplog.messages) == 1
