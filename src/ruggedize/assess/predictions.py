"""What a model said of each image: the three likeliest classes in every cell. No torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int16, Int64

from ruggedize.core import files
from ruggedize.core.errors import UserError

FORMAT = "ruggedize-predictions-1"
METADATA_KEY = "ruggedize"


class Top(NamedTuple):
    """The likeliest classes of `n` images, likeliest first, and their probabilities."""

    classes: Int16[np.ndarray, "n t"]
    confidences: Float32[np.ndarray, "n t"]


class Rows(NamedTuple):
    """Which images: their indices, ascending, and their labels."""

    indices: Int64[np.ndarray, " n"]
    labels: Int64[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class Predictions:
    """One model's answers; rows stand in ascending order of `index`."""

    index: Int64[np.ndarray, " n"]
    labels: Int64[np.ndarray, " n"]
    clean: Top
    cells: Mapping[tuple[str, int], Top]  # (corruption, severity)
    clean_rows: Rows | None = None  # where the clean images are others than the cells'

    def correct(self, cell: tuple[str, int] | None) -> Bool[np.ndarray, " n"]:
        """Return which images were classified rightly in a cell, or clean (None)."""
        if cell is not None:
            return self.cells[cell].classes[:, 0] == self.labels
        labels = self.labels if self.clean_rows is None else self.clean_rows.labels
        return self.clean.classes[:, 0] == labels


def save_predictions(predictions: Predictions, path: Path) -> None:
    """Write `predictions/NAME.safetensors`; equal predictions give equal bytes."""
    from safetensors.numpy import save

    tensors = {"index": predictions.index, "labels": predictions.labels}
    if predictions.clean_rows is not None:
        tensors["clean/index"], tensors["clean/labels"] = predictions.clean_rows
    tops = {"clean": predictions.clean}
    tops |= {f"{name}/{severity}": top for (name, severity), top in predictions.cells.items()}
    for name, top in tops.items():
        tensors[f"{name}/classes"] = np.ascontiguousarray(top.classes)
        tensors[f"{name}/confidences"] = np.ascontiguousarray(top.confidences)
    about = {"format": FORMAT, "cells": list(predictions.cells)}
    files.write_atomically(path, save(tensors, {METADATA_KEY: json.dumps(about)}))


AGAIN = "delete the assessment that they belong to, and give the command that made it again"


def load_predictions(path: Path) -> Predictions:
    """Load `predictions/NAME.safetensors`.

    Earlier versions wrote confidences as float16; they are loaded as float32.

    Raises:
        UserError: it is not there, or not such a file.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise UserError(f"there are no predictions {path}; {AGAIN}")
    try:
        with safe_open(path, "np") as file:
            about = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError:
        about, tensors = {}, {}
    if about.get("format") != FORMAT:
        raise UserError(f"{path} holds no predictions, or damaged ones; {AGAIN}")

    def top(name: str) -> Top:
        confidences = tensors[f"{name}/confidences"].astype(np.float32, copy=False)
        return Top(tensors[f"{name}/classes"], confidences)

    cells = {(name, severity): top(f"{name}/{severity}") for name, severity in about["cells"]}
    own = (
        Rows(tensors["clean/index"], tensors["clean/labels"]) if "clean/index" in tensors else None
    )
    return Predictions(tensors["index"], tensors["labels"], top("clean"), cells, own)


def predictions_folder(assessment: Path) -> Path:
    """Return where an assessment's predictions lie: beside it, apart from other assessments'."""
    stem = assessment.stem
    return assessment.parent / ("predictions" if stem == "assessment" else f"{stem}-predictions")
