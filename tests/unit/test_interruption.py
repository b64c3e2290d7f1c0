"""Signals are deferred to the end of a step; the previous handlers are restored."""

import dataclasses
import json
import signal
import threading
from pathlib import Path

import pytest

from ruggedize.core import signals as core_signals
from ruggedize.core.signals import SIGNALS, Signals
from ruggedize.train.checkpoint import load_newest_state
from ruggedize.train.loop import fit, fresh_state
from ruggedize.train.stage import Stage
from tests.tiny_stages import tiny_stage

pytestmark = pytest.mark.more


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in SIGNALS]


def interrupting(stage: Stage, at_step: int, number: int = signal.SIGINT) -> Stage:
    """Return a training that gets a signal in the midst of a step of its second epoch."""

    def progress(task: str, done: int, total: int) -> None:
        if task == "teacher epoch 2/5" and done == at_step:
            signal.raise_signal(number)

    return dataclasses.replace(stage, progress=progress)


def test_the_first_signal_is_deferred_to_the_end() -> None:
    before, done = handlers(), []

    def work() -> None:
        with Signals() as signals:
            assert handlers() != before
            signal.raise_signal(signal.SIGINT)
            done.append(signals.number)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == [signal.SIGINT]
    assert handlers() == before


def test_the_same_signal_relayed_at_once_is_one_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def work(seconds: float) -> None:
        monkeypatch.setattr(core_signals, "ECHO_SECONDS", seconds)
        with Signals():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append("went on")

    with pytest.raises(KeyboardInterrupt):
        work(60.0)
    assert done == ["went on"]
    with pytest.raises(KeyboardInterrupt):
        work(0.0)
    assert done == ["went on"]


def test_the_second_signal_is_not_deferred() -> None:
    before, done = handlers(), []

    def work() -> None:
        with Signals():
            signal.raise_signal(signal.SIGTERM)
            done.append("went on after the first")
            signal.raise_signal(signal.SIGINT)
            done.append("went on after the second")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["went on after the first"]
    assert handlers() == before


def test_an_error_restores_the_handlers_and_is_not_hidden() -> None:
    before = handlers()

    def work() -> None:
        with Signals():
            raise ValueError("of its own")

    with pytest.raises(ValueError, match="of its own"):
        work()
    assert handlers() == before


def test_in_a_thread_signals_are_not_deferred() -> None:
    before, seen = handlers(), []

    def work() -> None:
        with Signals():
            seen.append(handlers())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Signals() as signals:
            signal.raise_signal(signal.SIGINT)
            assert not signals.number
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.more
def test_a_training_in_a_notebook_is_interrupted_after_its_step_and_goes_on(tmp_path: Path) -> None:
    before = handlers()
    with pytest.raises(KeyboardInterrupt):
        fit(interrupting(tiny_stage(tmp_path / "cut"), 2))
    assert handlers() == before
    state = fresh_state(tiny_stage(tmp_path))
    assert load_newest_state(state, tmp_path / "cut" / "state")
    assert (state.counters.epoch, state.counters.step_in_epoch) == (1, 2)
    fit(tiny_stage(tmp_path / "cut"))
    fit(tiny_stage(tmp_path / "whole"))
    assert handlers() == before
    cut, whole = (tmp_path / name / "model.safetensors" for name in ("cut", "whole"))
    assert cut.read_bytes() == whole.read_bytes()


def test_a_signal_at_the_last_step_of_an_epoch_loses_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fit(interrupting(tiny_stage(tmp_path / "cut"), 4))
    fit(tiny_stage(tmp_path / "cut"))
    fit(tiny_stage(tmp_path / "whole"))
    cut, whole = (tmp_path / name / "model.safetensors" for name in ("cut", "whole"))
    assert cut.read_bytes() == whole.read_bytes()
    logs = [(tmp_path / x / "metrics.jsonl").read_text().splitlines() for x in ("cut", "whole")]
    rows, others = ([json.loads(line) for line in lines] for lines in logs)
    assert [row["lr"] for row in rows] == [row["lr"] for row in others]
    assert [row["loss"] for row in rows] == [row["loss"] for row in others]


@pytest.mark.more
def test_a_program_s_own_handler_is_called_and_may_let_the_training_go_on(tmp_path: Path) -> None:
    calls: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: calls.append(number))
    try:
        fit(interrupting(tiny_stage(tmp_path), 2, signal.SIGTERM))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert calls == [signal.SIGTERM]
    assert (tmp_path / "model.safetensors").exists()
