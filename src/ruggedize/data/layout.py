"""Folder layouts: which image files belong to which split and class."""

import hashlib
import logging
import os
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ruggedize.core.errors import UserError, shown
from ruggedize.core.reading import open_regular, reject_holes
from ruggedize.data.file_list import FileList
from ruggedize.data.listing import ENDINGS, image_names, is_junk, leads_back

PARTS = {  # usual names of each split, in lower case
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test", "testing"),
}
UNLABELLED = "unlabelled"
ALL_PARTS = PARTS | {UNLABELLED: ("unlabelled", "unlabeled")}
TEST_SHARE = 0.2  # fraction of the images held out for testing if there is no test split
Files = dict[str, FileList]  # files by class
log = logging.getLogger(__name__)


class Found(NamedTuple):
    """The image files of a folder by split and class, and whether the folder itself has splits."""

    parts: dict[str, Files]
    has_parts: bool


def find_images(path: Path, validation: float | int) -> Found:
    """Return the image files of a folder by split and class; there is always a split `train`.

    A folder with `train/CLASS/*` may also have `validation/` (or `val/`, `valid/`), `test/` and
    `unlabelled/`, whose images are at any depth and get the class "". In a folder with only
    `CLASS/*`, the hash of a file's bytes decides its split, so that adding files does not move the
    others.

    Args:
        path: the folder.
        validation: fraction of the training images to hold out in a folder with only `CLASS/*`.

    Raises:
        UserError: the folder has no classes, or two folders for the same split.
    """
    root = stepped_into(path)
    folders = part_folders(root)
    if "train" in folders:
        warn_of_others(root, folders)
        parts = {
            part: list_classes(stepped_into(folder), may_be_empty=part != "train")
            if part in PARTS
            else without_classes(folder)
            for part, folder in folders.items()
        }
        return Found(with_spelling_of_train(parts), has_parts=True)
    reject_without_train(root, folders)
    return Found(divided(list_classes(root), validation), has_parts=False)


def reject_without_train(root: Path, folders: Mapping[str, Path]) -> None:
    """Raise UserError if a folder has splits, but none to train on."""
    if folders and "train" not in folders:
        raise UserError(f"{shown(root)} has no folder train;\nput images in train/CLASS/")


def is_plain_folder(path: Path) -> bool:
    """Return whether a folder has images but no subfolders, and therefore no classes."""
    names = [os.fsencode(place.name).lower() for place in path.iterdir()]
    return not visible_folders(path) and any(name.endswith(ENDINGS) for name in names)


def stepped_into(folder: Path) -> Path:
    """Return the folder, or its only subfolder if an archive has added a level.

    Examples are `photos/photos/train` and `train/train/CLASS`: the only subfolder has the same name
    as its parent, or has splits of its own.
    """
    inside = visible_folders(folder)
    if len(inside) != 1:
        return folder
    (only,) = inside
    if only.name != folder.name and "train" not in part_folders(only):
        return folder
    if not visible_folders(only):
        return folder  # a class with the same name as its split
    log.warning(
        "%s contains a single folder; its images are read from %s", shown(folder), shown(only)
    )
    return only


def visible_folders(folder: Path) -> list[Path]:
    """Return the sorted subfolders of a folder, except hidden ones and those left by systems."""
    return sorted(
        place
        for place in folder.iterdir()
        if not is_junk(os.fsencode(place.name)) and place.is_dir() and not is_loop(place)
    )


def is_loop(place: Path) -> bool:
    """Return whether a path is a link to a folder that contains it."""
    return place.is_symlink() and leads_back(os.fsencode(place), os.fsencode(place.parent))


def part_folders(root: Path) -> dict[str, Path]:
    """Return the subfolders that are named after splits, by split."""
    found: dict[str, Path] = {}
    for folder in visible_folders(root):
        for part, names in ALL_PARTS.items():
            if folder.name.lower() not in names:
                continue
            if part in found:
                raise UserError(
                    f"{shown(root)} has two folders for {part}: {shown(found[part].name)} and "
                    f"{shown(folder.name)};\nmove the images into one of them"
                )
            if part != "train" and not any(folder.iterdir()):
                log.warning("%s is empty and is ignored", shown(folder))
                continue
            found[part] = folder
    return {part: found[part] for part in ALL_PARTS if part in found}


def without_classes(folder: Path) -> Files:
    """Return all image files below a folder, as those of the class ""."""
    return {"": files_below(folder)}


def warn_of_others(root: Path, folders: Mapping[str, Path]) -> None:
    """Log a warning about folders and images next to the splits, which are not read."""
    others = [place for place in visible_folders(root) if place not in folders.values()]
    if others:
        names = ", ".join(shown(place.name) for place in others[:8])
        log.warning("%s: folders next to train are not read: %s", shown(root), names)
    warn_of_loose_images(root)


def warn_of_loose_images(folder: Path) -> None:
    """Warn of images beside class folders, and of links to folders above: neither is read."""
    for loop in filter(is_loop, sorted(folder.iterdir())):
        log.warning("%s links to a folder that it lies in; it is skipped", shown(loop))
    names = [os.fsencode(place.name) for place in folder.iterdir() if place.is_file()]
    loose = [name for name in names if name.lower().endswith(ENDINGS) and name[:1] != b"."]
    if loose:
        log.warning("%s: images next to the folders are not read (%d)", shown(folder), len(loose))


def list_classes(part: Path, *, may_be_empty: bool = False) -> Files:
    """Return the files of every class folder by class name.

    Folders whose names differ only in their Unicode normal form are the same class. A folder
    without images is an error unless it may be empty.
    """
    folders = visible_folders(part)
    if not folders:
        raise UserError(
            f"{shown(part)} has no class folders;\n"
            f"put images in {shown(part.name)}/CLASS/, one folder per class"
        )
    warn_of_loose_images(part)
    found: dict[str, list[tuple[str, FileList]]] = {}
    for folder in folders:
        note_if_outside(folder, part)
        name = class_name(folder.name)
        if files := files_below(folder, may_be_empty=may_be_empty):
            found.setdefault(composed(name), []).append((name, files))
        else:
            log.warning("%s contains no images", shown(folder))
    if not found:
        raise UserError(f"no folder of {shown(part)} contains images;\nadd some to each")
    return {
        same[0][0]: same[0][1] if len(same) == 1 else FileList.joined(files for _, files in same)
        for same in found.values()
    }


def class_name(name: str) -> str:
    """Return the printable name of a class; different names stay different.

    Backslashes are doubled, so that a line break and a literal `\\n` remain two names.
    """
    return shown(name.replace("\\", "\\\\"))


def note_if_outside(folder: Path, part: Path) -> None:
    """Log a warning if a class folder is a link that leads out of the data set."""
    if folder.is_symlink() and not folder.resolve().is_relative_to(part.resolve().parent):
        log.warning(
            "%s links to a folder outside the data set, which is also read: %s",
            *(shown(folder), shown(folder.resolve())),
        )


def composed(name: str) -> str:
    """Return a name in Unicode normal form NFC, in which names are compared."""
    return unicodedata.normalize("NFC", name)


def with_spelling_of_train(parts: dict[str, Files]) -> dict[str, Files]:
    """Return the splits with class names spelled as in the training folder."""
    spelling = {composed(name): name for name in parts["train"]}
    return {
        part: {spelling.get(composed(name), name): files for name, files in classes.items()}
        for part, classes in parts.items()
    }


def files_below(folder: Path, *, may_be_empty: bool = False) -> FileList:
    """Return all image files below a folder, at any depth."""
    start = os.fsencode(folder) + b"/"
    return FileList(start + name for name in image_names(folder, may_be_empty=may_be_empty))


def divided(classes: Files, validation: float | int) -> dict[str, Files]:
    """Divide files into splits by the hash of their bytes, independently of each other."""
    if isinstance(validation, int):
        raise UserError(
            "data.validation must be a fraction for a folder without train/, got the count "
            f"{validation};\nset data.validation = 0.1, for example"
        )
    parts: dict[str, dict[str, list[bytes]]] = {part: {} for part in PARTS}
    for name, files in classes.items():
        for number in range(len(files)):
            part = part_of(files[number], validation)
            parts[part].setdefault(name, []).append(files.encoded(number))
    return {
        part: {name: FileList(names) for name, names in found.items()}
        for part, found in parts.items()
    }


def part_of(file: Path, validation: float) -> str:
    """Return the split that a file's bytes belong to.

    A fifth of all files is held out for testing, and of the rest the fraction `validation`.
    """
    digest = content_hash(file)
    for_test, for_validation = (int.from_bytes(half) / 2**64 for half in (digest[:8], digest[8:]))
    if for_test < TEST_SHARE:
        return "test"
    return "validation" if for_validation < validation else "train"


def content_hash(file: Path) -> bytes:
    """Return a 16-byte hash of a file's content; zeros if the file cannot be read."""
    try:
        with open_regular(file) as opened:
            reject_holes(file, os.fstat(opened.fileno()))
            return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).digest()
    except (OSError, UserError):
        return bytes(16)


def by_split(files: list[str], folder: Path) -> dict[str, list[str]]:
    """Group parquet files by split: a folder of its name, or else the first word of a file's name.

    The default is train.
    """
    parts = {name: part for part, spellings in ALL_PARTS.items() for name in spellings}
    found: dict[str, list[str]] = {}
    for file in files:
        *folders, name = Path(file).relative_to(folder).with_suffix("").parts
        words = [*map(str.lower, folders), re.split(r"[^a-z]", name.lower())[0]]
        part = next((parts[word] for word in words if word in parts), "train")
        found.setdefault(part, []).append(file)
    return found
