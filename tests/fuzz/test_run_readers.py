"""Files of a run, suites and tables, whatever they hold: an answer or a `UserError`.

`make test` runs 50 cases of each reader, `make test-long` 10,000.
"""

import io
import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from ruggedize.assess import load_predictions
from ruggedize.corruptions import stored_suite
from ruggedize.data import ImageSet
from ruggedize.data.tables import read_table
from ruggedize.report import page
from tests.fuzz import inputs
from tests.fuzz.damage import damaged
from tests.fuzz.hammering import Record, hammer
from tests.tiny_assessment import tiny_run

NUM_CASES = [50, pytest.param(10_000, marks=[pytest.mark.long, pytest.mark.timeout(3600)])]
DELIVERED = {
    "weights": "ema",
    "epoch": 2,
    "validation": {"loss": 0.4, "accuracy": 0.9},
    "chosen_by": "accuracy",
    "num_candidates": 3,
    "at_epoch": {
        "raw": {"loss": 0.4, "accuracy": 0.9},
        "averaged": {"loss": 0.6, "accuracy": 0.8},
        "difference": {
            "metric": "accuracy",
            "raw_minus_average": 0.07,
            "standard_error": 0.01,
            "num_images": 1000,
        },
    },
    "reason": "it is better",
    "training": {"parents": {"teacher": "ab"}, "images": {"training": 9}, "data": None},
}
READ = {  # files of a run; one in a list is one of several lines
    "assessment.json": False,
    "environment.json": False,
    "student/delivered.json": False,
    "student/metrics.jsonl": True,
    "recipe.toml": False,
}
FEW, ONE_DRAWN_IN = 50, 8


def no_drawings(*facts: object) -> dict[str, list[Any]]:
    return {"robustness": [], "calibration": [], "training": []}


def places_in(content: Any, above: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """List the paths of all values of a JSON document."""
    if not isinstance(content, dict | list):
        return [above]
    below = content.items() if isinstance(content, dict) else enumerate(content)
    return [above, *(place for key, value in below for place in places_in(value, (*above, key)))]


def with_value(content: Any, place: tuple[str | int, ...], value: Any) -> Any:
    """Return a copy of a JSON document with another value at a path."""
    if not place:
        return value
    key, *rest = place
    copied = dict(content) if isinstance(content, dict) else list(content)
    copied[key] = with_value(content[key], tuple(rest), value)
    return copied


def retold(whole: bytes, is_lines: bool) -> inputs.Case:
    """Change values of a file of JSON, or its bytes."""
    content = [json.loads(line) for line in whole.splitlines()] if is_lines else json.loads(whole)
    change = st.tuples(st.sampled_from(places_in(content)), inputs.VALUES)
    one = st.lists(change, min_size=0, max_size=2).map(
        lambda each: spelled(content, each, is_lines)
    )
    return one | damaged(whole)


def spelled(content: Any, changes: list[Any], is_lines: bool) -> bytes:
    """Write a changed document as JSON; lone surrogates as escapes."""
    for place, value in changes:
        try:
            content = with_value(content, place, value)
        except (KeyError, IndexError, TypeError):  # the other change has removed the place
            continue
    rows = content if is_lines and isinstance(content, list) else [content]
    return "\n".join(json.dumps(row, default=str) for row in rows).encode()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tiny_run(tmp_path_factory.mktemp("fuzz") / "run")
    (folder / "student/delivered.json").write_text(json.dumps(DELIVERED))
    page.page_of([folder])  # imports what it needs, unwatched
    return folder


@pytest.mark.parametrize("num_cases", NUM_CASES)
@pytest.mark.parametrize("name", READ)
def test_files_of_a_run(
    num_cases: int,
    name: str,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    record_property: Record,
) -> None:
    """Make the page for every case; of many, with charts for one in eight: they take long."""
    path = run / name
    whole = path.read_bytes()
    toml = damaged(whole) | inputs.recipes() | st.just(whole)
    cases = toml if name.endswith(".toml") else retold(whole, READ[name])
    draw = page.drawings

    def read(case: bytes) -> None:
        is_drawn = num_cases <= FEW or zlib.crc32(case) % ONE_DRAWN_IN == 0
        monkeypatch.setattr(page, "drawings", draw if is_drawn else no_drawings)
        page.page_of([run]).encode()

    try:
        hammer(cases, path.write_bytes, read, num_cases, record_property)
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("num_cases", NUM_CASES)
def test_predictions(num_cases: int, run: Path, tmp_path: Path, record_property: Record) -> None:
    path = tmp_path / "student.safetensors"
    whole = (run / "predictions/student.safetensors").read_bytes()
    cases = damaged(whole) | inputs.damaged_header(whole)

    def read(case: bytes) -> None:
        found = load_predictions(path, 120)
        assert all(len(found.correct(cell)) == len(found.index) for cell in found.cells)

    hammer(cases, path.write_bytes, read, num_cases, record_property)


def saved(array: np.ndarray) -> bytes:
    packed = io.BytesIO()
    np.save(packed, array, allow_pickle=False)
    return packed.getvalue()


def npy_headers() -> inputs.Case:
    """Return `.npy` files whose headers promise anything."""
    kinds = st.sampled_from(["|u1", "<i8", "|O", "<U9", "|V0", "<f4", ">u2", "x"]) | inputs.TEXTS
    shapes = st.lists(st.integers(-1, 2**62) | st.integers(0, 12), max_size=4).map(tuple)
    fields = st.fixed_dictionaries(
        {"descr": kinds, "fortran_order": st.booleans() | inputs.NUMBERS, "shape": shapes}
    )
    texts = fields.map(repr) | st.text(max_size=60)

    def packed(text: str) -> bytes:
        header = text.encode("utf-8", "surrogatepass") + b"\n"
        return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(500)

    return texts.filter(lambda text: len(text) < 9000).map(packed)


@pytest.mark.parametrize("num_cases", NUM_CASES)
@pytest.mark.filterwarnings("ignore")
def test_suites(num_cases: int, tmp_path: Path, record_property: Record) -> None:
    images = torch.arange(6 * 8 * 8, dtype=torch.uint8).reshape(2, 3, 8, 8)
    image_set = ImageSet(images, torch.tensor([0, 1]), ("a", "b"), torch.arange(2))
    array = np.tile(images.permute(0, 2, 3, 1).numpy(), (5, 1, 1, 1))
    manifest = {
        "ruggedize": "1",
        "data": "x",
        "images_sha256": "y",
        "num_images": 2,
        "classes": ["a", "b"],
        "suite": {"seed": "0"},
    }
    whole = {
        "labels.npy": saved(np.tile([0, 1], 5)),
        "contrast.npy": saved(array),
        "manifest.json": json.dumps(manifest).encode(),
    }
    stored = {
        "manifest.json": retold(whole["manifest.json"], False),
        "labels.npy": damaged(whole["labels.npy"]) | npy_headers(),
        "contrast.npy": damaged(whole["contrast.npy"]) | npy_headers(),
    }
    cases = st.one_of([st.tuples(st.just(name), case) for name, case in stored.items()])

    def lay(case: tuple[str, bytes]) -> None:
        for name, content in (whole | dict([case])).items():
            (tmp_path / name).write_bytes(content)

    lay(("labels.npy", whole["labels.npy"]))
    stored_suite(tmp_path, image_set)  # compiles kernels, unwatched

    def read(case: tuple[str, bytes]) -> None:
        suite = stored_suite(tmp_path, image_set)
        assert suite.images("contrast", 5, 0, 2).shape == (2, 3, 8, 8)

    hammer(cases, lay, read, num_cases, record_property)


@pytest.mark.parametrize("num_cases", NUM_CASES)
@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_tables(num_cases: int, suffix: str, tmp_path: Path, record_property: Record) -> None:
    path = tmp_path / f"table{suffix}"
    mark = "\t" if suffix == ".tsv" else ","
    rows = [["path", "label", "split"], ["a.png", "cat", "train"], ["b.png", "dog", "test"]]
    whole = "\n".join(map(mark.join, rows)).encode()
    cells = st.sampled_from(["path", "label", "split", "train", "cat", ""]) | inputs.TEXTS
    tables = st.lists(st.lists(cells, max_size=4), max_size=4)
    written = tables.map(
        lambda table: "\n".join(map(mark.join, table)).encode("utf-8", "surrogatepass")
    )

    def read(case: bytes) -> None:
        for classes in read_table(path, 0.2).values():
            for name, files in classes.items():
                assert name.isprintable()
                assert all(os.fsencode(file) for file in files)

    hammer(damaged(whole) | written, path.write_bytes, read, num_cases, record_property)
