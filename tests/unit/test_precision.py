"""`precision = "auto"` is measured once per machine and does not change within a training."""

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from ruggedize.core.environment import processor
from ruggedize.data import Splits
from ruggedize.models import precision as module
from ruggedize.models import resolved_precision
from ruggedize.models.precision import (
    CACHE_FILE,
    Timing,
    cached_timing,
    faster_precision,
    measured_timing,
    processor_precision,
)
from ruggedize.train import StudentOptions, TrainingOptions, train_student, train_teacher
from ruggedize.train.checkpoint import save_state, saved_precision
from ruggedize.train.distributed import training_precision
from ruggedize.train.loop import fresh_state
from ruggedize.views import ViewOptions
from tests.tiny_stages import three_colours, tiny_stage

CPU = torch.device("cpu")
FASTER_IN = {"bf16": Timing(0.02, 0.01), "fp32": Timing(0.02, 0.03)}
KEY = f"{processor()}, torch {torch.__version__}, threads: {torch.get_num_threads()}"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Move the user's cache to a folder of the test's own, where nothing was measured yet."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(module, "cache_folder", lambda: folder / "ruggedize")
    processor_precision.cache_clear()
    yield folder / "ruggedize" / CACHE_FILE
    processor_precision.cache_clear()


def answer(cache: Path, precision: str) -> None:
    """Fill the cache with the timing of a machine on which this precision is the faster one."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    cache.write_text(json.dumps({KEY: FASTER_IN[precision]._asdict()}))
    processor_precision.cache_clear()


def measuring(monkeypatch: pytest.MonkeyPatch, timing: Timing) -> list[Timing]:
    """Fake the measurement's timing; return the list of measurements made."""
    made: list[Timing] = []

    def measure() -> Timing:
        made.append(timing)
        return timing

    monkeypatch.setattr(module, "measured_timing", measure)
    return made


@pytest.mark.parametrize(
    ("fp32", "bf16", "expected"),
    [
        (2.0, 1.0, "bf16"),
        (1.12, 1.0, "bf16"),
        (1.08, 1.0, "fp32"),
        (1.0, 1.0, "fp32"),
        (1.0, 1.5, "fp32"),
    ],
)
def test_bfloat16_must_be_faster_by_more_than_ten_percent(
    fp32: float, bf16: float, expected: str
) -> None:
    assert faster_precision(Timing(fp32, bf16)) == expected


def test_the_measurement_is_short_and_leaves_torch_as_it_was() -> None:
    before = torch.get_rng_state()
    with torch.inference_mode():
        timing = measured_timing()
    assert all(0 < seconds < math.inf for seconds in timing)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.is_autocast_enabled("cpu")


def test_a_machine_is_measured_once(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = measuring(monkeypatch, Timing(0.02, 0.01))
    with caplog.at_level(logging.INFO):
        for _ in range(2):
            processor_precision.cache_clear()  # as another process would begin
            assert resolved_precision("auto", CPU) == "bf16"
    assert len(made) == 1
    assert json.loads(cache.read_text()) == {KEY: {"fp32": 0.02, "bf16": 0.01}}
    first, second = caplog.messages
    assert "20.00 ms in float32, 10.00 ms in bfloat16" in first
    assert "measured now" in first
    assert "cached in" in second


def test_another_number_of_threads_is_measured_separately(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = measuring(monkeypatch, Timing(0.02, 0.03))
    answer(cache, "bf16")
    assert processor_precision(torch.get_num_threads(), cache.parent) == "bf16"
    assert not made
    assert processor_precision(999, cache.parent) == "fp32"
    assert len(made) == 1
    assert len(json.loads(cache.read_text())) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[1]",
        json.dumps({KEY: "bf16"}).encode(),
        json.dumps({KEY: {"fp32": 1.0}}).encode(),
        json.dumps({KEY: {"fp32": 1.0, "bf16": "fast"}}).encode(),
        json.dumps({KEY: {"fp32": 1.0, "bf16": 0.0}}).encode(),
        json.dumps({KEY: {"fp32": 1.0, "bf16": math.nan}}).encode(),
    ],
)
def test_with_a_damaged_cache_the_precision_is_measured_again(
    cache: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    made = measuring(monkeypatch, Timing(0.02, 0.01))
    cache.parent.mkdir(parents=True)
    cache.write_bytes(content)
    assert resolved_precision("auto", CPU) == "bf16"
    assert len(made) == 1
    assert cached_timing(cache, KEY) == Timing(0.02, 0.01)


def test_without_a_writable_cache_every_process_measures(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = measuring(monkeypatch, Timing(0.02, 0.01))
    cache.parents[1].write_text("a file where the folder should be")
    assert [resolved_precision("auto", CPU) for _ in range(2)] == ["bf16", "bf16"]
    assert len(made) == 1
    processor_precision.cache_clear()  # as another process would begin
    assert resolved_precision("auto", CPU) == "bf16"
    assert len(made) == 2


def test_the_first_of_two_concurrent_measurements_is_used(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure() -> Timing:
        answer(cache, "fp32")  # the other process is done
        return Timing(0.02, 0.01)

    monkeypatch.setattr(module, "measured_timing", measure)
    assert resolved_precision("auto", CPU) == "fp32"


@pytest.mark.parametrize("requested", ["bf16", "fp32"])
def test_an_explicit_precision_is_not_measured(
    cache: Path, monkeypatch: pytest.MonkeyPatch, requested: Any, tmp_path: Path
) -> None:
    made = measuring(monkeypatch, Timing(0.02, 0.01))
    assert resolved_precision(requested, CPU) == requested
    assert tiny_stage(tmp_path, precision=requested).precision == requested
    assert not made
    assert not cache.exists()


def state_of(folder: Path, precision: str) -> None:
    """Leave the state of a training that began with this precision."""
    state = fresh_state(tiny_stage(folder, precision="auto"))
    state.counters.precision = precision
    save_state(state, folder / "state")


def test_a_resumed_training_keeps_the_precision_it_began_with(cache: Path, tmp_path: Path) -> None:
    answer(cache, "fp32")
    assert tiny_stage(tmp_path / "new", precision="auto").precision == "fp32"
    state_of(tmp_path / "run", "bf16")
    assert tiny_stage(tmp_path / "run", precision="auto").precision == "bf16"
    state_of(tmp_path / "old", "")  # of a version that recorded none
    assert tiny_stage(tmp_path / "old", precision="auto").precision == "fp32"
    (state,) = (tmp_path / "run" / "state").iterdir()
    state.write_bytes(state.read_bytes()[:40])
    assert tiny_stage(tmp_path / "run", precision="auto").precision == "fp32"


MODEL = {"name": "resnet9", "width": 8}


def trained(out: Path, epochs: int, teacher: Path | None = None) -> dict[str, Any]:
    """Train a teacher or a student with `auto`, and return what it delivered."""
    data = Splits(three_colours(32, 0), three_colours(20, 1), three_colours(20, 2))
    views, alone = ViewOptions(pad=2), Accelerator(cpu=True)
    options = {"model": MODEL, "epochs": epochs, "batch_size": 16}
    if teacher is None:
        train_teacher(data, views, TrainingOptions.model_validate(options), out, accelerator=alone)
    else:
        requested = StudentOptions.model_validate(options | {"objective": {"clean_view": "test"}})
        train_student(data, views, requested, teacher, out, accelerator=alone)
    return json.loads((out / "delivered.json").read_text())


@pytest.mark.more
@pytest.mark.parametrize("name", ["teacher", "student"])
def test_a_changed_cache_does_not_change_a_resumed_run(
    cache: Path, tmp_path: Path, name: str
) -> None:
    """The model is deleted, and made again from the last state, on what is now another machine."""
    answer(cache, "fp32")
    trained(tmp_path / "teacher", 1)
    teacher = tmp_path / "teacher" / "model.safetensors" if name == "student" else None
    answer(cache, "bf16")
    out, other = tmp_path / "run", tmp_path / "other"
    assert trained(out, 2, teacher)["precision"] == "bf16"
    whole = (out / "model.safetensors").read_bytes()
    newest = max((out / "state").iterdir())
    for path in (out / "model.safetensors", newest):  # cut off after the first epoch
        path.unlink()
    answer(cache, "fp32")
    assert trained(out, 2, teacher)["precision"] == "bf16"
    assert (out / "model.safetensors").read_bytes() == whole
    assert trained(other, 2, teacher)["precision"] == "fp32"
    assert (other / "model.safetensors").read_bytes() != whole


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_the_state_records_the_precision(cache: Path, tmp_path: Path, precision: str) -> None:
    answer(cache, precision)
    assert saved_precision(tmp_path / "state") is None
    trained(tmp_path, 1)
    assert saved_precision(tmp_path / "state") == precision


class OneOfTwo(Accelerator):
    """One of two processes that take turns: a sum reaches the second one complete."""

    num_processes, device = 2, CPU

    def __init__(self, sent: list[torch.Tensor]) -> None:
        self.is_first = not sent
        self.sent = sent

    @property
    def is_main_process(self) -> bool:
        return self.is_first

    def reduce(self, tensor: torch.Tensor, reduction: str = "sum", scale: float = 1.0) -> Any:
        self.sent.append(tensor)
        return torch.stack(self.sent).sum(0)


@pytest.mark.parametrize(("first", "second"), [("bf16", "fp32"), ("fp32", "bf16")])
def test_the_first_process_decides_for_all(
    cache: Path, tmp_path: Path, first: str, second: str
) -> None:
    options, sent = TrainingOptions.model_validate({"model": MODEL}), []
    for own in (first, second):
        answer(cache, own)
        assert resolved_precision("auto", CPU) == own
        assert training_precision(options, tmp_path, OneOfTwo(sent)) == first
    assert len(sent) == 2
