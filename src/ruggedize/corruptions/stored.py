"""Suites that lie on disk: which layout it is, and whether it pairs with the test images."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from ruggedize.core.errors import UserError
from ruggedize.corruptions.arrays import open_arrays
from ruggedize.corruptions.class_folders import open_class_folders
from ruggedize.corruptions.corrupting import corrupt
from ruggedize.corruptions.manifest import read_manifest
from ruggedize.corruptions.names import ALL, BENCHMARK
from ruggedize.corruptions.suites import Suite, Unpaired
from ruggedize.data import ImageSet, data_root
from ruggedize.kernels.types import Labels

PROBES = ("brightness", "contrast", "pixelate", "jpeg_compression")
"""Corruptions by which pairs are recognised, tried in this order.

Nothing in them is random, and they leave the picture.
"""
NUM_PROBED = 256  # images, spread evenly over the set
LARGEST_DISTANCE = 12.0
"""Mean absolute difference, of 255, between our corruption of an image and the suite's.

Of the official files' images none differs from ours by 0.1, after another JPEG of quality 85 none
by 11; two different pictures differ by 22 or more, on the average by 60 (1,000 of CIFAR-10's).
"""


def find_suite(name: str, root: str | os.PathLike[str] | None = None) -> Path:
    """Find a suite's folder: a path, or the name of a folder where the data lie.

    Raises:
        UserError: there is no such folder.
    """
    for folder in (Path(name).expanduser(), data_root(root) / name):
        if folder.is_dir():
            return folder
    raise UserError(
        f"there is no suite {name}: no folder of that name here or in {data_root(root)};\n"
        "give generated, a folder laid out as CIFAR-10-C or ImageNet-C, or get one with "
        "`ruggedize fetch cifar10-c`"
    )


def stored_suite(folder: Path, image_set: ImageSet) -> Suite:
    """Open a folder laid out as CIFAR-10-C (`CORRUPTION.npy`) or ImageNet-C (folders of images).

    Where its images are not those of `image_set` at the same places, `unpaired` holds its own
    labels and says why.

    Raises:
        UserError: it is neither, or its files do not fit together or do not fit the data.
    """
    if any(folder.glob("*.npy")):
        suite, labels = open_arrays(folder, image_set)
    elif any((folder / name).is_dir() for name in ALL):
        suite, labels = open_class_folders(folder, image_set)
    else:
        raise UserError(
            f"{folder} holds neither {ALL[0]}.npy as CIFAR-10-C does nor {ALL[0]}/1/CLASS/* as "
            "ImageNet-C does;\nname the folder that holds the corruptions"
        )
    reason = why_unpaired(suite, labels, image_set)
    return suite if reason is None else replace(suite, unpaired=Unpaired(labels, reason))


def reject_incomplete(folder: Path, suite: Suite) -> None:
    """Reject to take what is left of a suite for the whole of it.

    Raises:
        UserError: a file that the manifest lists is missing; or, where there is no manifest, one of
            the fifteen corruptions of the benchmark.
    """
    manifest = read_manifest(folder)
    listed = {name.removesuffix(".npy") for name in manifest.files} if manifest else {*BENCHMARK}
    if missing := [name for name in ALL if name in listed and name not in suite.corruptions]:
        raise UserError(
            f"{folder} lacks {', '.join(missing)};\n"
            "fetch or write it again, or name those to be assessed: --corruptions "
            "(assess.corruptions)"
        )


def why_unpaired(suite: Suite, labels: Labels, image_set: ImageSet) -> str | None:
    """Return why a suite's images are not the test images, one by one; None if they are.

    Numbers and labels are compared, then pictures under the mildest corruption that is not random.
    """
    n = len(image_set)
    if len(labels) != n:
        return f"it holds {len(labels):,} images, the data {n:,} test images"
    if different := int((labels != image_set.labels).sum()):
        return f"{different:,} of its {n:,} labels are not those of the test images"
    probe = next((name for name in PROBES if name in suite.corruptions), None)
    if probe is None:
        return f"without one of {', '.join(PROBES)} it cannot be compared with the test images"
    positions = np.unique(np.linspace(0, n - 1, min(n, NUM_PROBED)).round().astype(np.int64))
    strangers = sum(distance(suite, probe, int(p), image_set) > LARGEST_DISTANCE for p in positions)
    if strangers:
        return (
            f"of {len(positions)} images under {probe}, {strangers} are not the test image at "
            "the same place: the order or the pictures are others"
        )
    return None


def distance(suite: Suite, probe: str, position: int, image_set: ImageSet) -> float:
    """Return how far the suite's image is from ours, under the preset that comes nearer."""
    clean = image_set.images[position : position + 1]
    theirs = suite.images(probe, 1, position, position + 1).float()
    ours = [corrupt(clean, probe, 1, preset=preset) for preset in ("cifar", "imagenet")]
    return min(float((images.float() - theirs).abs().mean()) for images in ours)
