"""Images named in a table, CSV or parquet: a path, a class and perhaps a part in each row."""

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path

from ruggedize.core.errors import UserError, shown
from ruggedize.core.reading import open_regular
from ruggedize.data.file_list import FileList
from ruggedize.data.layout import PARTS, Files, class_name, composed, divided

SUFFIXES = (".csv", ".tsv", ".parquet")
COLUMNS = {  # what people call them, in small letters
    "path": ("path", "file", "filename", "file_name", "filepath", "image", "image_path"),
    "label": ("label", "class", "category", "target", "species"),
    "part": ("split", "part", "subset", "partition"),
}
Row = dict[str, str]


def is_table(path: Path) -> bool:
    """Return whether a path is that of a table of images."""
    return path.suffix.lower() in SUFFIXES


def read_table(path: Path, validation: float | int) -> dict[str, Files]:
    """Return the files that a table names, by part and class.

    Paths are relative to the table. Without a column for the part every file belongs to the part
    that the hash of its bytes names, as in a folder of class folders.

    Args:
        path: a `.csv`, `.tsv` or `.parquet` file whose first row names the columns.
        validation: the share that is held out where the table has no parts.

    Raises:
        UserError: a column is missing, a part has another name, or nothing is for training.
    """
    rows = list(rows_of(path))
    if not rows:
        raise UserError(f"{shown(path)} has no rows;\ngive a path and a class in each")
    columns = columns_of(path, list(rows[0]))
    found: dict[str, dict[str, list[bytes]]] = {}
    for number, row in enumerate(rows, 2):
        file, label = row[columns["path"]], row[columns["label"]]
        if not file or not label or "\0" in file:
            raise UserError(f"{shown(path)}: row {number} has no path or no class;\nfill it in")
        part = part_named(path, number, row[columns["part"]]) if "part" in columns else "all"
        place = os.fsencode(path.parent / file)
        found.setdefault(part, {}).setdefault(composed(class_name(label)), []).append(place)
    parts = {
        part: {label: FileList(sorted(files)) for label, files in sorted(classes.items())}
        for part, classes in found.items()
    }
    if "all" in parts:
        return divided(parts["all"], validation)
    if "train" not in parts:
        raise UserError(f"{shown(path)} has no row with the part train;\nadd some")
    return {part: parts[part] for part in PARTS if part in parts}


def rows_of(path: Path) -> Iterator[Row]:
    """Yield the rows of a table as texts by column.

    Raises:
        UserError: the file is damaged, or not of the kind that its name says.
    """
    read = parquet_rows if path.suffix.lower() == ".parquet" else text_rows
    try:
        yield from read(path)
    except (csv.Error, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the file cannot be read
            raise
        raise UserError(
            f"{shown(path)} is not a table ({shown(str(error))});\n"
            "save it as CSV in UTF-8, or as parquet"
        ) from None


def parquet_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a parquet file."""
    try:
        from pyarrow import parquet
    except ImportError:
        raise UserError(
            f"{shown(path)} is read with pyarrow;\npip install 'ruggedize[hub]'"
        ) from None
    with open_regular(path) as file:
        table = parquet.ParquetFile(file)
        if any("bytes" in str(field.type) for field in table.schema_arrow):  # in a struct
            raise UserError(
                f"{shown(path)} holds the images themselves;\n"
                f"set data.name = {f'hf:{path}'!r}, which needs pip install 'ruggedize[hub]'"
            )
        for batch in table.iter_batches():
            for row in batch.to_pylist():
                yield {name: "" if value is None else str(value) for name, value in row.items()}


def text_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a file of comma- or tab-separated values."""
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    with io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file, delimiter=delimiter):
            yield {name: value or "" for name, value in row.items() if name is not None}


def columns_of(path: Path, names: list[str]) -> Row:
    """Return the names of the columns of paths, classes and, if there is one, parts."""
    found: Row = {}
    for meaning, spellings in COLUMNS.items():
        there = [name for name in names if name.strip().lower() in spellings]
        if there:
            found[meaning] = there[0]
        elif meaning != "part":
            raise UserError(
                f"{shown(path)} has no column {meaning}; it has {', '.join(map(shown, names))};\n"
                f"name one of them {' or '.join(spellings[:3])}"
            )
    return found


def part_named(path: Path, number: int, name: str) -> str:
    """Return the part that a row belongs to."""
    for part, spellings in PARTS.items():
        if name.strip().lower() in spellings:
            return part
    raise UserError(
        f"{shown(path)}: row {number} has the part {shown(name)!r};\n"
        f"write one of {', '.join(PARTS)}"
    )
