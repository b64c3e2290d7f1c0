"""Export of suites as files in the layout of CIFAR-10-C, which other tools can read.

Source: Hendrycks & Dietterich 2019; CIFAR-10-C is Zenodo record 2535967.
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

BLOCK_BYTES = 1 << 25  # size of a block of images that are corrupted and written at a time


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

    The images of severity 1 come first, then those of severity 2, and so on. Files are written
    atomically. Finished files, which the manifest lists with their hash, are skipped.

    Args:
        suite: the suite to write, which corrupts `image_set`.
        image_set: the clean images, with their labels and classes.
        folder: a new folder, or the folder of an earlier call to complete.
        data: the name of the data set, for the manifest.
        corruptions: the corruptions to write; default: all corruptions of the suite.
        progress: called as `progress(task, images_written, total)` after every block.

    Raises:
        UserError: the suite lacks a corruption, or the folder contains other files or images
            made with other settings.
    """
    new = new_manifest(suite, image_set, data)
    existing_or_new(folder, new)  # rejects an unsuitable folder before anything is written
    names = chosen_names(suite, corruptions)
    with only_writer(folder):
        manifest = existing_or_new(folder, new)  # another writer may have finished in the meantime
        if not (folder / NAME).exists():
            write_manifest(folder, manifest)
        manifest = with_labels(folder, manifest, image_set)
        write_corruptions(suite, names, folder, manifest, progress)


def write_corruptions(
    suite: Suite, names: list[str], folder: Path, manifest: Manifest, progress: Progress
) -> None:
    """Write the arrays that are not finished."""
    n, (height, width) = manifest.num_images, image_size(suite)
    total = len(names) * len(SEVERITIES) * n
    for position, name in enumerate(names):
        done, file = position * len(SEVERITIES) * n, f"{name}.npy"
        if not is_finished(folder, manifest, file):
            shape = (len(SEVERITIES) * n, height, width, 3)
            blocks = with_progress(blocks_of(suite, name, n), done, total, progress)
            sha256 = write_array(folder / file, shape, blocks)
            manifest = with_file(folder, manifest, file, sha256)
        progress("corrupt", done + len(SEVERITIES) * n, total)


def new_manifest(suite: Suite, image_set: ImageSet, data: str) -> Manifest:
    """Build the manifest of a suite, without files."""
    return Manifest(
        ruggedize=str(version("ruggedize")),
        data=data,
        images_sha256=fingerprint(image_set),
        num_images=len(image_set),
        classes=image_set.classes,
        suite=suite.describe(),
    )


def existing_or_new(folder: Path, new: Manifest) -> Manifest:
    """Return the manifest of a folder if it has the same settings, or `new` if it has none.

    Raises:
        UserError: the folder contains other files, or images made with other settings.
    """
    existing = read_manifest(folder)
    if existing is None:
        if folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
            raise UserError(
                f"{folder} is not empty and has no {NAME} of ruggedize;\n"
                "choose a new folder with --out"
            )
        return new
    if keys := differing_settings(existing, new):
        raise UserError(
            f"{folder} contains images made with other settings; they differ in "
            f"{', '.join(keys)};\nchoose another folder with --out, or delete this one"
        )
    return existing


def differing_settings(ours: Manifest, theirs: Manifest) -> list[str]:
    """Return the names of the settings in which two manifests differ."""
    left, right = (settings(manifest) for manifest in (ours, theirs))
    keys = [*left, *(key for key in right if key not in left)]
    return [key for key in keys if left.get(key) != right.get(key)]


def settings(manifest: Manifest) -> dict[str, Any]:
    """Return the settings that the pixels depend on."""
    return manifest.model_dump(exclude={"data", "files", "suite"}) | dict(manifest.suite)


def with_labels(folder: Path, manifest: Manifest, image_set: ImageSet) -> Manifest:
    """Write the labels, repeated for each severity; return the updated manifest."""
    if is_finished(folder, manifest, LABELS):
        return manifest
    packed = io.BytesIO()
    np.save(packed, np.tile(image_set.labels.numpy(), len(SEVERITIES)), allow_pickle=False)
    files.write_atomically(folder / LABELS, packed.getvalue())
    return with_file(folder, manifest, LABELS, hashlib.sha256(packed.getvalue()).hexdigest())


def is_finished(folder: Path, manifest: Manifest, file: str) -> bool:
    """Return whether a file exists and has the hash in the manifest."""
    path, sha256 = folder / file, manifest.files.get(file)
    return sha256 is not None and path.is_file() and files.sha256(path) == sha256


def with_file(folder: Path, manifest: Manifest, file: str, sha256: str) -> Manifest:
    """Add a finished file to the manifest, in memory and on disk."""
    updated = manifest.model_copy(update={"files": manifest.files | {file: sha256}})
    write_manifest(folder, updated)
    return updated


def blocks_of(suite: Suite, corruption: str, n: int) -> Iterator[np.ndarray]:
    """Yield the images of a corruption as uint8 `[b, h, w, 3]`, severity by severity."""
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


def with_progress(
    blocks: Iterable[np.ndarray], done: int, total: int, progress: Progress
) -> Iterator[np.ndarray]:
    """Yield the blocks, reporting progress after each."""
    for block in blocks:
        yield block
        done += len(block)
        if done < total:  # the last block is reported once the file is in place
            progress("corrupt", done, total)


def write_array(path: Path, shape: tuple[int, ...], blocks: Iterable[np.ndarray]) -> str:
    """Write a `.npy` file block by block, atomically; return its SHA-256."""
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
