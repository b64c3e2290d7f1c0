"""Load any data set, by name or by path, split into training, validation and test images."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from pydantic import ValidationError

from ruggedize.core.errors import UserError, did_you_mean, shown
from ruggedize.core.places import absolute_path
from ruggedize.core.progress import Progress, no_progress
from ruggedize.data.bad_files import reject_or_skip
from ruggedize.data.cifar import CIFAR10, CIFAR100, SIZE, find_folder, load_cifar
from ruggedize.data.decode import MAX_MEGAPIXELS, Fit, Stored
from ruggedize.data.digest import DataDigest, array_digest, files_digest
from ruggedize.data.digits import load_digits
from ruggedize.data.folder import (
    check_options,
    digest_of,
    load_files,
    load_folder,
    unlabelled_files,
)
from ruggedize.data.image_set import ImageSet, Splits
from ruggedize.data.layout import UNLABELLED, files_below, find_images, is_plain_folder
from ruggedize.data.location import BUILT_IN, PREFIX, place_of, places_of
from ruggedize.data.options import DataOptions
from ruggedize.data.split import hold_out
from ruggedize.data.streaming import decode_all
from ruggedize.data.tables import is_table, read_table
from ruggedize.data.unlabelled import load_unlabelled, with_chosen_labels

LAYOUTS = {layout.name: layout for layout in (CIFAR10, CIFAR100)}


def load_data(  # noqa: PLR0913
    name_or_path: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    *,
    image_size: int | None = None,
    validation: int | float = 0.1,
    validation_choice: Literal["stratified", "last"] = "stratified",
    fit: Fit = "crop",
    max_megapixels: float = MAX_MEGAPIXELS,
    unlabelled: str | os.PathLike[str] | None = None,
    num_labels: int | None = None,
    label_seed: int = 0,
    streaming: bool | Literal["auto"] = "auto",
    workers: int | None = None,
    skip_bad_images: bool = False,
) -> Splits:
    """Load a data set and split it deterministically into training, validation and test images.

    Args:
        name_or_path: digits, cifar10, cifar100, a folder that contains train/CLASS/* or CLASS/*, a
            table of images (CSV or parquet), or hf:NAME.
        root: folder that contains the data; default: RUGGEDIZE_DATA, else where `fetch` puts it.
        download: download CIFAR if it is missing.
        image_size: side in pixels to which images are resized; required for a folder.
        validation: training images to hold out, as a count or a fraction between 0 and 1.
        validation_choice: stratified (every class in proportion) or last.
        fit: how a folder's images are made square: crop, pad or squash.
        max_megapixels: limit above which images of a folder are rejected.
        unlabelled: folder of images without labels; default: the folder unlabelled next to train.
        num_labels: training images that keep their label, equally many of each class; the others
            become `Splits.unlabelled`.
        label_seed: seed of the choice of these images.
        streaming: decode the images of a folder on each access instead of keeping them in memory;
            auto: only if they would take more than a third of the free memory.
        workers: number of processes that decode streamed images; 0: threads of this process.
        skip_bad_images: skip files of a folder that cannot be decoded, and list them in a
            warning.

    Raises:
        UserError: the data is missing, an option is invalid, or files cannot be decoded.
    """
    given = {
        "image_size": image_size,
        "validation": validation,
        "validation_choice": validation_choice,
        "fit": fit,
        "max_megapixels": max_megapixels,
        "unlabelled": unlabelled,
        "num_labels": num_labels,
        "label_seed": label_seed,
        "streaming": streaming,
        "workers": workers,
        "skip_bad_images": skip_bad_images,
    }
    return load_splits(options_of(name_or_path, root, given), download=download)


def options_of(
    name_or_path: str | os.PathLike[str],
    root: str | os.PathLike[str] | None,
    given: Mapping[str, object],
) -> DataOptions:
    """Build the options of a data set from its name or path.

    Raises:
        UserError: an option is invalid.
    """
    is_path = isinstance(name_or_path, os.PathLike)
    name = os.fspath(absolute_path(name_or_path)) if is_path else str(name_or_path)
    try:
        return DataOptions.model_validate({"name": name, "root": root, **given})
    except ValidationError as error:
        fault = error.errors()[0]
        message = fault["msg"].removeprefix("Value error, ")
        if not fault["loc"]:  # a conflict between options
            raise UserError(message) from None
        raise UserError(f"{fault['loc'][0]}: {message} (got {fault['input']!r})") from None


def load_clean_images(
    name_or_path: str,
    root: Path | None = None,
    *,
    image_size: int | None = None,
    skip_bad_images: bool = False,
) -> ImageSet:
    """Load the test images of a data set, or all images of a folder without classes.

    Images of a folder without classes are unlabelled (-1).
    """
    given = {"image_size": image_size, "skip_bad_images": skip_bad_images}
    options = options_of(name_or_path, root, given)
    path = place_of(options)
    if options.name in BUILT_IN or not path.is_dir() or not is_plain_folder(path):
        return load_splits(options).test
    check_options(path, options)
    files = files_below(path)
    images, bad = decode_all(files, Stored(image_size or 0))
    reject_or_skip([files[number] for number in sorted(bad)], skip_bad_images)
    kept = [number for number in range(len(files)) if number not in bad]
    if not kept:
        raise UserError(f"none of the images in {shown(path)} can be decoded;\nreplace them")
    index = torch.tensor(kept)
    labels = torch.full((len(index),), -1)
    return ImageSet(images[index], labels, (), index)


def load_splits(
    options: DataOptions, *, download: bool = False, progress: Progress = no_progress
) -> Splits:
    """Load the splits that the options describe; see `load_data`."""
    if options.num_train is not None and options.name not in BUILT_IN:
        raise UserError(
            f"data.num_train applies to {', '.join(BUILT_IN)} only, got data "
            f"{shown(options.name)};\nremove it"
        )
    if options.name.startswith(PREFIX):
        from ruggedize.data.huggingface import load_huggingface

        splits = load_huggingface(options, progress)
    elif options.name not in BUILT_IN:
        splits = load_folder_splits(options, progress)
    else:
        splits = load_named_splits(options, download, progress)
    return with_chosen_labels(splits, options)


def load_named_splits(options: DataOptions, download: bool, progress: Progress) -> Splits:
    """Load a built-in data set, and the folder of unlabelled images if one is set."""
    train, test = load_named(options, download)
    remaining, held_out = hold_out(train, options.validation, options.validation_choice)
    remaining = proportional_share(remaining, options.num_train)
    digest = named_digest(options, train, test)
    unlabelled = load_unlabelled(options, train, progress)
    return Splits(remaining, held_out, test, digest, unlabelled)


def proportional_share(images: ImageSet, num_train: int | None) -> ImageSet:
    """Return this many of the training images, every class in proportion; None: all.

    Raises:
        UserError: there are fewer.
    """
    if num_train is None or num_train == len(images):
        return images
    if num_train > len(images):
        raise UserError(
            f"data.num_train must be at most {len(images)}, got {num_train};\n"
            "lower it or data.validation"
        )
    return hold_out(images, num_train)[1]


def data_digest(options: DataOptions) -> DataDigest | None:
    """Return the digest of the data as it is now, without decoding image files.

    Returns None if the data does not exist, or if it is a Hugging Face data set.

    Raises:
        UserError, OSError: the data exists but is incomplete or cannot be read.
    """
    if options.name.startswith(PREFIX):
        from ruggedize.data.huggingface import huggingface_digest

        return huggingface_digest(options.name)
    if options.unlabelled is not None and not options.unlabelled.is_dir():
        return None
    if options.name in LAYOUTS and find_folder(LAYOUTS[options.name], options.root) is None:
        return None
    if options.name in BUILT_IN:
        return named_digest(options, *load_named(options, download=False))
    path = place_of(options)
    if path.is_file() and is_table(path):
        return digest_of(path, read_table(path, options.validation), options)
    if not path.is_dir():
        return None
    return digest_of(path, find_images(path, options.validation).parts, options)


def named_digest(options: DataOptions, train: ImageSet, test: ImageSet) -> DataDigest:
    """Return the digest of a built-in data set and of the folder of unlabelled images."""
    parts = {
        key: array_digest(part.labels.numpy(), part.images[:].numpy())
        for key, part in {"train": train, "test": test}.items()
    }
    if options.unlabelled is not None:
        files = unlabelled_files(options.unlabelled)[UNLABELLED]
        parts[UNLABELLED] = files_digest(options.unlabelled, files)
    return DataDigest(place=options.name, parts=parts)


def load_named(options: DataOptions, download: bool) -> tuple[ImageSet, ImageSet]:
    """Load the training and test images of a built-in data set."""
    if options.skip_bad_images and options.unlabelled is None:
        raise UserError(
            f"data.skip_bad_images applies to folders of images only, got data {options.name};\n"
            "remove the option"
        )
    if options.streaming is True or options.workers is not None:
        raise UserError(
            "data.streaming and data.workers apply to folders of images only, got data "
            f"{options.name}, which fits in memory;\nremove both options"
        )
    if options.name == "digits":
        return load_digits(options.image_size)
    layout = LAYOUTS[options.name]
    if options.image_size not in (None, SIZE):
        raise UserError(
            f"data.image_size of {options.name} must be {SIZE}, got {options.image_size};\n"
            "remove data.image_size; to resize, set views.resize"
        )
    if download and find_folder(layout, options.root) is None:
        from ruggedize.data.download import fetch

        fetch(options.name, options.root)
    return load_cifar(layout, options.root)


def load_folder_splits(options: DataOptions, progress: Progress) -> Splits:
    """Load a folder or a table of images.

    Raises:
        UserError: it does not exist; the message suggests the closest built-in name.
    """
    path = place_of(options)
    if path.is_file() and is_table(path):
        check_options(path, options)
        return load_files(path, read_table(path, options.validation), options, progress)
    if path.is_dir():
        return load_folder(path, options, progress)
    reject_hidden(path)
    near = did_you_mean(options.name.lower(), BUILT_IN, cutoff=0.5)
    places = [shown(place) for place in places_of(options)]
    absent = f"{places[0]} does not exist"
    if len(places) > 1:
        absent = f"neither {' nor '.join(places)} exists"
    guess = f"{near} " if near else ""
    raise UserError(
        f"there is no data set or folder {shown(options.name)}: {absent};\n"
        f"{guess}use {', '.join(BUILT_IN)} or a folder that contains train/CLASS/*"
    )


def reject_hidden(path: Path) -> None:
    """Raise UserError if a path may exist in a folder that this user may not access."""
    try:
        path.stat()
    except PermissionError:
        raise UserError(
            f"{shown(path)} cannot be accessed (Permission denied);\n"
            "change the permissions of its folders, or copy the data"
        ) from None
    except (OSError, ValueError):
        return
