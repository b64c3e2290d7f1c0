"""Learning rates, averages and error reports use the planned step, not the steps taken."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from ruggedize.core import seeding
from ruggedize.core.errors import UserError
from ruggedize.train import stage as stage_module
from ruggedize.train.checkpoint import load_newest_state
from ruggedize.train.loop import fit, fresh_state
from ruggedize.train.optim import rate_at
from ruggedize.train.stage import Stage
from tests.tiny_stages import tiny_stage
from tests.unit.test_divergence import spoilt

EPOCHS, LR = 10, 0.05
CHANGES = {"epochs": EPOCHS, "averaging": {"kind": "ema", "start": 0.9}}


def broken_off_after(folder: Path, epochs: int) -> None:
    """Train for some epochs of four steps each, and stop within the next one."""
    with pytest.raises(UserError, match="infinite or NaN"):
        fit(spoilt(folder, math.nan, bad=4 * epochs + 1, **CHANGES))


def plan_for(num_steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change the steps of an epoch, as where more processes drop a small last batch."""
    monkeypatch.setattr(stage_module, "steps_per_epoch", lambda *arguments: num_steps)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_resuming_with_fewer_steps_per_epoch_stays_on_the_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_off_after(tmp_path, 8)
    plan_for(3, monkeypatch)
    fit(tiny_stage(tmp_path, **CHANGES))
    rows = rows_of(tmp_path)
    assert [row["steps"] for row in rows[-3:]] == [32, 35, 38]  # 38 steps taken of 30 planned
    schedule = tiny_stage(tmp_path).options.schedule
    expected = [rate_at(schedule, 3 * epoch + 2, 30) for epoch in (8, 9)]
    assert [row["lr"] / LR for row in rows[-2:]] == pytest.approx(expected)
    state = fresh_state(tiny_stage(tmp_path, **CHANGES))
    assert load_newest_state(state, tmp_path / "state")
    assert state.average
    assert state.average.num_snapshots == 3  # planned steps 28, 29 and 30: start = 0.9


def test_an_epoch_with_more_steps_taken_than_it_has_now_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="infinite or NaN"):  # three of its four steps are taken
        fit(spoilt(tmp_path, math.nan, bad=4 * EPOCHS, **CHANGES))
    plan_for(2, monkeypatch)
    fit(tiny_stage(tmp_path, **CHANGES))
    schedule = tiny_stage(tmp_path).options.schedule
    assert rows_of(tmp_path)[-1]["lr"] == pytest.approx(LR * rate_at(schedule, 19, 20))


def test_a_non_finite_loss_is_reported_with_its_epoch_and_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken_off_after(tmp_path, 8)
    plan_for(3, monkeypatch)
    stage: Stage = spoilt(tmp_path, math.nan, bad=2, **CHANGES)
    with pytest.raises(UserError, match=r"at step 26 \(epoch 9\)"):
        fit(stage)
    record = json.loads((tmp_path / "not_finite.json").read_text())
    images = seeding.order(0, "teacher/order", 8, stage.num_images)[16:32]
    assert record["images"] == images.tolist()
    assert record["epoch"] == 9


@pytest.mark.more
def test_patience_starts_after_the_linear_probe(tmp_path: Path) -> None:
    changes = {"probe_epochs": 3, "epochs": 9, "averaging": "none", "watch": "accuracy"}
    changes |= {"early_stopping": {"patience": 1}, "optimiser": {"kind": "sgd", "lr": 1e-9}}
    fit(tiny_stage(tmp_path, **changes, schedule={"kind": "plateau", "patience": 1}))
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [row["lr"] for row in rows] == [1e-9] * 5  # the fifth epoch is no better than the fourth
    assert (tmp_path / "probed.safetensors").exists()
