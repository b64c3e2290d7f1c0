"""The six photographs of frost: where they lie, how they are checked, and how they are fetched."""

import os
import subprocess
import sys
import textwrap
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image
from platformdirs import user_cache_path

from ruggedize.core.errors import UserError
from ruggedize.core.files import sha256
from ruggedize.data import move_into_place, scratch_folder

VARIABLE = "RUGGEDIZE_FROST"
REQUIREMENT = "imagecorruptions==1.1.2"  # Apache-2.0; the official files, byte for byte
WHEEL = "imagecorruptions-1.1.2-py3-none-any.whl"
WHEEL_SHA256 = "d0e4bf529ba6fbb27d8aba1bde7c5db43bf2b969b2c767c11419e939e3e365b8"
INSIDE = "imagecorruptions/frost"
SHA256 = {
    "frost1.png": "ff9f907860bd7a835d459e32f9d588062b7f61ee267343cc7222b56753a14755",
    "frost2.png": "fe211a89b336999c207a852ce05818d4545d0b57c5beadd824b4cc9d9a9b6137",
    "frost3.png": "2d0d50b4a9bb213f38b024ef7768731bb83cc08d2f26b5766bbc167cdfa0e504",
    "frost4.jpg": "3f8b91ca1a9fa7167b09e773da53f5ae60d0a1fd88f02a783f6e328a72887f6e",
    "frost5.jpg": "5fc6a19df4a429ba68abdcc8f8a4278d4c9f81c9ccafd2c92ab0c8cf8992ebd2",
    "frost6.jpg": "1f92b2f48408748085b68dd81d816ef239f42cef3029c25d041fcb6760fb4f25",
}
NUM_USED = 5  # the official scripts draw from the first five


def frost_folder() -> Path:
    """Return the folder of the photographs: RUGGEDIZE_FROST, else one of the user's cache."""
    named = os.environ.get(VARIABLE)
    return Path(named).expanduser() if named else user_cache_path("ruggedize") / "frost"


def check_photographs(folder: Path) -> None:
    """Reject a folder that does not hold the six photographs unchanged, naming the cures."""
    for name, expected in SHA256.items():
        if not (folder / name).is_file():
            raise UserError(
                f"frost needs its photographs, and {folder / name} is not there:\n"
                "get them with `ruggedize fetch frost`, or choose our own textures with\n"
                "--option frost.textures=procedural (of a recipe: --set "
                "assess.corruption_options.frost.textures=procedural)"
            )
        if sha256(folder / name) != expected:
            raise UserError(
                f"{folder / name} is not the photograph of that name: its hash is another;\n"
                f"remove {folder} and run `ruggedize fetch frost`"
            )


@cache
def load_photographs(folder: Path) -> tuple[np.ndarray, ...]:
    """Return the photographs that are used: RGB, uint8 `[3, h, w]` each.

    Transparency is ignored, as OpenCV does.
    """
    check_photographs(folder)
    pictures = []
    for name in list(SHA256)[:NUM_USED]:
        with Image.open(folder / name) as picture:
            pictures.append(np.array(picture.convert("RGB")).transpose(2, 0, 1))
    return tuple(pictures)


def fetch_frost() -> Path:
    """Download the six photographs unless they are there; return their folder.

    They come from the wheel of `imagecorruptions`, through pip, so that a configured index is
    used; the package is not installed, and none of its code is run.
    """
    folder = frost_folder()
    if folder.is_dir() and any(folder.iterdir()):
        reject_foreign(folder)
        check_photographs(folder)
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(folder.parent) as scratch:
            wheel = download_wheel(scratch)
            move_into_place(take_pictures(wheel, scratch / "frost"), folder)
    except OSError as error:
        raise UserError(
            f"frost cannot be written to {folder}: {error.strerror or error}\n"
            f"name a folder that can be written with {VARIABLE}=DIR"
        ) from error
    check_photographs(folder)
    return folder


def reject_foreign(folder: Path) -> None:
    """Reject to fetch into a folder that holds something else."""
    if missing := [name for name in SHA256 if not (folder / name).is_file()]:
        raise UserError(
            f"{folder} holds other files, but not {missing[0]}; nothing was fetched:\n"
            f"remove it, or name another folder with {VARIABLE}=DIR"
        )


def download_wheel(target: Path) -> Path:
    """Download the archive with pip, and check that it is the one that is meant."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--quiet", "--no-input", "--disable-pip-version-check", "--dest", str(target)]
    done = subprocess.run(
        [*command, REQUIREMENT], stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["no reason given"]
        raise not_fetched(f"pip: {textwrap.shorten(said[-1], 200)}")
    if not (target / WHEEL).is_file() or sha256(target / WHEEL) != WHEEL_SHA256:
        raise not_fetched("the hash of what came is wrong")
    return target / WHEEL


def not_fetched(reason: str) -> UserError:
    """Return the error of missing photographs, with how to get them without a network."""
    return UserError(
        f"the photographs of frost could not be fetched: {reason}\n"
        f"without a network: unzip {INSIDE}/* of {WHEEL} (from PyPI) elsewhere\n"
        f"and put the six pictures into {frost_folder()}, or name their folder with {VARIABLE}=DIR"
    )


def take_pictures(wheel: Path, target: Path) -> Path:
    """Copy the six pictures, and nothing else, out of the archive."""
    target.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name, expected in SHA256.items():
            (target / name).write_bytes(archive.read(f"{INSIDE}/{name}"))
            if sha256(target / name) != expected:
                raise not_fetched(f"the hash of {name} is wrong")
    return target
