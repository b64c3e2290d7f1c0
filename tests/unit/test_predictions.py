"""The predictions on disk: exact enough to rank by, readable from earlier versions."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from ruggedize.assess import Predictions, load_predictions
from ruggedize.assess.example_choice import choose_examples
from ruggedize.assess.predictions import FORMAT, METADATA_KEY, Top, save_predictions
from ruggedize.core.errors import UserError

CELL = ("fog", 5)
LABELS = np.array([0, 0, 0])


def predictions(classes: list[int], confidences: list[float]) -> Predictions:
    top = Top(np.array(classes, np.int16)[:, None], np.array(confidences, np.float32)[:, None])
    return Predictions(np.arange(3), LABELS, top, {CELL: top})


def test_the_surest_disagreement_comes_first_however_sure(tmp_path: Path) -> None:
    confidences = [0.9998, 0.99999, 0.5]
    assert len(set(np.array(confidences, np.float16).tolist())) == 2  # which half precision merges
    for name, found in [
        ("right", predictions([0, 0, 0], confidences)),
        ("wrong", predictions([1, 1, 1], confidences)),
    ]:
        save_predictions(found, tmp_path / name)
    right, wrong = (load_predictions(tmp_path / name) for name in ("right", "wrong"))
    assert [example.row for example in choose_examples(wrong, right)] == [1, 0, 2]


def test_predictions_of_half_precision_still_load(tmp_path: Path) -> None:
    classes, confidences = np.zeros((3, 1), np.int16), np.array([[0.25], [0.5], [1.0]], np.float16)
    tensors = {"index": np.arange(3), "labels": LABELS}
    for name in ("clean", "fog/5"):
        tensors |= {f"{name}/classes": classes, f"{name}/confidences": confidences}
    about = {"format": FORMAT, "cells": [CELL]}
    save_file(tensors, tmp_path / "old", {METADATA_KEY: json.dumps(about)})
    found = load_predictions(tmp_path / "old")
    save_file(
        tensors | {"more": np.arange(3)}, tmp_path / "more", {METADATA_KEY: json.dumps(about)}
    )
    with pytest.raises(UserError, match="damaged, or contains no predictions"):
        load_predictions(tmp_path / "more")
    assert found.cells[CELL].confidences.dtype == np.float32
    assert found.cells[CELL].confidences[:, 0].tolist() == [0.25, 0.5, 1.0]
