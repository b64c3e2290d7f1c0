"""Downloads: checked by their hash, unpacked safely, and in place whole or not at all."""

import contextlib
import os
import shutil
import tarfile
import tempfile
import textwrap
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ruggedize.core.errors import UserError
from ruggedize.core.lock import only_writer
from ruggedize.core.progress import Progress, no_progress
from ruggedize.data.root import data_root

TIMEOUT = 30  # seconds without a byte
CHUNK = 1 << 18  # bytes
SCRATCH = ".fetch-"  # how the name of a folder begins in which an archive arrives
YOUNG_SECONDS = 60.0  # such a folder may have no lock yet


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A tar archive on the network and the one folder that it holds."""

    name: str
    urls: tuple[str, ...]  # tried in this order; all hold the same bytes
    md5: str
    folder: str
    option: Literal["--data-root", "--suite"] = "--data-root"  # under which the folder is used


ARCHIVES = (
    Archive(
        name="cifar10",
        urls=("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
        md5="c32a1d4ab5d03f1284b67883e8d87530",
        folder="cifar-10-batches-bin",
    ),
    Archive(
        name="cifar100",
        urls=("https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",),
        md5="03b5dce01913d631647c71ecec9e9cb8",
        folder="cifar-100-binary",
    ),
    Archive(
        name="cifar10-c",
        urls=("https://zenodo.org/records/2535967/files/CIFAR-10-C.tar?download=1",),
        md5="56bf5dcef84df0e2308c6dcbcbbd8499",
        folder="CIFAR-10-C",
        option="--suite",
    ),
    Archive(
        name="cifar100-c",
        urls=("https://zenodo.org/records/3555552/files/CIFAR-100-C.tar?download=1",),
        md5="11f0ed0f1191edbf9fa23466ae6021d3",
        folder="CIFAR-100-C",
        option="--suite",
    ),
)


def fetch(
    name: str,
    root: str | os.PathLike[str] | None = None,
    progress: Progress = no_progress,
) -> Path:
    """Download data or a suite unless it is there, and give the folder to name in its option.

    Args:
        name: cifar10, cifar100, cifar10-c or cifar100-c.
        root: folder to put it in; default: RUGGEDIZE_DATA, else a folder of the user's cache.
        progress: told how many bytes of how many have come.
    """
    for archive in ARCHIVES:
        if archive.name == name:
            place = fetch_archive(archive, data_root(root), progress)
            return place / archive.folder if archive.option == "--suite" else place
    names = ", ".join(archive.name for archive in ARCHIVES)
    raise UserError(f"{name} cannot be fetched; give one of {names}")


def fetch_archive(archive: Archive, root: Path, progress: Progress = no_progress) -> Path:
    """Download, check and unpack beside the place, then move into it in one step."""
    place = root / archive.folder
    if place.exists():
        return root
    try:
        root.mkdir(parents=True, exist_ok=True)
        with scratch_folder(root) as scratch:
            packed = scratch / "archive"
            download(archive, packed, progress)
            unpacked = unpack(archive, packed, scratch / "unpacked")
            move_into_place(unpacked, place)
    except OSError as error:
        raise UserError(
            f"{archive.name} cannot be written to {root}: {error.strerror or error}\n"
            "name a folder with room that can be written, with --data-root DIR"
        ) from error
    return root


@contextlib.contextmanager
def scratch_folder(root: Path) -> Iterator[Path]:
    """Yield a folder for what arrives, removed in the end; clear what killed downloads left.

    One that is under way holds its folder's lock.
    """
    for left in root.glob(f"{SCRATCH}*/"):
        with contextlib.suppress(FileNotFoundError, UserError):  # it was done, or is at work
            if time.time() - left.stat().st_mtime > YOUNG_SECONDS:
                with only_writer(left):
                    shutil.rmtree(left)
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=root) as name, only_writer(Path(name)):
        yield Path(name)


def download(archive: Archive, target: Path, progress: Progress) -> None:
    """Try every mirror until the archive with the right hash is there."""
    failures: list[str] = []
    for url in archive.urls:
        failure = download_from(url, archive, target, progress)
        if failure is None:
            return
        failures.append(f"{url}: {failure}")
    where = archive.folder if archive.option == "--suite" else f"that holds {archive.folder}"
    raise UserError(
        f"{archive.name} could not be downloaded: {'; '.join(failures)}\n"
        f"without a network: unpack that archive (md5 {archive.md5}) elsewhere and name the "
        f"folder {where} with {archive.option} DIR"
    )


def download_from(url: str, archive: Archive, target: Path, progress: Progress) -> str | None:
    """Download from one mirror; what went wrong, or nothing."""
    import pooch  # takes a while to import, and most runs never download

    bar: Any = ProgressBar(archive.name, progress)
    try:
        pooch.HTTPDownloader(progressbar=bar, chunk_size=CHUNK, timeout=TIMEOUT)(
            url, str(target), None
        )
    except OSError as error:
        if error.errno is not None:  # the disk; what the network raises bears no number
            raise
        return textwrap.shorten(str(error), 200)
    if pooch.file_hash(str(target), alg="md5") == archive.md5:
        return None
    with target.open("rb") as file:
        is_page = file.read(64).lstrip().startswith(b"<")
    return "a web page came instead of the archive" if is_page else "the hash is wrong"


class ProgressBar:
    """What pooch wants to move, in terms of our progress."""

    def __init__(self, task: str, progress: Progress) -> None:
        self.task = task
        self.progress = progress
        self.done = 0
        self.total = 0  # set by pooch

    def update(self, num_bytes: int) -> None:
        """Count bytes; pooch counts whole chunks, the last one too."""
        self.done = min(self.done + num_bytes, self.total)
        self.progress(self.task, self.done, self.total)

    def reset(self) -> None:
        """Begin anew, as pooch does before it fills the bar."""
        self.done = 0

    def close(self) -> None:
        """Do nothing: whoever gave the progress ends it."""


def unpack(archive: Archive, packed: Path, target: Path) -> Path:
    """Unpack plain files and folders, and only to below `target`; the archive's one folder."""
    try:
        with tarfile.open(packed) as tar:
            for member in tar.getmembers():
                path = PurePosixPath(member.name)
                is_plain = member.isfile() or member.isdir()
                if not is_plain or path.is_absolute() or ".." in path.parts:
                    raise UserError(
                        f"{archive.name}: the archive holds {member.name!r}, which is a link or "
                        "leads out of its folder; nothing was unpacked, do not use this archive"
                    )
            tar.extractall(target, filter="data")
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(
            f"{archive.name}: the archive cannot be unpacked ({error}); fetch it again"
        ) from error
    if not (target / archive.folder).is_dir():
        raise UserError(f"{archive.name}: the archive holds no {archive.folder}; fetch it again")
    return target / archive.folder


def move_into_place(unpacked: Path, place: Path) -> None:
    """Rename in one step; another process may have been faster, with the same files."""
    try:
        unpacked.rename(place)
    except OSError:
        if not place.is_dir():
            raise
