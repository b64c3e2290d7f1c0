"""Every epoch is logged in one line: loss, validation, speed and remaining time."""

import logging
from pathlib import Path

import pytest

from ruggedize.core.files import read_lines
from ruggedize.train.loop import fit, summary
from tests.tiny_stages import tiny_stage

ROW = {
    "epoch": 2,
    "loss": 0.51234,
    "validation": {"raw": {"loss": 0.4, "accuracy": 0.9712}, "averaged": None},
    "images_per_second": 1234.4,
    "seconds": 10.0,
}


def test_an_epoch_is_summarised_in_one_line() -> None:
    assert summary(ROW, 30.0) == (
        "loss 0.5123, validation accuracy 97.12 %, 1,234 images/s, about 30 s left"
    )
    scores = ROW["validation"] | {"averaged": {"loss": 0.3, "accuracy": 0.98}}
    assert "97.12 % (average 98.00 %)" in summary(ROW | {"validation": scores}, 0.0)
    assert "left" not in summary(ROW, 0.0)
    assert ", 12 % of pseudo-labels used, " in summary(ROW | {"confident": 0.123}, 0.0)


def test_every_epoch_is_logged_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="ruggedize.train.loop"):
        fit(tiny_stage(tmp_path, epochs=3))
    messages = [record.getMessage() for record in caplog.records]
    lines = [message for message in messages if message.startswith("teacher epoch")]
    rows = read_lines(tmp_path / "metrics.jsonl")
    expected = [f"teacher epoch {row['epoch']}/3: loss {row['loss']:.4f}, " for row in rows]
    assert [line[: len(start)] for start, line in zip(expected, lines, strict=True)] == expected
    assert [line.endswith(" left") for line in lines] == [True, True, False]
    caplog.clear()
    fit(tiny_stage(tmp_path, epochs=3))  # done already
    assert not [record for record in caplog.records if "epoch" in record.getMessage()]
