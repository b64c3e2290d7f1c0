"""Folders of images: train/CLASS/*, and optionally validation/CLASS/* and test/CLASS/*."""

import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ruggedize.core.errors import UserError
from ruggedize.core.memory import available_memory, processes_here
from ruggedize.core.progress import Progress, no_progress
from ruggedize.data.bad_files import reject_or_skip
from ruggedize.data.decode import image_names, shown
from ruggedize.data.digest import folder_digest
from ruggedize.data.file_list import FileList
from ruggedize.data.image_set import ImageSet, Splits
from ruggedize.data.options import DataOptions
from ruggedize.data.split import hold_out
from ruggedize.data.streaming import StreamedImages, bad_files, decode_all, default_workers

PARTS = ("train", "validation", "test")
TEST_SHARE = 0.2  # of the training images, if there is no test folder
MAX_COPIES = 3  # of all images in memory at once, while they are split

log = logging.getLogger(__name__)


def load_folder(path: Path, options: DataOptions, progress: Progress = no_progress) -> Splits:
    """Read all images, cropped to the central square and resized to `options.image_size`.

    Images are kept in memory if they fit. Otherwise they are streamed: decoded once now, to find
    bad files, and again on each access.

    Without validation/, images of train/ are held out as the options say; without test/, a fifth
    of them. The index of an image is its position among the sorted files of its split.
    """
    check_options(path, options)
    parts = list_parts(path)
    warn_of_oddities(path, parts)
    classes = tuple(sorted({name for found in parts.values() for name in found}))
    sets = read_parts(path, parts, classes, options, progress)
    train = sets["train"]
    if "test" not in sets:
        log.warning("%s has no folder test: a fifth of train is held out for it", shown(path))
        train, sets["test"] = hold_out(train, TEST_SHARE)
    if "validation" not in sets:
        train, sets["validation"] = hold_out(train, options.validation)
    if len(classes) < 2:
        raise UserError(
            f"{shown(path)} has only one class, {''.join(classes)}; a classifier needs two;\n"
            "put the images of each class in its own folder: train/CLASS/"
        )
    return Splits(train, sets["validation"], sets["test"], folder_digest(path, parts))


def list_parts(path: Path) -> dict[str, dict[str, FileList]]:
    """Return the image files of a folder by split and class; `train` is required."""
    parts = {part: list_classes(path / part) for part in PARTS if (path / part).is_dir()}
    if "train" not in parts:
        raise UserError(f"{shown(path)} has no folder train; put images in train/CLASS/")
    return parts


def check_options(path: Path, options: DataOptions) -> None:
    """Raise a UserError for options that do not apply to a folder of images."""
    if options.image_size is None:
        raise UserError(
            f"{shown(path)} may contain images of any size, so image_size is required;\n"
            "set data.image_size = 64 in a recipe, or --image-size 64"
        )
    if options.validation_choice == "last":
        raise UserError(
            "the last images of a folder all belong to one class;\n"
            'set data.validation_choice = "stratified"'
        )


def list_classes(part: Path) -> dict[str, FileList]:
    """Return the image files by class folder."""
    folders = [
        folder for folder in part.iterdir() if folder.is_dir() and not folder.name.startswith(".")
    ]
    if not folders:
        raise UserError(
            f"{shown(part)} has no class folders;\n"
            f"put images in {part.name}/CLASS/, one folder per class"
        )
    return {shown(folder.name): files_below(folder) for folder in sorted(folders)}


def files_below(folder: Path) -> FileList:
    """Return all image files below a folder."""
    start = os.fsencode(folder) + b"/"
    return FileList(start + name for name in image_names(folder))


def warn_of_oddities(path: Path, parts: dict[str, dict[str, FileList]]) -> None:
    """Warn of folders that are ignored, and of classes without training images."""
    for folder in sorted(path.iterdir()):
        if folder.is_dir() and folder.name not in PARTS and not folder.name.startswith("."):
            log.warning("%s is ignored; only %s are read", shown(folder), ", ".join(PARTS))
    for part, found in parts.items():
        if untrained := sorted(set(found) - set(parts["train"])):
            log.warning("%s: classes without training images: %s", part, ", ".join(untrained))


def read_parts(
    path: Path,
    parts: dict[str, dict[str, FileList]],
    classes: tuple[str, ...],
    options: DataOptions,
    progress: Progress,
) -> dict[str, ImageSet]:
    """Read every split; bad files of all splits are reported together."""
    size = options.image_size or 0
    lists = {part: FileList.joined(found.values()) for part, found in parts.items()}
    streamed = must_stream(options, sum(map(len, lists.values())))
    sets: dict[str, ImageSet] = {}
    bad: list[Path] = []
    for part, files in lists.items():
        if streamed:
            num_workers = options.workers or default_workers()
            images = StreamedImages(files, size, num_workers)
            is_bad = bad_files(images, progress)
        else:
            images, faults = decode_all(files, size, progress)
            is_bad = np.isin(np.arange(len(files)), [*faults])
        bad += files.select(np.flatnonzero(is_bad))
        class_sizes = [len(found) for found in parts[part].values()]
        class_labels = torch.tensor([classes.index(name) for name in parts[part]])
        labels = class_labels.repeat_interleave(torch.tensor(class_sizes))
        everything = ImageSet(images, labels, classes, torch.arange(len(files)))
        good = everything.select(np.flatnonzero(~is_bad)) if is_bad.any() else everything
        skipped = tuple(
            shown(file.relative_to(path)) for file in files.select(np.flatnonzero(is_bad))
        )
        sets[part] = replace(good, left_out=skipped)
    if bad:
        reject_or_skip(bad, options.skip_bad_images)
        reject_empty_classes(sets, parts)
    return sets


def must_stream(options: DataOptions, num_images: int) -> bool:
    """Return whether to stream images: always or never, or if three times their size is not free.

    Splitting a set copies it, so that memory holds nearly three copies for a moment.
    """
    if options.streaming != "auto":
        return options.streaming
    free, processes = available_memory(), processes_here()
    needed = processes * num_images * 3 * (options.image_size or 0) ** 2
    if free is None or MAX_COPIES * needed <= free:
        return False
    log.warning(
        "%s images would take %.1f GB%s of the %.1f GB of free memory, and more while they are "
        "split: they are streamed (decoded by worker processes when needed)",
        f"{num_images:,}",
        needed / 1e9,
        f" in {processes} processes" if processes > 1 else "",
        free / 1e9,
    )
    return True


def reject_empty_classes(sets: dict[str, ImageSet], parts: dict[str, dict[str, FileList]]) -> None:
    """Raise a UserError if no file of a class can be decoded."""
    for part, found in parts.items():
        present = {sets[part].classes[label] for label in sets[part].labels.unique().tolist()}
        if empty := sorted(set(found) - present):
            raise UserError(
                f"{part}: no image of {', '.join(empty)} can be decoded;\nreplace the files"
            )
