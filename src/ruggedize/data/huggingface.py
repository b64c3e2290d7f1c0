"""Data sets of Hugging Face's `datasets` library, from the Hub or from a local folder."""

import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int64

from ruggedize.core.errors import UserError, shown
from ruggedize.core.progress import Progress
from ruggedize.core.reading import check_regular
from ruggedize.data.bad_files import reject_or_skip_faults
from ruggedize.data.decode import BadImageError, Stored, decode
from ruggedize.data.digest import DataDigest, PartDigest, new_hash, size_of
from ruggedize.data.folder import must_stream, read_images
from ruggedize.data.image_set import ImageSet, Splits
from ruggedize.data.layout import ALL_PARTS, TEST_SHARE, UNLABELLED, by_split
from ruggedize.data.listing import ENDINGS, visible_files
from ruggedize.data.location import PREFIX
from ruggedize.data.oddities import report_found
from ruggedize.data.options import DataOptions
from ruggedize.data.originals import Originals
from ruggedize.data.split import hold_out
from ruggedize.data.tables import COLUMNS

AT_ONCE = 500  # rows that are read at once for a digest
log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Rows:
    """The encoded images of a data set, which stay in its files until they are accessed."""

    rows: Any  # a datasets.Dataset whose images are not decoded
    column: str
    numbers: Int64[np.ndarray, " n"]  # of the rows

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, number: int | np.integer) -> Path | bytes:
        source: dict[str, Any] | None = self.rows[int(self.numbers[number])][self.column]
        if source is None:
            return b""
        return Path(source["path"]) if source["bytes"] is None else source["bytes"]

    def select(self, numbers: Int64[np.ndarray, " n"]) -> "Rows":
        """Return the images at these indices, in this order."""
        return replace(self, numbers=self.numbers[numbers])


class Part(NamedTuple):
    """The labelled images of a split, not decoded."""

    images: Rows
    labels: Int64[np.ndarray, " n"]


class Found(NamedTuple):
    """The splits of a data set by the part that they are for, and its classes."""

    parts: dict[str, Part]
    classes: tuple[str, ...]


def load_huggingface(options: DataOptions, progress: Progress) -> Splits:
    """Load a data set with a column of images and a column of classes.

    `hf:ORG/NAME` is a data set of the Hub, which `datasets` downloads once and caches; `hf:PATH`
    is a folder written by `save_to_disk`, a folder of parquet files or of images, or one such file.

    Raises:
        UserError: `datasets` is not installed, the data set cannot be loaded, it has no images
            with classes, or some of them cannot be decoded.
    """
    if options.image_size is None:
        raise UserError(
            f"image_size is required for {options.name}, whose images may have any size;\n"
            "set data.image_size = 64, for example"
        )
    found = find_rows(options.name)
    sets = read_parts(found, options, progress)
    train = sets["train"]
    if "test" not in sets:
        log.warning("%s has no test images: a fifth of train is held out for it", options.name)
        train, sets["test"] = hold_out(train, TEST_SHARE)
    if "validation" not in sets:
        train, sets["validation"] = hold_out(train, options.validation, options.validation_choice)
    digest, unlabelled = digest_of(options.name, found), sets.get(UNLABELLED)
    splits = Splits(train, sets["validation"], sets["test"], digest, unlabelled)
    report_found(Path(options.name), splits)
    return splits


def huggingface_digest(name: str) -> DataDigest | None:
    """Return the digest of a data set, or None if it cannot be found; decodes nothing."""
    place = Path(name.removeprefix(PREFIX))
    try:
        return digest_of(name, find_rows(name))
    except UserError:
        if place.exists():
            raise
        return None


def read_parts(found: Found, options: DataOptions, progress: Progress) -> dict[str, ImageSet]:
    """Read the images of every part; bad ones of all parts are reported together."""
    stored = Stored(options.image_size or 0, options.fit, options.max_megapixels)
    streamed = must_stream(options, sum(len(part.labels) for part in found.parts.values()))
    sets: dict[str, ImageSet] = {}
    faults: list[Callable[[], str]] = []
    for name, (rows, labels) in found.parts.items():
        images, is_bad = read_images(rows, stored, options, streamed, progress)
        part = ImageSet(
            images,
            torch.from_numpy(labels),
            found.classes,
            torch.arange(len(labels)),
            options.fit,
            originals=Originals(rows, stored),
        )
        bad = np.flatnonzero(is_bad)
        faults += [partial(fault_of, rows, number, name, stored) for number in bad.tolist()]
        skipped = tuple(named_row(rows, number, name) for number in bad.tolist())
        good = part.select(np.flatnonzero(~is_bad)) if len(bad) else part
        sets[name] = replace(good, left_out=skipped)
    reject_or_skip_faults(faults, options.skip_bad_images, "image")
    return sets


def named_row(rows: Rows, number: int, part: str) -> str:
    """Return the name of a row for people."""
    return f"row {rows.numbers[number]} of {part}"


def fault_of(rows: Rows, number: int, part: str, stored: Stored) -> str:
    """Return why the image of a row cannot be decoded."""
    try:
        decode(rows[number], stored)
    except BadImageError as error:
        return f"{named_row(rows, number, part)}: {error}".replace("\n", " ")
    return f"{named_row(rows, number, part)} could not be decoded when the data was loaded"


def find_rows(name: str) -> Found:
    """Return the images and labels of a data set by part; decodes nothing."""
    splits = opened(name.removeprefix(PREFIX))
    import datasets  # `opened` names the extra to install

    by_part = {p: splits[key] for p in ALL_PARTS for key in splits if key in ALL_PARTS[p]}
    if "train" not in by_part:
        raise UserError(
            f"{name} must have a split train, got {', '.join(splits)};\nrename one of them to train"
        )
    image, label = columns_of(name, by_part["train"])
    feature = by_part["train"].features[label]
    texts: dict[str, list[Any]] = {
        part: rows[label][:] if label in rows.column_names else [None] * len(rows)
        for part, rows in by_part.items()
    }
    if isinstance(feature, datasets.ClassLabel):
        classes, numbers = tuple(feature.names), {n: n for n in range(len(feature.names))}
    else:
        classes = tuple(sorted({str(text) for text in texts["train"] if text is not None}))
        numbers = {text: number for number, text in enumerate(classes)}
    parts: dict[str, Part] = {}
    for part, rows in by_part.items():
        known = {} if part == UNLABELLED else numbers
        labels = np.array([known.get(text, -1) for text in texts[part]], np.int64)
        chosen = np.flatnonzero((labels >= 0) | (part == UNLABELLED))
        if unknown := len(labels) - len(chosen):
            log.warning("%s: %d rows of %s have no known class", name, unknown, part)
        if len(chosen):
            encoded = rows.cast_column(image, datasets.Image(decode=False))
            parts[part] = Part(Rows(encoded, image, chosen), labels[chosen])
    if "train" not in parts or len(classes) < 2:
        raise UserError(
            f"{name} has {len(classes)} classes, and a classifier needs two;\n"
            f"see the column {label}"
        )
    return Found(parts, classes)


def digest_of(name: str, found: Found) -> DataDigest:
    """Return the digest of the encoded images of all parts."""
    parts = {part: rows_digest(found.classes, *rows) for part, rows in found.parts.items()}
    return DataDigest(place=name, parts=parts)


def rows_digest(
    classes: tuple[str, ...], images: Rows, labels: Int64[np.ndarray, " n"]
) -> PartDigest:
    """Return the digest of the encoded images of one part."""
    labels_hash, content = new_hash(), new_hash()
    labels_hash.update("\0".join(classes).encode() + b"\0\0")
    labels_hash.update(np.ascontiguousarray(labels).data)
    for source in encoded_images(images):
        content.update(f"{len(source)}\0".encode())
        content.update(source)
    return PartDigest(
        images=len(labels), labels=labels_hash.hexdigest(), content=content.hexdigest()
    )


def encoded_images(images: Rows) -> Iterator[bytes]:
    """Yield the bytes of every image; of an image in a file its name and size."""
    for start in range(0, len(images), AT_ONCE):
        for source in images.rows[images.numbers[start : start + AT_ONCE]][images.column]:
            if source is None:
                yield b""
            elif source["bytes"] is None:
                path = Path(source["path"])
                yield os.fsencode(path.name) + f"\0{size_of(path)}".encode()
            else:
                yield source["bytes"]


def opened(name: str) -> Any:
    """Open a data set and return its splits by name."""
    try:
        import datasets
    except ImportError:
        raise UserError(
            f"hf:{name} needs the package datasets;\npip install 'ruggedize[hub]'"
        ) from None
    place = Path(name)
    try:
        for file in place.rglob("*") if place.is_dir() else ():
            if not file.is_dir():
                check_regular(file)
        if (place / "dataset_dict.json").is_file():
            return datasets.load_from_disk(os.fspath(place))
        if (place / "state.json").is_file():  # a saved Dataset, which has no splits
            return {"train": datasets.load_from_disk(os.fspath(place))}
        if place.is_file():
            files = {"train": os.fspath(place.absolute())}
            return datasets.load_dataset("parquet", data_files=files)
        if place.is_dir():
            return opened_folder(place)
        return datasets.load_dataset(name)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise UserError(
            f"hf:{name} cannot be loaded: {reason};\ncheck the name or the folder"
        ) from None


def opened_folder(folder: Path) -> Any:
    """Return the splits of a folder of parquet files or of images."""
    import datasets

    files = sorted(map(os.fspath, folder.absolute().rglob("*.parquet")))
    if files:
        return datasets.load_dataset("parquet", data_files=by_split(files, folder.absolute()))
    if any(file.lower().endswith(ENDINGS) for file in visible_files(folder)):
        return datasets.load_dataset("imagefolder", data_dir=os.fspath(folder.absolute()))
    raise UserError(
        f"{shown(folder)} contains no parquet files and no images;\nchoose a folder that does"
    )


def columns_of(name: str, rows: Any) -> tuple[str, str]:
    """Return the names of the columns of images and of classes.

    Classes are of the type `ClassLabel`, or texts in a column with a usual name.
    """
    import datasets

    kinds = {column: type(feature) for column, feature in rows.features.items()}
    images = [column for column, kind in kinds.items() if kind is datasets.Image]
    labels = [column for column, kind in kinds.items() if kind is datasets.ClassLabel]
    if not labels:
        usual = [column for column in kinds if column.lower() in COLUMNS["label"]]
        labels = [c for c in usual if getattr(rows.features[c], "dtype", "") == "string"]
    if not images or not labels:
        described = ", ".join(f"{column} ({kind.__name__})" for column, kind in kinds.items())
        raise UserError(
            f"{name} must have a column of images and one of class labels, got {described};\n"
            "convert a column with cast_column(NAME, datasets.ClassLabel(names=[...])), and save "
            "the data set with save_to_disk"
        )
    for what, found in (("images", images), ("classes", labels)):
        if len(found) > 1:
            others = ", ".join(found[1:])
            log.warning("%s: the %s are those of %s, not of %s", name, what, found[0], others)
    return images[0], labels[0]
