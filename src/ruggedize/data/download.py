"""Downloads: verified by hash, unpacked safely, and moved into place atomically."""

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

from ruggedize.core.errors import UserError, shown
from ruggedize.core.files import is_own
from ruggedize.core.lock import only_writer
from ruggedize.core.progress import Progress, no_progress
from ruggedize.data.root import data_root

TIMEOUT = 30  # seconds without receiving data
CHUNK = 1 << 18  # bytes
MAX_SUITE_BYTES = 1 << 32  # suites are archives of 2.9 GB, data sets of 0.17 GB
SCRATCH = ".fetch-"  # prefix of the temporary folders of downloads
YOUNG_SECONDS = 60.0  # a temporary folder younger than this may not be locked yet


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A tar archive to download, which contains a single folder."""

    name: str
    urls: tuple[str, ...]  # mirrors, tried in this order
    md5: str
    folder: str
    option: Literal["--data-root", "--suite"] = "--data-root"  # option to pass the folder to
    max_bytes: int = 1 << 28  # a longer download is aborted


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
        max_bytes=MAX_SUITE_BYTES,
    ),
    Archive(
        name="cifar100-c",
        urls=("https://zenodo.org/records/3555552/files/CIFAR-100-C.tar?download=1",),
        md5="11f0ed0f1191edbf9fa23466ae6021d3",
        folder="CIFAR-100-C",
        option="--suite",
        max_bytes=MAX_SUITE_BYTES,
    ),
)


def fetch(
    name: str,
    root: str | os.PathLike[str] | None = None,
    progress: Progress = no_progress,
) -> Path:
    """Download a data set or suite if it is missing; return the folder for its option.

    Args:
        name: cifar10, cifar100, cifar10-c or cifar100-c.
        root: the target folder; default: RUGGEDIZE_DATA, else a folder in the user's cache.
        progress: called as `progress(task, num_bytes, total_bytes)` during the download.

    Raises:
        UserError: the name is unknown, the download fails, or the folder is not writable.
    """
    for archive in ARCHIVES:
        if archive.name == name:
            place = fetch_archive(archive, data_root(root), progress)
            return place / archive.folder if archive.option == "--suite" else place
    names = ", ".join(archive.name for archive in ARCHIVES)
    raise UserError(f"unknown data set or suite {name};\nuse one of {names}")


def fetch_archive(archive: Archive, root: Path, progress: Progress = no_progress) -> Path:
    """Download, verify and unpack into a temporary folder, then move the result into place."""
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
            f"{archive.name} cannot be written to {root}: {error.strerror or error};\n"
            "choose a writable folder with enough free space: --data-root DIR"
        ) from error
    return root


@contextlib.contextmanager
def scratch_folder(root: Path) -> Iterator[Path]:
    """Yield a temporary folder, removed at exit; also remove those left by killed downloads.

    Downloads in progress are recognised by the lock on their folder. Links and other users' folders
    are kept.
    """
    for leftover in root.glob(f"{SCRATCH}*"):
        with contextlib.suppress(FileNotFoundError, UserError):  # removed, or in use
            if is_own(leftover) and time.time() - leftover.stat().st_mtime > YOUNG_SECONDS:
                with only_writer(leftover):
                    shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=root) as name, only_writer(Path(name)):
        yield Path(name)


def download(archive: Archive, target: Path, progress: Progress) -> None:
    """Download the archive from the first mirror that sends a file with the right hash."""
    failures: list[str] = []
    for url in archive.urls:
        failure = download_from(url, archive, target, progress)
        if failure is None:
            return
        failures.append(f"{url}: {failure}")
    folder = archive.folder if archive.option == "--suite" else f"that contains {archive.folder}"
    raise UserError(
        f"{archive.name} could not be downloaded: {'; '.join(failures)};\n"
        f"without a network, unpack the archive (md5 {archive.md5}) yourself and pass the "
        f"folder {folder} with {archive.option} DIR"
    )


def download_from(url: str, archive: Archive, target: Path, progress: Progress) -> str | None:
    """Download from one mirror; return what went wrong, or None."""
    import pooch  # slow to import, and most runs download nothing

    bar: Any = ProgressBar(archive, progress)
    try:
        pooch.HTTPDownloader(progressbar=bar, chunk_size=CHUNK, timeout=TIMEOUT)(
            url, str(target), None
        )
    except TooLongError:
        return f"it sent more than {archive.max_bytes:,} bytes"
    except ValueError as error:  # a header that is not a number
        return f"it sent an invalid response ({shortened(error)})"
    except OSError as error:
        if error.errno is not None:  # from the disk; network errors have no errno
            raise
        return shortened(error)
    if pooch.file_hash(str(target), alg="md5") == archive.md5:
        return None
    with target.open("rb") as file:
        is_page = file.read(64).lstrip().startswith(b"<")
    return "it sent a web page instead of the archive" if is_page else "the hash is wrong"


def shortened(error: Exception) -> str:
    """Return an error's text, escaped and shortened to 200 characters."""
    return textwrap.shorten(shown(str(error)), 200)


class TooLongError(Exception):
    """A download has more bytes than its archive can have."""


class ProgressBar:
    """Adapter from a progress callback to the interface of pooch; enforces the size limit."""

    def __init__(self, archive: Archive, progress: Progress) -> None:
        self.archive = archive
        self.progress = progress
        self.done = 0
        self.received = 0
        self.total = 0  # set by pooch

    def update(self, num_bytes: int) -> None:
        """Report more bytes, up to the total, because pooch counts the last chunk as a full one.

        Raises:
            TooLongError: the download exceeds the archive's limit.
        """
        self.received += num_bytes
        if self.received > self.archive.max_bytes + CHUNK:
            raise TooLongError
        self.done = min(self.done + num_bytes, self.total)
        self.progress(self.archive.name, self.done, self.total)

    def reset(self) -> None:
        """Reset the count; pooch calls this before it completes the bar."""
        self.done = self.received = 0

    def close(self) -> None:
        """Do nothing; the caller closes its own progress display."""


def unpack(archive: Archive, packed: Path, target: Path) -> Path:
    """Unpack an archive into `target` and return the path of its folder.

    Raises:
        UserError: the archive is damaged, or contains links, devices or paths outside its folder.
    """
    try:
        with tarfile.open(packed) as tar:
            for member in tar.getmembers():
                path = PurePosixPath(member.name)
                is_plain = member.isfile() or member.isdir()
                if not is_plain or path.is_absolute() or ".." in path.parts:
                    raise UserError(
                        f"{archive.name}: the archive contains {member.name!r}, a link, a device "
                        "or a path outside its folder, so nothing was unpacked;\n"
                        "do not use this archive"
                    )
            tar.extractall(target, filter="data")
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(
            f"{archive.name}: the archive cannot be unpacked ({error});\nfetch it again"
        ) from error
    if not (target / archive.folder).is_dir():
        raise UserError(
            f"{archive.name}: the archive does not contain {archive.folder};\nfetch it again"
        )
    return target / archive.folder


def move_into_place(unpacked: Path, place: Path) -> None:
    """Move a folder atomically; if another process has already put it there, keep that one."""
    try:
        unpacked.rename(place)
    except OSError:
        if not place.is_dir():
            raise
