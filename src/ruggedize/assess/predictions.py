"""Predictions of a model: the top three classes of each image in each cell. Imports no torch."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int16, Int64

from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.core.reading import check_regular, parsed_json

FORMAT = "ruggedize-predictions-1"
METADATA_KEY = "ruggedize"


class Top(NamedTuple):
    """The `t` most likely classes of `n` images, most likely first, and their probabilities."""

    classes: Int16[np.ndarray, "n t"]
    confidences: Float32[np.ndarray, "n t"]


class Rows(NamedTuple):
    """Indices of images, in ascending order, and their labels."""

    indices: Int64[np.ndarray, " n"]
    labels: Int64[np.ndarray, " n"]


@dataclass(frozen=True, eq=False)
class Predictions:
    """One model's predictions; rows are in ascending order of `index`."""

    index: Int64[np.ndarray, " n"]
    labels: Int64[np.ndarray, " n"]
    clean: Top
    cells: Mapping[tuple[str, int], Top]  # (corruption, severity)
    clean_rows: Rows | None = None  # if the clean images are not those of the cells

    def correct(self, cell: tuple[str, int] | None) -> Bool[np.ndarray, " n"]:
        """Return which images are classified correctly in a cell, or clean (None)."""
        if cell is not None:
            return self.cells[cell].classes[:, 0] == self.labels
        labels = self.labels if self.clean_rows is None else self.clean_rows.labels
        return self.clean.classes[:, 0] == labels


def save_predictions(predictions: Predictions, path: Path) -> None:
    """Write `predictions/NAME.safetensors`; equal predictions have equal bytes."""
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


AGAIN = "delete the assessment they belong to and repeat the command that wrote it"


def load_predictions(path: Path, max_images: int | None = None) -> Predictions:
    """Load `predictions/NAME.safetensors`.

    Earlier versions wrote confidences as float16; they are loaded as float32.

    Args:
        path: the file.
        max_images: reject a file with more rows before memory is allocated, since a sparse file
            can be long without taking disk space; None: no limit.

    Raises:
        UserError: it is missing, damaged, or not a predictions file.
    """
    from safetensors import SafetensorError, safe_open

    if not path.exists():
        raise UserError(f"there are no predictions {path};\n{AGAIN}")
    check_regular(path)
    try:
        with safe_open(path, "np") as file:
            about = parsed_json(path, (file.metadata() or {}).get(METADATA_KEY, "{}").encode())
            parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            kinds = {name: (part.get_dtype(), *part.get_shape()) for name, part in parts.items()}
            cells = checked_cells(about, kinds, max_images)
            tensors = {name: file.get_tensor(name) for name in kinds}
    except (SafetensorError, ValueError, UserError):
        raise UserError(f"{path} is damaged, or contains no predictions;\n{AGAIN}") from None

    def top(name: str) -> Top:
        confidences = tensors[f"{name}/confidences"].astype(np.float32, copy=False)
        return Top(tensors[f"{name}/classes"], confidences)

    own = (
        Rows(tensors["clean/index"], tensors["clean/labels"]) if "clean/index" in tensors else None
    )
    tops = {cell: top("/".join(map(str, cell))) for cell in cells}
    return Predictions(tensors["index"], tensors["labels"], top("clean"), tops, own)


def checked_cells(
    about: Any, kinds: Mapping[str, tuple[str | int, ...]], max_images: int | None
) -> list[tuple[str, int]]:
    """Check the tensors of a predictions file and return its cells.

    Args:
        about: metadata of the file.
        kinds: dtype and shape of every tensor.
        max_images: maximum number of rows.

    Raises:
        ValueError: these are not the tensors of a predictions file.
    """
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError("another format")
    listed = about.get("cells")
    if not isinstance(listed, list) or not all(map(is_cell, listed)):
        raise ValueError("no list of cells")
    places = {f"{name}/{severity}": "index" for name, severity in listed}
    places["clean"] = "clean/index" if "clean/index" in kinds else "index"
    known = {f"{place}/{kind}" for place in places for kind in ("classes", "confidences")}
    known |= {name for index in places.values() for name in (index, labels_beside(index))}
    known |= {"index", "labels"}
    if unknown := kinds.keys() - known:
        raise ValueError(f"unknown tensors {sorted(unknown)}")
    for place, index in places.items():
        n, num_classes = rows_and_classes(kinds.get(f"{place}/classes", ()))
        vectors = (index, labels_beside(index))
        if any(kinds.get(name) != ("I64", n) for name in vectors):
            raise ValueError(f"{place} lacks indices or labels")
        confidences = kinds.get(f"{place}/confidences")
        if confidences not in (("F32", n, num_classes), ("F16", n, num_classes)):
            raise ValueError(f"{place} lacks confidences")
        if max_images is not None and n > max_images:
            raise ValueError(f"{n} rows")
    return [(name, severity) for name, severity in listed]


def labels_beside(index: str) -> str:
    """Return the name of the tensor of labels that belongs to one of indices."""
    return index.replace("index", "labels")


def rows_and_classes(kind: tuple[str | int, ...]) -> tuple[int, int]:
    """Return the shape of a tensor of predicted classes; raise ValueError if it is not one."""
    match kind:
        case ("I16", int(n), int(num_classes)) if n > 0 and 1 <= num_classes <= 3:
            return n, num_classes
        case _:
            raise ValueError(f"predicted classes must be int16 [n, 3], got {kind}")


def is_cell(cell: Any) -> bool:
    """Return whether an entry of the metadata names a corruption and a severity."""
    match cell:
        case [str(), int(severity)]:
            return 1 <= severity <= 5
        case _:
            return False


def predictions_folder(assessment: Path) -> Path:
    """Return the predictions folder of an assessment: next to it, and named after it."""
    stem = assessment.stem
    return assessment.parent / ("predictions" if stem == "assessment" else f"{stem}-predictions")
