"""A stopped assessment continues from its saved progress and ends as if it had not been stopped."""

import dataclasses
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from ruggedize.assess import (
    AssessmentResult,
    AssessOptions,
    assess,
    progress_file,
)
from ruggedize.assess.saving import remove_progress
from ruggedize.core import files
from ruggedize.core.progress import Progress, no_progress
from tests.tiny_assessment import FP32, TinyClassifier, TinySuite, tiny_images

NUM_CELLS = 3 * 5 + 1  # with the clean images; each is one block
TWO = {"near": TinyClassifier(bias=0.02), "far": TinyClassifier(bias=0.06)}


def stopping_after(blocks: int, error: type[BaseException] = KeyboardInterrupt) -> Progress:
    """Return a progress callback that stops the assessment after this many blocks."""
    seen = []

    def progress(task: str, done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == blocks:
            raise error

    return progress


def assessed(
    state: Path | None,
    progress: Progress = no_progress,
    *,
    models: dict[str, TinyClassifier] | dict[str, Callable[[Tensor], Tensor]] = TWO,
    options: AssessOptions = FP32,
    asked: list[tuple[str, int, tuple[int, ...]]] | None = None,
    seed: int = 0,
) -> AssessmentResult:
    images = tiny_images(seed=seed)
    suite = TinySuite(images.images, asked=[] if asked is None else asked)
    return assess(models, images, suite, options, resume_for=state, progress=progress)


def assert_equal(found: AssessmentResult, expected: AssessmentResult) -> None:
    assert found.assessment == expected.assessment
    for name, predictions in expected.predictions.items():
        for cell, top in predictions.cells.items():
            assert np.array_equal(found.predictions[name].cells[cell].classes, top.classes)
            assert np.array_equal(found.predictions[name].cells[cell].confidences, top.confidences)


@pytest.mark.parametrize("blocks", [1, 2, NUM_CELLS - 1, NUM_CELLS])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_a_stopped_assessment_continues_after_the_last_block(
    tmp_path: Path, blocks: int, error: type[BaseException]
) -> None:
    state = tmp_path / "a.json"
    with pytest.raises(error):
        assessed(state, stopping_after(blocks, error))
    asked: list[tuple[str, int, tuple[int, ...]]] = []
    counts = []
    found = assessed(state, lambda task, done, total: counts.append((done, total)), asked=asked)
    assert_equal(found, assessed(None))
    repeated = int(blocks > 1)  # the last block, as a check; the first has clean images
    assert len(asked) == NUM_CELLS - blocks + repeated
    assert counts == [(120 * block, 120 * NUM_CELLS) for block in range(blocks + 1, NUM_CELLS + 1)]


def test_a_second_stop_keeps_what_both_have_done(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            assessed(tmp_path / "a.json", stopping_after(3))
    asked: list[tuple[str, int, tuple[int, ...]]] = []
    assert_equal(assessed(tmp_path / "a.json", asked=asked), assessed(None))
    assert len(asked) == NUM_CELLS - 6 + 1


def test_any_function_continues(tmp_path: Path) -> None:
    functions = {"function": TWO["far"].eval().forward}
    with pytest.raises(KeyboardInterrupt):
        assessed(tmp_path / "a.json", stopping_after(4), models=functions)
    found = assessed(tmp_path / "a.json", models=functions)
    assert_equal(found, assessed(None, models=functions))


def test_an_error_of_a_model_leaves_no_progress(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        assessed(tmp_path / "a.json", stopping_after(3, ZeroDivisionError))
    assert not list(tmp_path.iterdir())


OTHER_MODELS = {**TWO, "far": TinyClassifier(bias=0.05)}
ANOTHER = {
    "other weights": {"models": OTHER_MODELS},
    "another order": {"models": {"far": TWO["far"], "near": TWO["near"]}},
    "other cells": {"options": FP32.model_copy(update={"severities": (1, 5)})},
    "fewer images": {"options": FP32.model_copy(update={"num_images": 60})},
    "other labels": {"seed": 1},
}


@pytest.mark.parametrize("change", ANOTHER.values(), ids=ANOTHER.keys())
def test_another_assessment_starts_over(
    tmp_path: Path, change: dict, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt):
        assessed(tmp_path / "a.json", stopping_after(5))
    found = assessed(tmp_path / "a.json", **change)
    assert "starting over" in caplog.text
    assert "belongs to another assessment" in caplog.text
    assert_equal(found, assessed(None, **change))


@pytest.mark.parametrize("where", ["clean", "corrupted", "function"])
def test_other_images_or_functions_start_over(
    tmp_path: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    images = tiny_images()
    lighter = dataclasses.replace(images, images=images.images.clamp(max=249) + 6)

    def assess_once(
        place: Path | None, progress: Progress = no_progress, *, changed: bool
    ) -> AssessmentResult:
        shown = lighter if changed and where == "clean" else images
        suite = TinySuite((lighter if changed and where == "corrupted" else images).images)
        function = {"function": TWO["far" if changed else "near"].eval().forward}
        models = function if where == "function" else TWO
        return assess(models, shown, suite, FP32, resume_for=place, progress=progress)

    with pytest.raises(KeyboardInterrupt):
        assess_once(tmp_path / "a.json", stopping_after(5), changed=False)
    found = assess_once(tmp_path / "a.json", changed=True)
    assert "is of other models or images" in caplog.text
    assert_equal(found, assess_once(None, changed=True))


@pytest.mark.parametrize("damage", [b"", b"no safetensors", None], ids=["empty", "text", "cut"])
def test_damaged_progress_is_not_used(
    tmp_path: Path, damage: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(KeyboardInterrupt):
        assessed(tmp_path / "a.json", stopping_after(5))
    path = progress_file(tmp_path / "a.json")
    files.write_atomically(path, path.read_bytes()[:-100] if damage is None else damage)
    assert_equal(assessed(tmp_path / "a.json"), assessed(None))
    assert "is damaged" in caplog.text


def test_progress_is_also_saved_at_intervals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ruggedize.assess.resuming.SAVE_SECONDS", 0.0)
    there = []

    def progress(task: str, done: int, total: int) -> None:
        there.append(progress_file(tmp_path / "a.json").exists())

    assessed(tmp_path / "a.json", progress)
    assert all(there)


def test_a_signal_repeated_while_progress_is_saved_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = files.write_atomically

    def interrupted(path: Path, data: bytes) -> None:
        signal.raise_signal(signal.SIGINT)
        write(path, data)

    monkeypatch.setattr("ruggedize.assess.resuming.files.write_atomically", interrupted)
    with pytest.raises(KeyboardInterrupt):
        assessed(tmp_path / "a.json", stopping_after(3))
    assert progress_file(tmp_path / "a.json").exists()


def test_only_the_progress_of_this_assessment_is_removed(tmp_path: Path) -> None:
    names = ("model-0.5.json", "model-1.5.json", "a[1].json", "a1.json", "exp.1", "exp.2")
    for name in names:
        for rank in (0, 1):
            progress_file(tmp_path / name, rank).touch()
    for left, name in zip(range(10, -1, -2), names, strict=True):
        remove_progress(tmp_path / name)
        assert len([*tmp_path.iterdir()]) == left
