"""Suites on disk: detection of their layout, and checks whether they match the test images."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from ruggedize.core.errors import UserError
from ruggedize.core.places import absolute_path
from ruggedize.corruptions.arrays import ArraySuite, open_arrays
from ruggedize.corruptions.class_folders import ClassFolderSuite, open_class_folders
from ruggedize.corruptions.corrupting import corrupt
from ruggedize.corruptions.manifest import read_manifest
from ruggedize.corruptions.names import ALL, BENCHMARK, SEVERITIES
from ruggedize.corruptions.suites import Suite, Unpaired
from ruggedize.data import ImageSet, data_root
from ruggedize.kernels.types import Labels

PROBES = ("brightness", "contrast", "pixelate", "jpeg_compression")
"""Corruptions for recognising pairs of images, in order of preference.

They are deterministic and keep the image recognisable.
"""
StoredSuite = ArraySuite | ClassFolderSuite
NUM_COMPARED = 8  # images compared to recognise reversed severities
NUM_PROBED = 256  # images compared to recognise pairs, evenly spread over the set
LARGEST_DISTANCE = 12.0
"""Largest mean absolute difference (0..255) between our version of an image and the suite's.

Measured on 1,000 images of CIFAR-10: official images differ from ours by less than 0.1, or by less
than 11 after another JPEG of quality 85; different images by at least 22, and by 60 on average.
"""


def find_suite(name: str, root: str | os.PathLike[str] | None = None) -> Path:
    """Return the folder of a suite from its path or its name in the data folder.

    Raises:
        UserError: there is no such folder.
    """
    if (place := absolute_path(name)).is_dir():
        return place
    folder = data_root(root) / name
    if folder.is_dir():
        return folder
    raise UserError(
        f"there is no suite {name}: no such folder in {Path.cwd()} or {folder.parent};\n"
        "use generated or a folder in the layout of CIFAR-10-C or ImageNet-C, or download a suite "
        "with `ruggedize fetch cifar10-c`"
    )


def stored_suite(
    folder: Path, image_set: ImageSet, severities: tuple[int, ...] = SEVERITIES
) -> Suite:
    """Open a folder in the layout of CIFAR-10-C (`CORRUPTION.npy`) or ImageNet-C (image folders).

    If image i of the suite is not image i of `image_set`, the suite's `unpaired` holds its labels
    and the reason. Only the wanted `severities` have to exist.

    Raises:
        UserError: the layout is unknown, severities are in reverse order, or files are
            inconsistent with each other or with the data.
    """
    if any(folder.glob("*.npy")):
        suite, labels = open_arrays(folder, image_set, severities)
    elif any((folder / name).is_dir() for name in ALL):
        suite, labels = open_class_folders(folder, image_set, severities)
    else:
        reject_level_above(folder)
        raise UserError(
            f"{folder} has neither {ALL[0]}.npy (CIFAR-10-C) nor {ALL[0]}/1/CLASS/* (ImageNet-C);\n"
            "use the folder that contains the corruptions"
        )
    reason = why_unpaired(suite, labels, image_set)
    reject_reversed(folder, suite, image_set)
    return suite if reason is None else replace(suite, unpaired=Unpaired(labels, reason))


def is_suite(folder: Path) -> bool:
    """Return whether a folder has corruptions as arrays or as folders."""
    return any((folder / f"{n}.npy").is_file() or (folder / n).is_dir() for n in ALL)


def reject_level_above(folder: Path) -> None:
    """Raise UserError if the corruptions are in subfolders of this folder."""
    below = sorted(path for path in folder.iterdir() if path.is_dir() and is_suite(path))
    if len(below) == 1:
        raise UserError(f"the corruptions are a level deeper, in {below[0]};\nuse that folder")
    if below:
        raise UserError(
            f"the corruptions are a level deeper, in {', '.join(path.name for path in below)} of "
            f"{folder};\nmove all of them into one folder, or use one of these"
        )


def reject_reversed(folder: Path, suite: StoredSuite, image_set: ImageSet) -> None:
    """Raise UserError if severity 5 comes first, so that its images look like our severity 1."""
    probe = next((name for name in PROBES if name in suite.corruptions), None)
    mild, strong = suite.severities[0], suite.severities[-1]
    if probe is None or mild == strong or suite_length(suite) != len(image_set):
        return
    positions = range(min(NUM_COMPARED, len(image_set)))
    pairs = [(theirs, ours) for theirs in (mild, strong) for ours in (mild, strong)]
    same, crossed, crossed_too, same_too = (
        sum(distance(suite, probe, p, image_set, pair) for p in positions) for pair in pairs
    )
    if crossed + crossed_too < same + same_too and crossed < LARGEST_DISTANCE * len(positions):
        raise UserError(
            f"{folder} has its severities in reverse order: {probe} at severity {mild} looks like "
            f"severity {strong};\nreverse the order, so that the images of severity 1 come first"
        )


def suite_length(suite: StoredSuite) -> int:
    """Return the number of images per cell."""
    return suite.num_images if isinstance(suite, ArraySuite) else len(suite.files)


def reject_incomplete(folder: Path, suite: Suite) -> None:
    """Raise UserError if a suite is incomplete.

    A suite must have all files in its manifest or, without a manifest, the fifteen corruptions of
    the benchmark.
    """
    manifest = read_manifest(folder)
    listed = {name.removesuffix(".npy") for name in manifest.files} if manifest else {*BENCHMARK}
    if missing := [name for name in ALL if name in listed and name not in suite.corruptions]:
        raise UserError(
            f"{folder} lacks {', '.join(missing)};\n"
            "download or export it again, or select the corruptions to assess with --corruptions "
            "(assess.corruptions)"
        )


def why_unpaired(suite: StoredSuite, labels: Labels, image_set: ImageSet) -> str | None:
    """Return the reason if image i of a suite is not test image i; None if it is.

    The number of images, the labels, and some images under a mild, deterministic corruption are
    compared.
    """
    n = len(image_set)
    if len(labels) != n:
        return f"it has {len(labels):,} images, the data has {n:,} test images"
    if different := int((labels != image_set.labels).sum()):
        return f"{different:,} of its {n:,} labels differ from those of the test images"
    probe = next((name for name in PROBES if name in suite.corruptions), None)
    if probe is None:
        return f"it cannot be compared with the test images without one of {', '.join(PROBES)}"
    positions = np.unique(np.linspace(0, n - 1, min(n, NUM_PROBED)).round().astype(np.int64))
    same = suite.severities[0], suite.severities[0]
    num_different = sum(
        distance(suite, probe, int(p), image_set, same) > LARGEST_DISTANCE for p in positions
    )
    if num_different:
        return (
            f"{num_different} of {len(positions)} images compared under {probe} are not the test "
            "image at the same position: the order or the images differ"
        )
    return None


def distance(
    suite: Suite,
    probe: str,
    position: int,
    image_set: ImageSet,
    severities: tuple[int, int] = (1, 1),
) -> float:
    """Return the mean absolute difference (0..255) between an image of the suite and ours.

    `severities` are those of the suite's image and of ours, for which the closer of the presets
    cifar and imagenet is used.
    """
    clean, (theirs_at, ours_at) = image_set.images[position : position + 1], severities
    theirs = suite.images(probe, theirs_at, position, position + 1).float()
    ours = [corrupt(clean, probe, ours_at, preset=preset) for preset in ("cifar", "imagenet")]
    return min(float((images.float() - theirs).abs().mean()) for images in ours)
