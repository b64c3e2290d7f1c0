"""A suite written as files in the layout of CIFAR-10-C, which other tools read too.

Source: Hendrycks & Dietterich 2019; CIFAR-10-C is Zenodo's record 2535967.
"""

import hashlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ruggedize.core import files
from ruggedize.core.environment import version
from ruggedize.core.errors import UserError
from ruggedize.core.lock import only_writer
from ruggedize.core.progress import Progress, no_progress
from ruggedize.corruptions.arrays import LABELS
from ruggedize.corruptions.manifest import (
    NAME,
    Manifest,
    fingerprint,
    read_manifest,
    write_manifest,
)
from ruggedize.corruptions.names import SEVERITIES
from ruggedize.corruptions.suites import Suite, chosen_names
from ruggedize.data import ImageSet

BLOCK_BYTES = 1 << 25  # of images that are corrupted and written together


def export_suite(
    suite: Suite,
    image_set: ImageSet,
    folder: Path,
    *,
    data: str,
    corruptions: tuple[str, ...] | None = None,
    progress: Progress = no_progress,
) -> None:
    """Write `CORRUPTION.npy`, uint8 `[5 n, h, w, 3]`, `labels.npy` and `manifest.json`.

    The images of severity 1 come first, then those of severity 2, and so on. Files are whole or
    absent; those that a manifest of the same settings lists with their hash are not made again.

    Args:
        suite: over `image_set`, image for image.
        image_set: the clean images, for their labels and classes.
        folder: new, or one that an earlier call has begun.
        data: the data set's name, for the manifest.
        corruptions: which; default: all of the suite.
        progress: told how many images are written.

    Raises:
        UserError: the suite lacks a corruption; the folder holds something else, or images of
            other settings (which are named).
    """
    wanted = wanted_manifest(suite, image_set, data)
    earlier_or(folder, wanted)  # refuses before a folder is made
    names = chosen_names(suite, corruptions)
    with only_writer(folder):
        manifest = earlier_or(folder, wanted)  # another writer may have finished meanwhile
        if not (folder / NAME).exists():
            write_manifest(folder, manifest)
        manifest = with_labels(folder, manifest, image_set)
        write_corruptions(suite, names, folder, manifest, progress)


def write_corruptions(
    suite: Suite, names: list[str], folder: Path, manifest: Manifest, progress: Progress
) -> None:
    """Write the arrays that are not finished yet."""
    n, (height, width) = manifest.num_images, image_size(suite)
    total = len(names) * len(SEVERITIES) * n
    for place, name in enumerate(names):
        done, file = place * len(SEVERITIES) * n, f"{name}.npy"
        if not is_finished(folder, manifest, file):
            shape = (len(SEVERITIES) * n, height, width, 3)
            blocks = counted(blocks_of(suite, name, n), done, total, progress)
            manifest = listed(folder, manifest, file, write_array(folder / file, shape, blocks))
        progress("corrupt", done + len(SEVERITIES) * n, total)


def wanted_manifest(suite: Suite, image_set: ImageSet, data: str) -> Manifest:
    """Describe what is to be written."""
    return Manifest(
        ruggedize=str(version("ruggedize")),
        data=data,
        images_sha256=fingerprint(image_set),
        num_images=len(image_set),
        classes=image_set.classes,
        suite=suite.describe(),
    )


def earlier_or(folder: Path, wanted: Manifest) -> Manifest:
    """Return the manifest of a folder begun with the same settings, else the wanted one."""
    earlier = read_manifest(folder)
    if earlier is None:
        if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise UserError(
                f"{folder} holds files, but no {NAME} of ruggedize;\n"
                "give a new folder with --out, so that nothing is overwritten"
            )
        return wanted
    if keys := differing_settings(earlier, wanted):
        raise UserError(
            f"{folder} holds images of other settings; it differs in {', '.join(keys)};\n"
            "give another folder with --out, or delete this one"
        )
    return earlier


def differing_settings(ours: Manifest, theirs: Manifest) -> list[str]:
    """Name the settings in which two manifests differ."""
    left, right = (settings(manifest) for manifest in (ours, theirs))
    keys = [*left, *(key for key in right if key not in left)]
    return [key for key in keys if left.get(key) != right.get(key)]


def settings(manifest: Manifest) -> dict[str, Any]:
    """Return what the pixels depend on."""
    return manifest.model_dump(exclude={"data", "files", "suite"}) | dict(manifest.suite)


def with_labels(folder: Path, manifest: Manifest, image_set: ImageSet) -> Manifest:
    """Write the labels, once for each severity."""
    if is_finished(folder, manifest, LABELS):
        return manifest
    packed = io.BytesIO()
    np.save(packed, np.tile(image_set.labels.numpy(), len(SEVERITIES)), allow_pickle=False)
    files.write_atomically(folder / LABELS, packed.getvalue())
    return listed(folder, manifest, LABELS, hashlib.sha256(packed.getvalue()).hexdigest())


def is_finished(folder: Path, manifest: Manifest, file: str) -> bool:
    """Return whether a file is there as the manifest says; it is read to be sure."""
    path, known = folder / file, manifest.files.get(file)
    return known is not None and path.is_file() and files.sha256(path) == known


def listed(folder: Path, manifest: Manifest, file: str, sha256: str) -> Manifest:
    """Add a finished file to the manifest on disk."""
    longer = manifest.model_copy(update={"files": manifest.files | {file: sha256}})
    write_manifest(folder, longer)
    return longer


def blocks_of(suite: Suite, corruption: str, n: int) -> Iterator[np.ndarray]:
    """Return a corruption's images as uint8 `[b, h, w, 3]`, severity after severity."""
    height, width = image_size(suite)
    size = max(1, BLOCK_BYTES // (3 * height * width))
    for severity in SEVERITIES:
        for start in range(0, n, size):
            images = suite.images(corruption, severity, start, min(start + size, n))
            yield images.permute(0, 2, 3, 1).contiguous().numpy()


def image_size(suite: Suite) -> tuple[int, int]:
    """Return the height and width of a suite's images."""
    height, width = suite.images(suite.corruptions[0], SEVERITIES[0], 0, 0).shape[2:]
    return height, width


def counted(
    blocks: Iterable[np.ndarray], done: int, total: int, progress: Progress
) -> Iterator[np.ndarray]:
    """Pass blocks on, telling how many images have gone by."""
    for block in blocks:
        yield block
        done += len(block)
        if done < total:  # the end is told once, when the file is in its place
            progress("corrupt", done, total)


def write_array(path: Path, shape: tuple[int, ...], blocks: Iterable[np.ndarray]) -> str:
    """Write a `.npy` file block by block, whole or not at all; give its SHA-256."""
    header = io.BytesIO()
    described = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, described)
    digest = hashlib.sha256(header.getvalue())
    with files.whole_file(path) as file:
        file.write(header.getvalue())
        for block in blocks:
            file.write(block.data)
            digest.update(block.data)
    return digest.hexdigest()
