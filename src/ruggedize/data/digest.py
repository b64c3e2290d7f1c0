"""What identifies the data of a run: counts, labels, file names and sizes or pixels. No torch."""

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
    """One part of the data: how many images, and digests of their labels and of their content.

    The content of images in files is their names, relative to the folder of the data, and their
    sizes; that of images in memory is their pixels.
    """

    model_config = FROZEN
    images: int
    labels: str
    content: str


class DataDigest(BaseModel):
    """All parts of the data, and where it was read; a folder that was moved is the same data."""

    model_config = FROZEN
    place: str
    parts: dict[str, PartDigest]

    def for_training(self) -> "DataDigest":
        """Return the digest without the test images, which no training touches."""
        parts = {name: part for name, part in self.parts.items() if name != "test"}
        return self.model_copy(update={"parts": parts})

    def check_unchanged(self, now: "DataDigest", what: str) -> None:
        """Raise UserError if the data differs now from that of `what`, a run or a training."""
        if changes := self.changes(now):
            raise UserError(
                f"the data of {what} has changed ({now.place}): {'; '.join(changes)};\n"
                "bring it back as it was, or give another folder with --out"
            )

    def changes(self, now: "DataDigest") -> list[str]:
        """Describe what differs now from the data that this digest was made of."""
        found = []
        for name in sorted(self.parts.keys() | now.parts.keys()):
            before, after = self.parts.get(name), now.parts.get(name)
            if before is None or after is None:
                found.append(f"{name} {'appeared' if before is None else 'is gone'}")
            elif before != after:
                found += [f"{name}: {change}" for change in part_changes(before, after)]
        return found


def part_changes(before: PartDigest, after: PartDigest) -> list[str]:
    """Describe what differs between two states of one part."""
    if before.images != after.images:
        return [f"{before.images:,} images then, {after.images:,} now"]
    changes = ["the labels differ"] if before.labels != after.labels else []
    if before.content != after.content:
        changes.append("file names, file sizes or pixels differ")
    return changes


def folder_digest(folder: Path, parts: Mapping[str, Mapping[str, FileList]]) -> DataDigest:
    """Return the digest of a folder of images from its files' names and sizes; decodes nothing.

    Args:
        folder: what the names are relative to.
        parts: the files by part and class.
    """
    return DataDigest(
        place=str(folder.absolute()),
        parts={part: files_digest(folder, classes) for part, classes in parts.items()},
    )


def files_digest(folder: Path, classes: Mapping[str, FileList]) -> PartDigest:
    """Return the digest of one part's files."""
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
    """Return a file's size in bytes; -1 for a link that leads nowhere."""
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return -1


def array_digest(
    labels: Int64[np.ndarray, " n"], pixels: UInt8[np.ndarray, "n c h w"]
) -> PartDigest:
    """Return the digest of images in memory."""
    own, content = new_hash(), new_hash()
    own.update(np.ascontiguousarray(labels).data)
    content.update(np.ascontiguousarray(pixels).data)
    return PartDigest(images=len(labels), labels=own.hexdigest(), content=content.hexdigest())


def new_hash() -> "hashlib.blake2b":
    """Return the hash function of all digests."""
    return hashlib.blake2b(digest_size=DIGEST_BYTES)
