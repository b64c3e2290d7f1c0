"""Data sets of Hugging Face's `datasets` library, from the Hub or from a local folder."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ruggedize.core.errors import UserError, shown
from ruggedize.core.progress import Progress
from ruggedize.core.reading import check_regular
from ruggedize.data.decode import BadImageError, Stored, decode
from ruggedize.data.digest import DataDigest, array_digest
from ruggedize.data.image_set import ImageSet, Splits
from ruggedize.data.layout import ALL_PARTS, TEST_SHARE, UNLABELLED
from ruggedize.data.location import PREFIX
from ruggedize.data.oddities import report_found
from ruggedize.data.options import DataOptions
from ruggedize.data.split import hold_out
from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.types import Images

AT_ONCE = 2_000  # images decoded before progress is reported


def load_huggingface(options: DataOptions, progress: Progress) -> Splits:
    """Load a data set with a column of images and a column of class labels.

    `hf:ORG/NAME` is a data set on the Hub, which `datasets` downloads once and caches; `hf:DIR` is
    a folder written by `save_to_disk` or a folder of parquet files.

    Raises:
        UserError: `datasets` is not installed, the data set cannot be loaded, or it has no images
            with class labels.
    """
    if options.image_size is None:
        raise UserError(
            f"image_size is required for {options.name}, whose images may have any size;\n"
            "set data.image_size = 64, for example"
        )
    found = opened(options.name.removeprefix(PREFIX))
    by_part = {p: found[name] for p in ALL_PARTS for name in found if name in ALL_PARTS[p]}
    if "train" not in by_part:
        raise UserError(
            f"{options.name} must have a split train, got {', '.join(found)};\n"
            "rename one of them to train"
        )
    image, label = columns_of(options.name, by_part["train"])
    classes = tuple(by_part["train"].features[label].names)
    stored = Stored(options.image_size, options.fit, options.max_megapixels)
    sets: dict[str, ImageSet] = {}
    for part, rows in by_part.items():
        images = decoded(rows, image, stored, progress)
        if part == UNLABELLED:
            labels = torch.full((len(images),), -1)
        else:
            labels = torch.tensor(rows[label][:], dtype=torch.int64)
        sets[part] = ImageSet(images, labels, classes, torch.arange(len(labels)), options.fit)
    train = sets["train"]
    if "test" not in sets:
        train, sets["test"] = hold_out(train, TEST_SHARE)
    if "validation" not in sets:
        train, sets["validation"] = hold_out(train, options.validation)
    if options.unlabelled is not None:
        raise UserError(
            f"data.unlabelled cannot be combined with {options.name};\n"
            "add a split named unlabelled to the data set"
        )
    digests = {
        part: array_digest(kept.labels.numpy(), kept.images[:].numpy())
        for part, kept in sets.items()
    }
    splits = Splits(
        train,
        sets["validation"],
        sets["test"],
        DataDigest(place=options.name, parts=digests),
        sets.get(UNLABELLED),
    )
    report_found(Path(options.name), splits)
    return splits


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
        if place.is_dir():
            files = sorted(map(os.fspath, place.rglob("*.parquet")))
            return datasets.load_dataset("parquet", data_files=by_split(place, files))
        return datasets.load_dataset(name)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).partition("\n")[0][:200]
        raise UserError(
            f"hf:{name} cannot be loaded: {reason};\ncheck the name or the folder"
        ) from None


def by_split(folder: Path, files: list[str]) -> dict[str, list[str]]:
    """Group parquet files by the split that their name begins with; the default is train."""
    if not files:
        raise UserError(f"{shown(folder)} contains no parquet files;\nchoose a folder that does")
    found: dict[str, list[str]] = {}
    for file in files:
        stem = Path(file).stem.lower()
        names = ((p, name) for p, spellings in ALL_PARTS.items() for name in spellings)
        part = next((p for p, name in names if stem.startswith(name)), "train")
        found.setdefault(part, []).append(file)
    return found


def columns_of(name: str, rows: Any) -> tuple[str, str]:
    """Return the names of the image column and the label column."""
    import datasets

    kinds = {column: type(feature) for column, feature in rows.features.items()}
    images = [column for column, kind in kinds.items() if kind is datasets.Image]
    labels = [column for column, kind in kinds.items() if kind is datasets.ClassLabel]
    if not images or not labels:
        described = ", ".join(f"{column} ({kind.__name__})" for column, kind in kinds.items())
        raise UserError(
            f"{name} must have a column of images and one of class labels, got {described};\n"
            "convert a column with cast_column(NAME, datasets.ClassLabel(names=[...])), and save "
            "the data set with save_to_disk"
        )
    return images[0], labels[0]


def decoded(rows: Any, column: str, stored: Stored, progress: Progress) -> Images:
    """Decode the images of a split in several threads."""
    import datasets

    encoded = rows.cast_column(column, datasets.Image(decode=False))
    images = np.zeros((len(rows), 3, stored.size, stored.size), np.uint8)

    def decode_some(sources: list[dict[str, Any]], first: int, start: int, stop: int) -> None:
        for place in range(start, stop):
            source = sources[place]
            data = source["bytes"] if source["bytes"] is not None else Path(source["path"])
            try:
                images[first + place] = decode(data, stored).numpy()
            except BadImageError as error:
                raise UserError(f"row {first + place}: {error}") from None

    for first in range(0, len(rows), AT_ONCE):
        sources = encoded[first : first + AT_ONCE][column]
        run_blocks(
            lambda start, stop, s=sources, f=first: decode_some(s, f, start, stop),
            len(sources),
            smallest=1,
        )
        progress("decode images", first + len(sources), len(rows))
    result: Tensor = torch.from_numpy(images)
    return result
