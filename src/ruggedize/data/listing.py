"""The image files below a folder, in a stable order."""

import errno
import logging
import os
from pathlib import Path

from ruggedize.core.errors import UserError, shown

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
ENDINGS = tuple(suffix.encode() for suffix in SUFFIXES)
JUNK = frozenset(  # folders left by network storage, archivers, editors and systems
    {b"__macosx", b"@eadir", b"@tmp", b"@recycle", b"#recycle", b"#snapshot", b"$recycle.bin"}
    | {b"recycler", b"system volume information", b"lost+found", b"found.000", b"__pycache__"}
    | {
        b"@synoresource",
        b"@__thumb",
        b"@recently-snapshot",
        b"@sharesnap",
        b"lost.dir",
        b"~snapshot",
    }
    | {b"network trash folder", b"temporary items", b"canonmsc", b"thumbnails", b"node_modules"}
)
log = logging.getLogger(__name__)


def is_hidden(name: bytes) -> bool:
    """Return whether a file or folder is hidden, or the lock file of an office program."""
    return name.startswith((b".", b"~$"))


def is_junk(name: bytes) -> bool:
    """Return whether a folder is hidden or left by a system, so that it holds no user data."""
    return is_hidden(name) or name.lower() in JUNK


def leads_back(place: bytes, start: bytes) -> bool:
    """Return whether a link in the folder `start` leads to a folder that contains it."""
    above = os.path.realpath(place)
    return (os.path.realpath(start) + b"/").startswith(above.rstrip(b"/") + b"/")


def list_images(path: Path) -> list[Path]:
    """Return the image file itself, or all image files below a folder, sorted."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(
            f"{shown(path)} does not exist;\nchoose an image file or a folder of images"
        )
    return [path / os.fsdecode(name) for name in image_names(path)]


def image_names(folder: Path, *, may_be_empty: bool = False) -> list[bytes]:
    """Return the sorted names of all image files below a folder, relative to it, with `/`.

    Hidden files and folders, and folders left by systems, are skipped.
    """
    found = visible_files(folder)
    names = [name for name in found if name.lower().endswith(ENDINGS)]
    if not names and not may_be_empty:
        raise UserError(f"{shown(folder)} contains no images;\nadd some ({' '.join(SUFFIXES)})")
    if len(found) > len(names):
        log.warning(
            "%s: ignored %s; only %s are read",
            *(shown(folder), counted_files(len(found) - len(names)), " ".join(SUFFIXES)),
        )
    return sorted(names)


def counted_files(number: int) -> str:
    """Return a number of files in words: "1 file", "2 files"."""
    return f"{number:,} file" if number == 1 else f"{number:,} files"


def is_folder(entry: os.DirEntry[bytes]) -> bool:
    """Return whether an entry is a folder or a link to one; False for a link to itself."""
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        return False


def visible_files(folder: Path) -> list[bytes]:
    """Return the names of all visible files at any depth, relative to the folder.

    Links to folders are followed, but each folder is read once. Pipes and devices are skipped,
    because reading one may never end; broken links are listed.
    """
    root = os.fsencode(folder)
    names: list[bytes] = []
    waiting = [b""]  # folders to read, relative to `folder`, with a trailing slash
    seen: set[tuple[int, int]] = set()
    while waiting:
        start = waiting.pop()
        status = os.stat(os.path.join(root, start))
        if (status.st_dev, status.st_ino) in seen:
            place = os.fsdecode(os.path.join(root, start))
            log.warning("%s links to a folder that has already been read", shown(place))
            continue
        seen.add((status.st_dev, status.st_ino))
        with os.scandir(os.path.join(root, start)) as entries:
            for entry in sorted(entries, key=lambda e: e.is_symlink()):  # links come last
                if is_hidden(entry.name):
                    continue
                if is_folder(entry):
                    if entry.is_symlink() and leads_back(entry.path, os.path.join(root, start)):
                        place = shown(os.fsdecode(entry.path))
                        log.warning("%s links to a folder that it lies in; it is skipped", place)
                    elif not is_junk(entry.name):
                        waiting.insert(0, start + entry.name + b"/")
                elif entry.is_symlink() or entry.is_file():
                    names.append(start + entry.name)
    return names
