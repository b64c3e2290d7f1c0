"""The layouts that folders of images have: which files belong to which part and class."""

import hashlib
import logging
import os
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ruggedize.core.errors import UserError, shown
from ruggedize.core.reading import open_regular
from ruggedize.data.file_list import FileList
from ruggedize.data.listing import ENDINGS, image_names, is_junk, leads_back

PARTS = {  # the names that people give to the parts, in small letters
    "train": ("train", "training"),
    "validation": ("validation", "val", "valid"),
    "test": ("test", "testing"),
}
TEST_SHARE = 0.2  # of the images of a folder without a part for the test
Files = dict[str, FileList]  # by class
log = logging.getLogger(__name__)


class Found(NamedTuple):
    """The image files of a folder by part and class, and whether the folder itself has parts."""

    parts: dict[str, Files]
    has_parts: bool


def find_images(path: Path, validation: float | int) -> Found:
    """Return the image files of a folder by part and class; `train` is always among the parts.

    A folder with `train/CLASS/*` may have `validation/` (or `val/`, `valid/`) and `test/`. In a
    folder with `CLASS/*` alone, each file belongs to the part that the hash of its bytes names,
    so that the division of the other files stays as it is when files are added.

    Args:
        path: the folder.
        validation: the share of the training images that is held out where there are no parts.

    Raises:
        UserError: the folder has no classes, or two folders for one part.
    """
    root = stepped_into(path)
    folders = part_folders(root)
    if "train" in folders:
        warn_of_others(root, folders)
        parts = {
            part: list_classes(stepped_into(folder), may_be_empty=part != "train")
            for part, folder in folders.items()
        }
        return Found(with_spelling_of_train(parts), has_parts=True)
    if folders:
        raise UserError(f"{shown(root)} has no folder train;\nput images in train/CLASS/")
    return Found(divided(list_classes(root), validation), has_parts=False)


def is_plain_folder(path: Path) -> bool:
    """Return whether a folder has images and no folders, so that there are no classes."""
    names = [os.fsencode(place.name).lower() for place in path.iterdir()]
    return not visible_folders(path) and any(name.endswith(ENDINGS) for name in names)


def stepped_into(folder: Path) -> Path:
    """Return the folder, or the one inside it where an archive has added a level.

    `photos/photos/train` and `train/train/CLASS` are such: a single folder, named as the one that
    it lies in or with parts of its own.
    """
    inside = visible_folders(folder)
    if len(inside) != 1:
        return folder
    (only,) = inside
    if only.name != folder.name and "train" not in part_folders(only):
        return folder
    if not visible_folders(only):
        return folder  # it is a class that is named as its part
    log.warning("%s holds one folder; its images are read from %s", shown(folder), shown(only))
    return only


def visible_folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones and what systems leave."""
    return sorted(
        place
        for place in folder.iterdir()
        if not is_junk(os.fsencode(place.name)) and place.is_dir() and not is_loop(place)
    )


def is_loop(place: Path) -> bool:
    """Return whether a path is a link to a folder that contains it."""
    return place.is_symlink() and leads_back(os.fsencode(place), os.fsencode(place.parent))


def part_folders(root: Path) -> dict[str, Path]:
    """Return the folders that are named as parts of a data set."""
    found: dict[str, Path] = {}
    for folder in visible_folders(root):
        for part, names in PARTS.items():
            if folder.name.lower() not in names:
                continue
            if part in found:
                raise UserError(
                    f"{shown(root)} has two folders for {part}: {shown(found[part].name)} and "
                    f"{shown(folder.name)};\nmove the images into one of them"
                )
            if part != "train" and not any(folder.iterdir()):
                log.warning("%s is empty; it is taken as missing", shown(folder))
                continue
            found[part] = folder
    return {part: found[part] for part in PARTS if part in found}


def warn_of_others(root: Path, folders: Mapping[str, Path]) -> None:
    """Warn of folders and images beside the parts, which are not read."""
    others = [place for place in visible_folders(root) if place not in folders.values()]
    if others:
        names = ", ".join(shown(place.name) for place in others[:8])
        log.warning("%s: folders beside train are not read: %s", shown(root), names)
    warn_of_loose_images(root)


def warn_of_loose_images(folder: Path) -> None:
    """Warn of images beside class folders, and of links to folders above: neither is read."""
    for loop in filter(is_loop, sorted(folder.iterdir())):
        log.warning("%s links to a folder that it lies in; it is skipped", shown(loop))
    names = [os.fsencode(place.name) for place in folder.iterdir() if place.is_file()]
    loose = [name for name in names if name.lower().endswith(ENDINGS) and name[:1] != b"."]
    if loose:
        log.warning("%s: %d images beside the folders are not read", shown(folder), len(loose))


def list_classes(part: Path, *, may_be_empty: bool = False) -> Files:
    """Return the files of every class folder by the name of the class.

    Two folders whose names differ in their Unicode form alone are one class. A folder without
    images is an error unless it may be empty.
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

    Backslashes are doubled, so that a line break and a literal `\\n` are two names.
    """
    return shown(name.replace("\\", "\\\\"))


def note_if_outside(folder: Path, part: Path) -> None:
    """Log a warning if a class folder is a link that leads out of the data set."""
    if folder.is_symlink() and not folder.resolve().is_relative_to(part.resolve().parent):
        log.warning(
            "%s links to a folder outside the data set, which is read: %s",
            *(shown(folder), shown(folder.resolve())),
        )


def composed(name: str) -> str:
    """Return a name in the one Unicode form in which names are compared."""
    return unicodedata.normalize("NFC", name)


def with_spelling_of_train(parts: dict[str, Files]) -> dict[str, Files]:
    """Return the parts with every class named as the training folder spells it."""
    spelling = {composed(name): name for name in parts["train"]}
    return {
        part: {spelling.get(composed(name), name): files for name, files in classes.items()}
        for part, classes in parts.items()
    }


def files_below(folder: Path, *, may_be_empty: bool = False) -> FileList:
    """Return all image files below a folder."""
    start = os.fsencode(folder) + b"/"
    return FileList(start + name for name in image_names(folder, may_be_empty=may_be_empty))


def divided(classes: Files, validation: float | int) -> dict[str, Files]:
    """Divide files into parts by the hash of their bytes, every file by itself."""
    if isinstance(validation, int):
        raise UserError(
            f"data.validation = {validation} is a count, and a folder without train/ is divided "
            "by shares;\nset data.validation = 0.1, for example"
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
    """Return the part that a file's bytes belong to.

    A fifth is kept for the test; of the rest the share `validation` is held out.
    """
    digest = content_hash(file)
    for_test, for_validation = (int.from_bytes(half) / 2**64 for half in (digest[:8], digest[8:]))
    if for_test < TEST_SHARE:
        return "test"
    return "validation" if for_validation < validation else "train"


def content_hash(file: Path) -> bytes:
    """Return 16 bytes that stand for a file's content; a file that cannot be read has none."""
    try:
        with open_regular(file) as opened:
            return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).digest()
    except (OSError, UserError):
        return bytes(16)
