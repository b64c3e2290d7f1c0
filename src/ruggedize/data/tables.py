"""Tables of images (CSV or parquet): a path, a class and optionally a split in each row."""

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path

from ruggedize.core.errors import UserError, shown
from ruggedize.core.reading import open_regular
from ruggedize.data.file_list import FileList
from ruggedize.data.layout import ALL_PARTS, UNLABELLED, Files, class_name, composed, divided

SUFFIXES = (".csv", ".tsv", ".parquet")
COLUMNS = {  # usual names of each column, in lower case
    "path": ("path", "file", "filename", "file_name", "filepath", "image", "image_path"),
    "label": ("label", "class", "category", "target", "species"),
    "part": ("split", "part", "subset", "partition"),
}
Row = dict[str, str]
MAX_LINE = 1 << 17  # characters; as the csv module's limit for a cell
MAX_ROWS = 1 << 24  # of a parquet file; a small one may repeat a row any number of times


def is_table(path: Path) -> bool:
    """Return whether a path has the suffix of a table."""
    return path.suffix.lower() in SUFFIXES


def read_table(path: Path, validation: float | int) -> dict[str, Files]:
    """Return the files that a table lists, by split and class.

    Paths are relative to the table. If there is no column for the split, the hash of a file's bytes
    decides its split, as in a folder of class folders.

    Args:
        path: a `.csv`, `.tsv` or `.parquet` file with column names.
        validation: fraction of the training images to hold out if the table has no splits.

    Raises:
        UserError: a column is missing, a split has an unknown name, or no image is for training.
    """
    rows = list(rows_of(path))
    if not rows:
        raise UserError(f"{shown(path)} has no rows;\nadd rows with a path and a class")
    columns = columns_of(path, list(rows[0]))
    found: dict[str, dict[str, list[bytes]]] = {}
    for number, row in enumerate(rows, 2):
        file, label = row[columns["path"]], (row[columns["label"]] or "").strip()
        part = part_named(path, number, row[columns["part"]]) if "part" in columns else "all"
        if part == UNLABELLED:
            label = ""
        if not file or not (label or part == UNLABELLED) or "\0" in file:
            raise UserError(
                f"{shown(path)}: row {number} has no valid path or no class;\nfill them in"
            )
        place = os.fsencode(path.parent / file)
        found.setdefault(part, {}).setdefault(composed(class_name(label)), []).append(place)
    parts = {
        part: {label: FileList(sorted(files)) for label, files in sorted(classes.items())}
        for part, classes in found.items()
    }
    if "all" in parts:
        return divided(parts["all"], validation)
    if "train" not in parts:
        raise UserError(f"{shown(path)} has no row with the split train;\nadd some")
    return {part: parts[part] for part in ALL_PARTS if part in parts}


def rows_of(path: Path) -> Iterator[Row]:
    """Yield the rows of a table: text by column name.

    Raises:
        UserError: the file is damaged, or is not of the type that its suffix names.
    """
    read = parquet_rows if path.suffix.lower() == ".parquet" else text_rows
    try:
        yield from read(path)
    except (csv.Error, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the file cannot be read
            raise
        raise UserError(
            f"{shown(path)} is not a valid table ({shown(str(error))});\n"
            "save it as CSV in UTF-8, or as parquet"
        ) from None


def parquet_rows(path: Path) -> Iterator[Row]:
    """Yield the rows of a parquet file."""
    try:
        from pyarrow import parquet
    except ImportError:
        raise UserError(
            f"{shown(path)} needs the package pyarrow;\npip install 'ruggedize[hub]'"
        ) from None
    with open_regular(path) as file:
        table = parquet.ParquetFile(file)
        if table.metadata.num_rows > MAX_ROWS:
            raise ValueError(f"it has {table.metadata.num_rows:,} rows, more than {MAX_ROWS:,}")
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
        for row in csv.DictReader(lines_of(file), delimiter=delimiter):
            yield {name: value or "" for name, value in row.items() if name is not None}


def lines_of(file: io.TextIOBase) -> Iterator[str]:
    """Yield lines; raise ValueError for one so long that it is none of a table of paths."""
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise ValueError(f"a line has more than {MAX_LINE:,} characters")
        yield line


def columns_of(path: Path, names: list[str]) -> Row:
    """Return the names of the columns for the path, the class and, if there is one, the split."""
    found: Row = {}
    for meaning, spellings in COLUMNS.items():
        there = [name for name in names if name.strip().lower() in spellings]
        if there:
            found[meaning] = there[0]
        elif meaning != "part":
            raise UserError(
                f"{shown(path)} must have a column {meaning}, got "
                f"{', '.join(map(shown, names))};\n"
                f"rename one of them to {' or '.join(spellings[:3])}"
            )
    return found


def part_named(path: Path, number: int, name: str) -> str:
    """Return the split that a row belongs to."""
    for part, spellings in ALL_PARTS.items():
        if name.strip().lower() in spellings:
            return part
    raise UserError(
        f"{shown(path)}: the split in row {number} must be one of {', '.join(ALL_PARTS)}, got "
        f"{shown(name)!r};\nchange it to one of them"
    )
