"""A folder of images: train/CLASS/*, and where they exist validation/CLASS/*, test/CLASS/*."""

import logging
from pathlib import Path

import numpy as np
import torch

from evenkeel.data.decode import decode_image, list_images, shown
from evenkeel.data.image_set import ImageSet, Splits
from evenkeel.data.options import DataOptions
from evenkeel.data.split import hold_out
from evenkeel.images.blocks import run_blocks
from evenkeel.runs import UserError

PARTS = ("train", "validation", "test")
TEST_SHARE = 0.2  # of the training images, where there is no test folder
NUM_NAMED = 3  # bad files named in an error

log = logging.getLogger(__name__)


def load_folder(path: Path, options: DataOptions) -> Splits:
    """Load all images, each cut to its middle square and resized to `options.image_size`.

    Without validation/ a part of train/ is held out as the options say; without test/ a fifth.
    An image's index is its place among the sorted files of its part.
    """
    check_options(path, options)
    parts = {part: list_classes(path / part) for part in PARTS if (path / part).is_dir()}
    if "train" not in parts:
        raise UserError(f"{shown(path)} has no folder train; put images in train/CLASS/")
    warn_of_oddities(path, parts)
    classes = tuple(sorted({name for found in parts.values() for name in found}))
    sets = read_parts(parts, classes, options)
    train = sets["train"]
    if "test" not in sets:
        log.warning("%s has no folder test: a fifth of train is kept for the test", shown(path))
        train, sets["test"] = hold_out(train, TEST_SHARE)
    if "validation" not in sets:
        train, sets["validation"] = hold_out(train, options.validation)
    return Splits(train, sets["validation"], sets["test"])


def check_options(path: Path, options: DataOptions) -> None:
    """Refuse what makes no sense for a folder."""
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


def list_classes(part: Path) -> dict[str, list[Path]]:
    """Give the files of every class folder."""
    folders = [
        folder for folder in part.iterdir() if folder.is_dir() and not folder.name.startswith(".")
    ]
    if not folders:
        raise UserError(
            f"{shown(part)} has no class folders; put images in {part.name}/CLASS/, "
            "one folder for each class"
        )
    return {shown(folder.name): list_images(folder) for folder in sorted(folders)}


def warn_of_oddities(path: Path, parts: dict[str, dict[str, list[Path]]]) -> None:
    """Point at what is not read, and at classes that cannot be learnt."""
    for folder in sorted(path.iterdir()):
        if folder.is_dir() and folder.name not in PARTS and not folder.name.startswith("."):
            log.warning("%s is ignored; only %s are read", shown(folder), ", ".join(PARTS))
    for part, found in parts.items():
        if strangers := sorted(set(found) - set(parts["train"])):
            log.warning("%s: classes without training images: %s", part, ", ".join(strangers))


def read_parts(
    parts: dict[str, dict[str, list[Path]]], classes: tuple[str, ...], options: DataOptions
) -> dict[str, ImageSet]:
    """Decode every part; bad files of all parts are reported together."""
    sets: dict[str, ImageSet] = {}
    bad: list[Path] = []
    for part, files_of in parts.items():
        files = [file for name in files_of for file in files_of[name]]
        labels = [classes.index(name) for name in files_of for _ in files_of[name]]
        images, is_bad = decode_all(files, options.image_size or 0)
        bad += [files[position] for position in np.flatnonzero(is_bad)]
        everything = ImageSet(images, torch.tensor(labels), classes, torch.arange(len(files)))
        sets[part] = everything.take(np.flatnonzero(~is_bad)) if is_bad.any() else everything
    if bad:
        answer_bad_files(bad, sets, parts, options.skip_bad_images)
    return sets


def decode_all(files: list[Path], image_size: int) -> tuple[torch.Tensor, np.ndarray]:
    """Decode in parallel threads: the images, and which of them are bad."""
    images = np.zeros((len(files), 3, image_size, image_size), np.uint8)
    is_bad = np.zeros(len(files), bool)

    def block(start: int, stop: int) -> None:
        for position in range(start, stop):
            try:
                images[position] = decode_image(files[position], image_size).numpy()
            except UserError as error:
                is_bad[position] = True
                log.info("%s", error)

    run_blocks(block, len(files), smallest=1)
    return torch.from_numpy(images), is_bad


def answer_bad_files(
    bad: list[Path],
    sets: dict[str, ImageSet],
    parts: dict[str, dict[str, list[Path]]],
    skip: bool,
) -> None:
    """Refuse files that cannot be decoded, or warn that they are left out."""
    names = ", ".join(shown(file) for file in bad[:NUM_NAMED])
    more = f" and {len(bad) - NUM_NAMED} more" if len(bad) > NUM_NAMED else ""
    counted = "1 file" if len(bad) == 1 else f"{len(bad)} files"
    if not skip:
        raise UserError(
            f"{counted} cannot be decoded: {names}{more}\n"
            "remove or replace them, or set data.skip_bad_images = true to leave them out"
        )
    log.warning("%s cannot be decoded and are left out: %s%s", counted, names, more)
    for part, found in parts.items():
        present = {sets[part].classes[label] for label in sets[part].labels.unique().tolist()}
        if empty := sorted(set(found) - present):
            raise UserError(
                f"{part}: no image of {', '.join(empty)} can be decoded; replace the files"
            )
