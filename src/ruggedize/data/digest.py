"""Digests of the data of a run, to detect changes. This module does not import torch."""

import errno
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Int64, UInt8
from pydantic import BaseModel, ConfigDict

from ruggedize.core.errors import UserError
from ruggedize.data.file_list import FileList

DIGEST_BYTES = 8
FROZEN = ConfigDict(frozen=True, extra="forbid")


class PartDigest(BaseModel):
    """The number of images in one split, and digests of their labels and content.

    `content` covers file names (relative to the data folder) and sizes for images in files, and
    pixels for images in memory.
    """

    model_config = FROZEN
    images: int
    labels: str
    content: str


WHOLE_FOLDER = "all"  # the name of the part that a folder without parts is


class DataDigest(BaseModel):
    """Digests of all splits, and the place that the data was read from, which is not compared.

    `chosen` is the digest of the images that keep their label (`num_labels`) and of these labels.
    It is compared if both sides have it, because it is unknown before the images are read.
    """

    model_config = FROZEN
    place: str
    parts: dict[str, PartDigest]
    chosen: str | None = None

    def for_training(self) -> "DataDigest":
        """Return the digest without the test images, which training does not use."""
        parts = {name: part for name, part in self.parts.items() if name != "test"}
        return self.model_copy(update={"parts": parts})

    @property
    def is_whole_folder(self) -> bool:
        """Return whether these are all images of a folder without parts."""
        return WHOLE_FOLDER in self.parts

    def same_test_images(self, other: "DataDigest") -> bool:
        """Return whether both have the same test images: the part `test`, or else all parts."""
        ours, theirs = self.parts.get("test"), other.parts.get("test")
        return ours == theirs if ours or theirs else self.parts == other.parts

    def check_unchanged(self, now: "DataDigest", what: str) -> None:
        """Raise UserError if the data has changed since `what` (such as "the run") began."""
        if changes := self.changes(now):
            raise UserError(
                f"the data of {what} has changed ({now.place}): {'; '.join(changes)};\n"
                "restore the data, or start anew in another folder with --out"
            )

    def changes(self, now: "DataDigest") -> list[str]:
        """Describe how the data `now` differs from the data of this digest."""
        changes = []
        for name in sorted(self.parts.keys() | now.parts.keys()):
            before, after = self.parts.get(name), now.parts.get(name)
            if before is None or after is None:
                changes.append(f"{name} {'was added' if before is None else 'is missing'}")
            elif before != after:
                changes += [f"{name}: {change}" for change in part_changes(before, after)]
        if self.chosen and now.chosen and self.chosen != now.chosen and not changes:
            changes.append("other images keep their label (num_labels, label_seed)")
        return changes


def part_changes(before: PartDigest, after: PartDigest) -> list[str]:
    """Describe how one split has changed."""
    if before.images != after.images:
        return [f"{before.images:,} images before, {after.images:,} now"]
    changes = ["labels have changed"] if before.labels != after.labels else []
    if before.content != after.content:
        changes.append("file names, file sizes or pixels have changed")
    return changes


def folder_digest(
    folder: Path,
    parts: Mapping[str, Mapping[str, FileList]],
    elsewhere: Mapping[str, Path] | None = None,
) -> DataDigest:
    """Return the digest of a folder of images, from file names and sizes; decodes nothing.

    Args:
        folder: the data folder; file names are taken relative to it.
        parts: the files by split and class.
        elsewhere: the folders of splits that are not in the data folder.
    """
    folders = dict.fromkeys(parts, folder) | dict(elsewhere or {})
    return DataDigest(
        place=str(folder.absolute()),
        parts={part: files_digest(folders[part], classes) for part, classes in parts.items()},
    )


def files_digest(folder: Path, classes: Mapping[str, FileList]) -> PartDigest:
    """Return the digest of the files of one split."""
    labels, content = new_hash(), new_hash()
    num_images = 0
    for name, files in classes.items():
        labels.update(f"{name}\0{len(files)}\0".encode())
        for file in files:
            relative = os.path.relpath(file, folder)
            content.update(os.fsencode(relative) + f"\0{size_of(file)}\0".encode())
        num_images += len(files)
    return PartDigest(images=num_images, labels=labels.hexdigest(), content=content.hexdigest())


def size_of(file: Path) -> int:
    """Return the size of a file in bytes; -1 for a broken link or a link to itself."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return -1
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return -1


def array_digest(
    labels: Int64[np.ndarray, " n"], pixels: UInt8[np.ndarray, "n c h w"]
) -> PartDigest:
    """Return the digest of images in memory."""
    labels_hash, content = new_hash(), new_hash()
    labels_hash.update(np.ascontiguousarray(labels).data)
    content.update(np.ascontiguousarray(pixels).data)
    return PartDigest(
        images=len(labels), labels=labels_hash.hexdigest(), content=content.hexdigest()
    )


def choice_digest(index: Int64[np.ndarray, " n"], labels: Int64[np.ndarray, " n"]) -> str:
    """Return the digest of the images that keep their label, and of these labels."""
    chosen = new_hash()
    chosen.update(np.ascontiguousarray(index).data)
    chosen.update(np.ascontiguousarray(labels).data)
    return chosen.hexdigest()


def new_hash() -> "hashlib.blake2b":
    """Return a new hash object of the kind that all digests use."""
    return hashlib.blake2b(digest_size=DIGEST_BYTES)
