"""Images that a table names, and data sets of Hugging Face's library."""

import csv
from pathlib import Path

import pytest
import torch
from PIL import Image

from ruggedize.core.errors import UserError
from ruggedize.data import data_digest, load_data
from ruggedize.data.load import DataOptions
from tests.unit.test_data_layout import COLOURS, fill

Rows = list[tuple[str, ...]]


def table(path: Path, rows: Rows) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t" if path.suffix == ".tsv" else ",").writerows(rows)
    return path


def rows_for(folder: Path, number: int, *, with_parts: bool) -> Rows:
    fill(folder / "pictures", number)
    header = ("filename", "Label", *(["split"] if with_parts else []))
    rows = [
        (f"pictures/{label}/{n:03}.png", label, *([part_for(n)] if with_parts else []))
        for label in COLOURS
        for n in range(number)
    ]
    return [header, *rows]


def part_for(number: int) -> str:
    return ("train", "train", "val", "test")[number % 4]


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_table_names_images_classes_and_parts(suffix: str, tmp_path: Path) -> None:
    place = table(tmp_path / f"photos{suffix}", rows_for(tmp_path, 8, with_parts=True))
    splits = load_data(place, image_size=9)
    assert [len(part) for part in splits] == [8, 4, 4]
    assert splits.train.classes == ("cat", "dog")
    colours = torch.tensor(list(COLOURS.values()), dtype=torch.uint8)
    for part in splits:
        assert torch.equal(part.images[:, :, 4, 4], colours[part.labels])
    options = DataOptions(name=str(place), image_size=9)
    assert splits.digest == data_digest(options)
    (tmp_path / "pictures/cat/000.png").write_bytes(
        (tmp_path / "pictures/dog/001.png").read_bytes() + b"x"
    )
    assert splits.digest != data_digest(options)


def test_a_table_without_parts_is_divided_by_content(tmp_path: Path) -> None:
    place = table(tmp_path / "photos.csv", rows_for(tmp_path, 80, with_parts=False))
    splits = load_data(place, image_size=9)
    assert sum(len(part) for part in splits) == 160
    assert all(len(part) for part in splits)


def test_parquet_is_read_like_csv(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    header, *rows = rows_for(tmp_path, 8, with_parts=True)
    columns = dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))
    parquet.write_table(pyarrow.table(columns), tmp_path / "photos.parquet")
    written = table(tmp_path / "photos.csv", [header, *rows])
    ours, theirs = (load_data(p, image_size=9) for p in (tmp_path / "photos.parquet", written))
    assert torch.equal(ours.train.images, theirs.train.images)
    assert torch.equal(ours.test.labels, theirs.test.labels)


FAULTS: dict[str, tuple[Rows, str]] = {
    "no rows": ([("path", "label")], r"has no rows;\n"),
    "no label": (
        [("path", "colour"), ("a.png", "x")],
        r"a column label, got path, colour;\n",
    ),
    "an empty cell": (
        [("path", "label"), ("a.png", "")],
        r"row 2 .* no class;\n",
    ),
    "an unknown part": (
        [("path", "label", "split"), ("a.png", "x", "extra")],
        r"split in row 2 must be .* got 'extra';\n",
    ),
    "nothing to train on": (
        [("path", "label", "split"), ("a.png", "x", "test")],
        r"no row with the split train;\n",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_of_a_table_is_named_with_its_row(case: str, tmp_path: Path) -> None:
    rows, message = FAULTS[case]
    with pytest.raises(UserError, match=message):
        load_data(table(tmp_path / "photos.csv", rows), image_size=9)


def saved_data_set(folder: Path, *, with_labels: bool = True) -> None:
    datasets = pytest.importorskip("datasets")
    fill(folder / "pictures", 6)
    files = [str(folder / f"pictures/{label}/{n:03}.png") for label in COLOURS for n in range(6)]
    labels = [number for number in range(len(COLOURS)) for _ in range(6)]
    kind = datasets.ClassLabel(names=list(COLOURS)) if with_labels else datasets.Value("int64")
    features = datasets.Features({"photo": datasets.Image(), "kind": kind})
    rows = datasets.Dataset.from_dict({"photo": files, "kind": labels}, features=features)
    parts = {"train": rows.select(range(0, 12, 2)), "test": rows.select(range(1, 12, 2))}
    datasets.DatasetDict(parts).save_to_disk(folder / "saved")


def test_a_data_set_of_hugging_faces_library_is_read_from_disk(tmp_path: Path) -> None:
    saved_data_set(tmp_path)
    splits = load_data(f"hf:{tmp_path / 'saved'}", image_size=9, validation=2)
    assert [len(part) for part in splits] == [4, 2, 6]
    assert splits.train.classes == tuple(COLOURS)
    colours = torch.tensor(list(COLOURS.values()), dtype=torch.uint8)
    assert torch.equal(splits.test.images[:, :, 4, 4], colours[splits.test.labels])


def test_a_data_set_without_class_labels_says_what_it_has(tmp_path: Path) -> None:
    saved_data_set(tmp_path, with_labels=False)
    with pytest.raises(UserError, match=r"got photo \(Image\), kind \(Value\);\n.*cast_column"):
        load_data(f"hf:{tmp_path / 'saved'}", image_size=9)


def test_parquet_files_with_images_inside_are_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    saved_data_set(tmp_path)
    for part, rows in datasets.load_from_disk(tmp_path / "saved").items():
        rows.to_parquet(tmp_path / "tables" / f"{part}-00000.parquet")
    splits = load_data(f"hf:{tmp_path / 'tables'}", image_size=9, validation=2)
    assert [len(part) for part in splits] == [4, 2, 6]


def test_a_folder_without_parquet_files_is_rejected(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    Image.new("RGB", (3, 3)).save(tmp_path / "x.png")
    with pytest.raises(UserError, match="no parquet files"):
        load_data(f"hf:{tmp_path}", image_size=9)
