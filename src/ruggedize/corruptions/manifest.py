"""`manifest.json`: the settings of a folder of corrupted images, and the hashes of its files."""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.core.reading import read_bytes
from ruggedize.data import ImageSet

NAME = "manifest.json"

HASH_BATCH = 1_000  # images per batch, because streamed images are not all in memory


class Manifest(BaseModel):
    """All settings that the pixels depend on, and the finished files."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Literal["ruggedize-corruptions-1"] = "ruggedize-corruptions-1"
    ruggedize: str
    data: str
    images_sha256: str
    """Hash of the clean images and their labels."""
    num_images: int
    classes: tuple[str, ...]
    suite: dict[str, str]
    """The settings of the suite: seed, preset, image size."""
    files: dict[str, str] = {}
    """SHA-256 of every finished file."""


def read_manifest(folder: Path) -> Manifest | None:
    """Read the manifest of a folder; return None if it has none."""
    path = folder / NAME
    if not path.exists():
        return None
    try:
        return Manifest.model_validate_json(read_bytes(path))
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"]) or "its JSON"
        raise UserError(
            f"{path} is damaged at {place}: {fault['msg']};\n"
            "delete the folder and create it again with `ruggedize corrupt`"
        ) from None


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json`, deterministically."""
    files.write_json(folder / NAME, manifest.model_dump(mode="json"))


def fingerprint(image_set: ImageSet) -> str:
    """Return a hash of the images and labels, to detect different data with the same name."""
    digest = hashlib.sha256()
    for start in range(0, len(image_set), HASH_BATCH):
        batch = image_set.images[start : start + HASH_BATCH]
        digest.update(batch.contiguous().numpy().data)
    digest.update(image_set.labels.contiguous().numpy().data)
    return digest.hexdigest()
