"""A folder of images: train/CLASS/*, and where they exist validation/CLASS/*, test/CLASS/*."""

import logging
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ruggedize.core.errors import UserError, shown
from ruggedize.core.memory import available_memory, processes_here
from ruggedize.core.progress import Progress, no_progress
from ruggedize.data.bad_files import reject_or_skip
from ruggedize.data.decode import Stored
from ruggedize.data.digest import folder_digest
from ruggedize.data.file_list import FileList
from ruggedize.data.image_set import ImageSet, Splits
from ruggedize.data.layout import TEST_SHARE, Files, find_images
from ruggedize.data.oddities import report_found, warn_of_shared_pictures
from ruggedize.data.options import DataOptions
from ruggedize.data.split import hold_out
from ruggedize.data.streaming import StreamedImages, bad_files, decode_all, default_workers

COPIES = 3  # of the images, at the most, while they are divided

log = logging.getLogger(__name__)


def load_folder(path: Path, options: DataOptions, progress: Progress = no_progress) -> Splits:
    """Read all images of a folder, square and of the size `options.image_size`.

    Those that fit are kept in memory, the others streamed: decoded once now, to find bad files,
    and again whenever they are needed.

    In a folder with train/ a part of it is held out where there is no validation/, as the options
    say, and a fifth where there is no test/. An image's index is its place among the sorted files
    of its part.
    """
    check_options(path, options)
    found = find_images(path, options.validation)
    if found.has_parts:
        warn_of_shared_pictures(path, found.parts)
    return load_files(path, found.parts, options, progress)


def load_files(
    path: Path, parts: dict[str, Files], options: DataOptions, progress: Progress
) -> Splits:
    """Read image files whose parts and classes are known; `path` is where they are from."""
    classes = tuple(sorted({name for part in parts.values() for name in part}))
    sets = read_parts(path, parts, classes, options, progress)
    if len(classes) < 2:
        raise UserError(
            f"{shown(path)} has one class, {''.join(classes)}: a classifier needs two or more;\n"
            "give each its own folder: train/CLASS/"
        )
    train = sets["train"]
    if "test" not in sets:
        log.warning("%s has no test images: a fifth of train is kept for the test", shown(path))
        train, sets["test"] = hold_out(train, TEST_SHARE)
    if "validation" not in sets:
        train, sets["validation"] = hold_out(train, options.validation)
    folder = path if path.is_dir() else path.parent
    splits = Splits(train, sets["validation"], sets["test"], folder_digest(folder, parts))
    report_found(path, splits)
    return splits


def check_options(path: Path, options: DataOptions) -> None:
    """Reject what makes no sense for a folder."""
    if options.image_size is None:
        raise UserError(
            f"{shown(path)} may hold images of any size: say at which they are kept, with "
            "data.image_size = 64 in a recipe or --image-size 64"
        )
    if options.validation_choice == "last":
        raise UserError(
            "the last images of a folder are all of one class; "
            'set data.validation_choice = "stratified"'
        )


def read_parts(
    path: Path,
    parts: dict[str, dict[str, FileList]],
    classes: tuple[str, ...],
    options: DataOptions,
    progress: Progress,
) -> dict[str, ImageSet]:
    """Read every part; bad files of all parts are reported together."""
    stored = Stored(options.image_size or 0, options.fit, options.max_megapixels)
    lists = {part: FileList.joined(found.values()) for part, found in parts.items()}
    streamed = is_to_be_streamed(options, sum(map(len, lists.values())))
    sets: dict[str, ImageSet] = {}
    bad: list[Path] = []
    folder = path if path.is_dir() else path.parent
    for part, files in lists.items():
        if streamed:
            num_workers = default_workers() if options.workers is None else options.workers
            images = StreamedImages(files, stored, num_workers)
            is_bad = bad_files(images, progress)
        else:
            images, faults = decode_all(files, stored, progress)
            is_bad = np.isin(np.arange(len(files)), [*faults])
        bad += files.select(np.flatnonzero(is_bad))
        numbers = [len(found) for found in parts[part].values()]
        own = torch.tensor([classes.index(name) for name in parts[part]])
        labels = own.repeat_interleave(torch.tensor(numbers))
        everything = ImageSet(images, labels, classes, torch.arange(len(files)))
        good = everything.select(np.flatnonzero(~is_bad)) if is_bad.any() else everything
        left_out = tuple(
            shown(os.path.relpath(file, folder)) for file in files.select(np.flatnonzero(is_bad))
        )
        sets[part] = replace(good, left_out=left_out, fit=options.fit)
    if bad:
        reject_or_skip(bad, options.skip_bad_images, options.max_megapixels)
        reject_empty_classes(sets, parts)
    return sets


def is_to_be_streamed(options: DataOptions, num_images: int) -> bool:
    """Decide whether images are kept in their files: where three times their size is not free.

    Dividing a part in two copies it, so that for a moment there is nearly three times as much.
    """
    if options.streaming != "auto":
        return options.streaming
    free, processes = available_memory(), processes_here()
    needed = processes * num_images * 3 * (options.image_size or 0) ** 2
    if free is None or COPIES * needed <= free:
        return False
    log.warning(
        "%s images would take %.1f GB%s of the %.1f GB that are free, and more while they are "
        "divided: they are decoded when needed, by worker processes",
        f"{num_images:,}",
        needed / 1e9,
        f" in {processes} processes" if processes > 1 else "",
        free / 1e9,
    )
    return True


def reject_empty_classes(sets: dict[str, ImageSet], parts: dict[str, dict[str, FileList]]) -> None:
    """Reject classes of which no file can be decoded."""
    for part, found in parts.items():
        present = {sets[part].classes[label] for label in sets[part].labels.unique().tolist()}
        if empty := sorted(set(found) - present):
            raise UserError(
                f"{part}: no image of {', '.join(empty)} can be decoded; replace the files"
            )
