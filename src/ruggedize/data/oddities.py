"""Warnings about likely mistakes in a folder of images, with numbers."""

import logging
import os
from difflib import get_close_matches
from pathlib import Path

from ruggedize.core.errors import shown
from ruggedize.data.image_set import ImageSet, Splits
from ruggedize.data.layout import Files, content_hash

IMBALANCE = 10  # ratio of the largest to the smallest class from which a warning is logged
NUM_NAMED = 8  # classes or files that a message names
log = logging.getLogger(__name__)


def report_found(path: Path, splits: Splits) -> None:
    """Log how many images and classes each split has, and warn of missing or unbalanced classes."""
    parts = dict(zip(("train", "validation", "test"), splits, strict=True))
    described = "; ".join(f"{name} {described_part(part)}" for name, part in parts.items())
    if splits.unlabelled is not None:
        described += f"; unlabelled {len(splits.unlabelled):,} images"
    log.info("%s: %s", shown(path), described)
    train = counts(parts["train"])
    for name, part in parts.items():
        if missing := [label for label, number in counts(part).items() if not number]:
            guess = likely_spelling(missing, train) if name == "train" else ""
            log.warning(
                "%s: there are no %s images of %s%s", shown(path), name, named(missing), guess
            )
    fewest, most = min(train, key=lambda c: train[c]), max(train, key=lambda c: train[c])
    if train[fewest] and train[most] >= IMBALANCE * train[fewest]:
        log.warning(
            "%s: the classes are unbalanced: %s has %d training images and %s has %d; "
            'set class_weights = "balanced" to weight them equally',
            *(shown(path), most, train[most], fewest, train[fewest]),
        )


def likely_spelling(missing: list[str], train: dict[str, int]) -> str:
    """Return a question on the first class without training images that is spelled like another."""
    known = [label for label, number in train.items() if number]
    for label in missing:
        if near := get_close_matches(label, known, 1, cutoff=0.8):
            return f"; is {label} the same class as {near[0]}?"
    return ""


def counts(part: ImageSet) -> dict[str, int]:
    """Return the number of images per class, by class name."""
    labels = part.labels[part.labels >= 0]
    return dict(
        zip(part.classes, labels.bincount(minlength=len(part.classes)).tolist(), strict=True)
    )


def described_part(part: ImageSet) -> str:
    """Return the numbers of images and classes of a split as text."""
    found = {label: number for label, number in counts(part).items() if number}
    if not found:
        return f"{len(part):,} images"
    fewest, most = min(found, key=lambda c: found[c]), max(found, key=lambda c: found[c])
    sizes = f"from {found[fewest]:,} of {fewest} to {found[most]:,} of {most}"
    if found[fewest] == found[most]:
        sizes = f"{found[most]:,} of each"
    return f"{len(part):,} images of {len(found)} classes ({sizes})"


def named(names: list[str]) -> str:
    """Return the first few names and how many more there are."""
    more = f" and {len(names) - NUM_NAMED} more" if len(names) > NUM_NAMED else ""
    return ", ".join(names[:NUM_NAMED]) + more


def warn_of_shared_pictures(path: Path, parts: dict[str, Files]) -> None:
    """Log a warning about test or validation files that are identical to training files."""
    train, folder = by_size(parts["train"]), path if path.is_dir() else path.parent
    for part in [name for name in parts if name != "train"]:
        other = by_size(parts[part])
        shared = [file for size in train.keys() & other for file in same(train[size], other[size])]
        if shared:
            names = named([shown(os.path.relpath(file, folder)) for file in sorted(shared)])
            log.warning(
                "%s: some %s images are also training images (%d): %s",
                *(shown(path), part, len(shared), names),
            )


def by_size(classes: Files) -> dict[int, list[Path]]:
    """Group files by size in bytes, because only files of the same size can be identical."""
    found: dict[int, list[Path]] = {}
    for file in (file for files in classes.values() for file in files):
        try:
            size = file.stat().st_size
        except OSError:
            continue
        if size:
            found.setdefault(size, []).append(file)
    return found


def same(train: list[Path], other: list[Path]) -> list[Path]:
    """Return the files of `other` that have the same content as a training file."""
    known = {content_hash(file) for file in train}
    return [file for file in other if content_hash(file) in known]
