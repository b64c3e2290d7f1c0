"""Folders and tables of images, read into memory or streamed."""

import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool

from ruggedize.core.errors import UserError, shown
from ruggedize.core.memory import available_memory, processes_here
from ruggedize.core.progress import Progress, no_progress
from ruggedize.data.bad_files import reject_or_skip
from ruggedize.data.decode import Stored
from ruggedize.data.digest import DataDigest, folder_digest
from ruggedize.data.file_list import FileList
from ruggedize.data.image_set import ImageSet, Splits
from ruggedize.data.layout import TEST_SHARE, UNLABELLED, Files, find_images, without_classes
from ruggedize.data.oddities import report_found, warn_of_shared_pictures
from ruggedize.data.options import DataOptions
from ruggedize.data.originals import Originals
from ruggedize.data.split import hold_out
from ruggedize.data.streaming import EncodedImages, StreamedImages, bad_files, decode_all
from ruggedize.data.workers import default_workers
from ruggedize.kernels.types import ImageSource

MAX_COPIES = 3  # copies of all images that are in memory at once while they are split

log = logging.getLogger(__name__)


def load_folder(path: Path, options: DataOptions, progress: Progress = no_progress) -> Splits:
    """Load all images of a folder, made square and resized to `options.image_size`.

    Images are kept in memory if they fit. Otherwise they are streamed: decoded once now, to find
    bad files, and again on each access.

    If a folder with train/ has no validation/, the share of train/ that the options name is held
    out; if it has no test/, a fifth of train/ is. The index of an image is its position among the
    sorted files of its split.

    Raises:
        UserError: an option does not apply, the layout is wrong, or files cannot be decoded.
    """
    check_options(path, options)
    found = find_images(path, options.validation)
    return load_files(path, found.parts, options, progress)


def load_files(
    path: Path, parts: dict[str, Files], options: DataOptions, progress: Progress
) -> Splits:
    """Load image files by split and class; `path` is the folder or table that lists them."""
    labelled = {part: files for part, files in parts.items() if part != UNLABELLED}
    warn_of_shared_pictures(path, labelled)
    parts = with_chosen_folder(parts, options)
    classes = tuple(sorted({name for found in labelled.values() for name in found}))
    if not parts["train"]:
        raise UserError(f"{shown(path)} has no images for training;\nadd some")
    sets = read_parts(path, parts, classes, options, progress)
    if len(classes) < 2:
        raise UserError(
            f"{shown(path)} must have at least two classes, got only {''.join(classes)};\n"
            "put the images of each class in its own folder: train/CLASS/"
        )
    train = sets["train"]
    if "test" not in sets:
        log.warning("%s has no test images: a fifth of train is held out for testing", shown(path))
        train, sets["test"] = hold_out(train, TEST_SHARE)
    if "validation" not in sets:
        train, sets["validation"] = hold_out(train, options.validation)
    digest, unlabelled = digest_of(path, parts, options), sets.get(UNLABELLED)
    splits = Splits(train, sets["validation"], sets["test"], digest, unlabelled)
    report_found(path, splits)
    return splits


def with_chosen_folder(parts: dict[str, Files], options: DataOptions) -> dict[str, Files]:
    """Return the files with those of `data.unlabelled`, if it is set, as the unlabelled split."""
    return parts if options.unlabelled is None else parts | unlabelled_files(options.unlabelled)


def unlabelled_files(folder: Path) -> dict[str, Files]:
    """Return the files of a folder of unlabelled images as a split.

    Raises:
        UserError: the folder does not exist, or has no images.
    """
    if not folder.is_dir():
        raise UserError(
            f"data.unlabelled: {shown(folder)} is not a folder;\nset a folder of images"
        )
    return {UNLABELLED: without_classes(folder)}


def digest_of(path: Path, parts: dict[str, Files], options: DataOptions) -> DataDigest:
    """Return the digest of the files of a folder or table, and of `data.unlabelled`."""
    chosen = options.unlabelled
    elsewhere = {} if chosen is None else {UNLABELLED: chosen}
    folder = path if path.is_dir() else path.parent
    return folder_digest(folder, with_chosen_folder(parts, options), elsewhere)


def check_options(path: Path, options: DataOptions) -> None:
    """Raise UserError for options that do not apply to a folder of images."""
    if options.image_size is None:
        raise UserError(
            f"image_size is required for {shown(path)}, whose images may have any size;\n"
            "set data.image_size = 64 in a recipe, or --image-size 64"
        )
    if options.validation_choice == "last":
        raise UserError(
            'validation_choice = "last" would hold out a single class of a folder;\n'
            'set data.validation_choice = "stratified"'
        )


def read_parts(
    path: Path,
    parts: dict[str, dict[str, FileList]],
    classes: tuple[str, ...],
    options: DataOptions,
    progress: Progress,
) -> dict[str, ImageSet]:
    """Load every split, reporting the bad files of all splits together."""
    stored = Stored(options.image_size or 0, options.fit, options.max_megapixels)
    lists = {part: FileList.joined(found.values()) for part, found in parts.items()}
    streamed = must_stream(options, sum(map(len, lists.values())))
    numbers = {name: number for number, name in enumerate(classes)}
    sets: dict[str, ImageSet] = {}
    bad: list[Path] = []
    folder = path if path.is_dir() else path.parent
    for part, files in lists.items():
        images, is_bad = read_images(files, stored, options, streamed, progress)
        bad += files.select(np.flatnonzero(is_bad))
        class_sizes = [len(found) for found in parts[part].values()]
        known = [numbers.get(name, -1) for name in parts[part]]
        labels = torch.from_numpy(np.repeat(np.array(known, np.int64), class_sizes))
        index, originals = torch.arange(len(files)), Originals(files, stored)
        everything = ImageSet(images, labels, classes, index, originals=originals)
        good = everything.select(np.flatnonzero(~is_bad)) if is_bad.any() else everything
        skipped = tuple(
            shown(os.path.relpath(file, folder)) for file in files.select(np.flatnonzero(is_bad))
        )
        sets[part] = replace(good, left_out=skipped, fit=options.fit)
    if bad:
        reject_or_skip(bad, options.skip_bad_images, options.max_megapixels)
        reject_empty_classes(sets, parts)
    return sets


def read_images(
    files: EncodedImages, stored: Stored, options: DataOptions, streamed: bool, progress: Progress
) -> tuple[ImageSource, Bool[np.ndarray, " n"]]:
    """Return the images, decoded or to be decoded on access, and which of them are bad."""
    if streamed:
        num_workers = default_workers() if options.workers is None else options.workers
        images = StreamedImages(files, stored, num_workers)
        return images, bad_files(images, progress)
    decoded, faults = decode_all(files, stored, progress)
    return decoded, np.isin(np.arange(len(files)), [*faults])


def must_stream(options: DataOptions, num_images: int) -> bool:
    """Return whether to stream images: as set, or if free memory cannot hold three copies of them.

    Splitting a set copies it, so memory briefly holds almost three copies.
    """
    if options.streaming != "auto":
        return options.streaming
    free, processes = available_memory(), processes_here()
    needed = processes * num_images * 3 * (options.image_size or 0) ** 2
    if free is None or MAX_COPIES * needed <= free:
        return False
    log.warning(
        "%s images would take %.1f GB%s of %.1f GB of free memory, and more while they are "
        "split: they are streamed instead (decoded by worker processes when needed)",
        f"{num_images:,}",
        needed / 1e9,
        f" in {processes} processes" if processes > 1 else "",
        free / 1e9,
    )
    return True


def reject_empty_classes(sets: dict[str, ImageSet], parts: dict[str, dict[str, FileList]]) -> None:
    """Raise UserError if none of the files of a class can be decoded."""
    for part, found in parts.items():
        if part == UNLABELLED:
            continue
        present = {sets[part].classes[label] for label in sets[part].labels.unique().tolist()}
        if empty := sorted(set(found) - present):
            raise UserError(
                f"{part}: no image of {', '.join(empty)} can be decoded;\nreplace the files"
            )
