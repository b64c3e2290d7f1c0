"""What is odd about a folder of images: said once each, with numbers."""

import logging
from pathlib import Path

from ruggedize.core.errors import shown
from ruggedize.data.image_set import ImageSet, Splits
from ruggedize.data.layout import Files, content_hash

IMBALANCE = 10  # times as many images in the largest class as in the smallest
NUM_NAMED = 8  # classes, or files, in a message
log = logging.getLogger(__name__)


def report_found(path: Path, splits: Splits) -> None:
    """Log how many images of how many classes each part has, and what is odd about it."""
    parts = dict(zip(("train", "validation", "test"), splits, strict=True))
    described = "; ".join(f"{name} {described_part(part)}" for name, part in parts.items())
    log.info("%s: %s", shown(path), described)
    train = counts(parts["train"])
    for name, part in parts.items():
        if missing := [label for label, number in counts(part).items() if not number]:
            log.warning("%s: no %s images of %s", shown(path), name, named(missing))
    fewest, most = min(train, key=lambda c: train[c]), max(train, key=lambda c: train[c])
    if train[fewest] and train[most] >= IMBALANCE * train[fewest]:
        log.warning(
            "%s: the classes are of unequal size, %s with %d training images and %s with %d; "
            'class_weights = "balanced" weighs them alike',
            *(shown(path), most, train[most], fewest, train[fewest]),
        )


def counts(part: ImageSet) -> dict[str, int]:
    """Return the number of images of each class."""
    labels = part.labels[part.labels >= 0]
    return dict(
        zip(part.classes, labels.bincount(minlength=len(part.classes)).tolist(), strict=True)
    )


def described_part(part: ImageSet) -> str:
    """Return the numbers of a part in words."""
    found = {label: number for label, number in counts(part).items() if number}
    if not found:
        return f"{len(part):,} images"
    fewest, most = min(found, key=lambda c: found[c]), max(found, key=lambda c: found[c])
    sizes = f"{fewest} {found[fewest]:,} to {most} {found[most]:,}"
    if found[fewest] == found[most]:
        sizes = f"{found[most]:,} of each"
    return f"{len(part):,} images of {len(found)} classes ({sizes})"


def named(names: list[str]) -> str:
    """Return some names, and how many more there are."""
    more = f" and {len(names) - NUM_NAMED} more" if len(names) > NUM_NAMED else ""
    return ", ".join(names[:NUM_NAMED]) + more


def warn_of_shared_pictures(path: Path, parts: dict[str, Files]) -> None:
    """Warn of pictures that are both in training and in another part, byte for byte."""
    train = by_size(parts["train"])
    for part in [name for name in parts if name != "train"]:
        other = by_size(parts[part])
        shared = [file for size in train.keys() & other for file in same(train[size], other[size])]
        if shared:
            names = named([shown(file.relative_to(path)) for file in sorted(shared)])
            log.warning(
                "%s: %d %s images are training images, too: %s",
                *(shown(path), len(shared), part, names),
            )


def by_size(classes: Files) -> dict[int, list[Path]]:
    """Return files by their size in bytes: files of different sizes are different."""
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
    """Return the other files whose content is that of a training file."""
    known = {content_hash(file) for file in train}
    return [file for file in other if content_hash(file) in known]
