"""Images that a table names, and data sets of Hugging Face's library."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ruggedize.core.errors import UserError
from ruggedize.data import data_digest, load_data
from ruggedize.data.layout import by_split
from ruggedize.data.load import DataOptions
from tests.unit.test_data_layout import COLOURS, fill, picture

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


def test_pictures_in_training_and_test_are_named_for_a_table_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = rows_for(tmp_path, 8, with_parts=True)
    copy = tmp_path / "pictures/cat/copy.png"
    copy.write_bytes((tmp_path / "pictures/cat/000.png").read_bytes())
    load_data(table(tmp_path / "a.csv", rows), image_size=9)
    assert "also training images" not in caplog.text
    rows.append(("pictures/cat/copy.png", "cat", "test"))
    load_data(table(tmp_path / "b.csv", rows), image_size=9)
    assert "some test images are also training images (1): pictures/cat/copy.png" in caplog.text


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


def saved_data_set(folder: Path, *, with_labels: bool = True, first: int = 0) -> None:
    datasets = pytest.importorskip("datasets")
    fill(folder / "pictures", 6)
    picture(folder / "pictures/cat/000.png", COLOURS["cat"], first)
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


def test_parquet_files_belong_to_the_split_of_their_folder_or_first_word() -> None:
    root = Path("train")
    places = {
        "default/train/0000.parquet": "train",
        "default/test/0000.parquet": "test",
        "validation-00000-of-00002.parquet": "validation",
        "valley-0.parquet": "train",
        "Testimonials.parquet": "train",
        "test0.parquet": "test",
    }
    found = by_split([str(root / place) for place in places], root)
    assert {file: part for part, files in found.items() for file in files} == {
        str(root / place): part for place, part in places.items()
    }


def test_spaces_around_a_class_are_not_part_of_it(tmp_path: Path) -> None:
    rows = rows_for(tmp_path, 4, with_parts=True)
    rows[1] = (rows[1][0], f" {rows[1][1]} ", *rows[1][2:])
    splits = load_data(str(table(tmp_path / "rows.csv", rows)), image_size=9)
    assert splits.train.classes == tuple(sorted(COLOURS))


def test_a_folder_without_parquet_files_is_rejected(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(UserError, match="no parquet files and no images"):
        load_data(f"hf:{tmp_path}", image_size=9)


def test_images_of_hugging_faces_library_may_be_streamed(tmp_path: Path) -> None:
    saved_data_set(tmp_path)
    name = f"hf:{tmp_path / 'saved'}"
    kept = load_data(name, image_size=9, validation=2)
    for workers in (0, 2):
        read = load_data(name, image_size=9, validation=2, streaming=True, workers=workers)
        assert read.train.is_streamed
        assert not kept.train.is_streamed
        batches = [np.array([0, 2]), np.array([3])]
        found = torch.cat([batch.images for batch in read.train.batches(batches)])
        assert torch.equal(found, kept.train.images[torch.tensor([0, 2, 3])])
        assert torch.equal(read.test.labels, kept.test.labels)
        assert read.digest == kept.digest


@pytest.mark.parametrize("streaming", [False, True])
def test_an_unlabelled_split_is_joined_with_the_images_whose_labels_are_put_aside(
    tmp_path: Path, streaming: bool
) -> None:
    datasets = pytest.importorskip("datasets")
    saved_data_set(tmp_path)
    kept = datasets.load_from_disk(tmp_path / "saved")
    kept["unlabelled"] = kept["test"].remove_columns("kind")
    kept.save_to_disk(tmp_path / "more")
    more: dict[str, Any] = {"streaming": True, "workers": 0} if streaming else {}
    splits = load_data(f"hf:{tmp_path / 'more'}", image_size=9, validation=2, num_labels=2, **more)
    found = splits.unlabelled
    assert found is not None
    assert (len(splits.train), len(found)) == (2, 2 + 6)
    colours = torch.tensor(list(COLOURS.values()), dtype=torch.uint8)
    hidden = found.hidden_labels
    assert hidden is not None
    known = torch.cat([hidden[:2], splits.test.labels])
    order = np.array([7, 0, 3])
    (batch,) = found.batches([order])
    assert torch.equal(batch.images[:, :, 4, 4], colours[known[order]])
    chosen = found.select(order)
    assert chosen.originals is not None
    assert len(chosen.originals.files) == 3
    assert chosen.originals.files[0] != chosen.originals.files[1]


def test_the_digest_of_a_data_set_tells_when_an_image_has_changed(tmp_path: Path) -> None:
    saved_data_set(tmp_path / "a")
    saved_data_set(tmp_path / "b")
    saved_data_set(tmp_path / "c", first=77)
    same, moved, other = (
        data_digest(DataOptions(name=f"hf:{tmp_path / name / 'saved'}", image_size=9))
        for name in "abc"
    )
    assert same
    assert moved
    assert other
    assert same.changes(moved) == []
    assert same.changes(other) == ["train: file names, file sizes or pixels have changed"]
    assert load_data(f"hf:{tmp_path / 'a/saved'}", image_size=9, validation=2).digest == same
    assert data_digest(DataOptions(name=f"hf:{tmp_path / 'none'}", image_size=9)) is None


def test_bad_images_of_a_data_set_are_named_by_row_and_may_be_skipped(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    saved_data_set(tmp_path)
    kept = datasets.load_from_disk(tmp_path / "saved")
    rows = kept["train"].cast_column("photo", datasets.Image(decode=False))[:]
    rows["photo"][3] = {"bytes": b"", "path": None}
    rows["photo"][4] = None
    rows["kind"][0] = None
    kept["train"] = datasets.Dataset.from_dict(rows, features=kept["train"].features)
    kept.save_to_disk(tmp_path / "damaged")
    name = f"hf:{tmp_path / 'damaged'}"
    for streaming in (False, True):
        with pytest.raises(
            UserError, match=r"2 images cannot be decoded:\n  row 3 of train: .*0 by"
        ):
            load_data(name, image_size=9, validation=2, streaming=streaming)
        splits = load_data(
            name, image_size=9, validation=1, streaming=streaming, skip_bad_images=True
        )
        assert [len(part) for part in splits] == [2, 1, 6]
        assert splits.left_out == ("row 3 of train", "row 4 of train")


@pytest.mark.parametrize("layout", ["one split", "texts", "one file", "images"])
def test_other_forms_of_a_data_set_are_read(layout: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    saved_data_set(tmp_path)
    train, place = datasets.load_from_disk(tmp_path / "saved")["train"], tmp_path / "other"
    if layout == "one split":
        train.save_to_disk(place)
    elif layout == "one file":
        place = tmp_path / "photos.parquet"
        train.to_parquet(place)
        with pytest.raises(UserError, match=rf"set data.name = 'hf:{place}'"):
            load_data(place, image_size=9)
    elif layout == "images":
        fill(place / "train", 3)
    else:
        texts = [list(COLOURS)[number] for number in train["kind"]]
        train.remove_columns("kind").add_column("label", texts).save_to_disk(place)
    splits = load_data(f"hf:{place}", image_size=9, validation=2)
    assert [len(part) for part in splits] == [3, 2, 1]
    assert splits.train.classes == tuple(COLOURS)
    colours = torch.tensor(list(COLOURS.values()), dtype=torch.uint8)
    assert torch.equal(splits.test.images[:, :, 4, 4], colours[splits.test.labels])


def test_a_split_without_labels_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    datasets = pytest.importorskip("datasets")
    saved_data_set(tmp_path)
    kept = datasets.load_from_disk(tmp_path / "saved")
    kept["test"] = kept["test"].map(lambda row: row | {"kind": -1}, features=kept["test"].features)
    kept.save_to_disk(tmp_path / "hidden")
    splits = load_data(f"hf:{tmp_path / 'hidden'}", image_size=9, validation=2)
    assert [len(part) for part in splits] == [3, 2, 1]
    assert "6 rows of test have no known class" in caplog.text
