"""Images that stay in their files and are decoded when they are asked for."""

import atexit
import logging
import operator
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import active_children
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from ruggedize.core.errors import UserError
from ruggedize.core.memory import processes_here
from ruggedize.core.progress import Progress, no_progress
from ruggedize.data.decode import BadImageError, Stored, decode
from ruggedize.data.file_list import FileList
from ruggedize.kernels.blocks import available_cores, run_blocks
from ruggedize.kernels.types import Images

MOST_WORKERS = 16
AHEAD = 2  # batches that each worker process may be ahead
AHEAD_BYTES = 1 << 29  # of all of them
WORKER = "decoding images"  # the name of a worker process
CHECKED_AT_ONCE = 256  # files a worker process looks at before it reports
DECODED_AT_ONCE = 2_000  # files that the threads decode before they report
KEPT_BYTES = 1 << 26  # of slices: an assessment asks for the same one for every cell

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class StreamedImages:
    """Image files in the place of a tensor `[n, 3, image_size, image_size]`.

    Indexing decodes, in threads of this process; `batches` decodes in processes of its own. What
    comes is what a tensor of all images would have given.
    """

    files: FileList
    stored: Stored
    num_workers: int  # processes; 0: decode in threads of this process
    kept: dict[tuple[int, int], Images] = field(default_factory=dict, repr=False)

    @property
    def image_size(self) -> int:
        """The side of the images in pixels."""
        return self.stored.size

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return the shape of the tensor that these files stand for."""
        return len(self.files), 3, self.image_size, self.image_size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, which: SupportsIndex | slice | Tensor) -> Tensor:
        if isinstance(which, slice):
            start, stop, step = which.indices(len(self))
            numbers = np.arange(start, stop, step)
            return self.neighbours(start, stop) if step == 1 else self.decoded(numbers)
        if isinstance(which, Tensor) and which.ndim:
            return self.decoded(np.arange(len(self))[which.numpy()])
        return self.decoded(np.arange(len(self))[[operator.index(which)]])[0]

    def neighbours(self, start: int, stop: int) -> Images:
        """Return the images start..stop, which are kept for a while unless they are too many."""
        if (start, stop) in self.kept:
            return self.kept[start, stop]
        images = self.decoded(np.arange(start, stop))
        while self.kept and images.nbytes * (len(self.kept) + 1) > KEPT_BYTES:
            del self.kept[next(iter(self.kept))]
        if images.nbytes <= KEPT_BYTES:
            self.kept[start, stop] = images
        return images

    def decoded(self, numbers: Int64[np.ndarray, " n"]) -> Images:
        """Decode some images in threads."""
        files = self.files.select(numbers)
        images, bad = decode_all(files, self.stored)
        if bad:  # they were good when the set was loaded
            raise bad[min(bad)]
        return images

    def select(self, positions: Int64[Tensor, " n"]) -> "StreamedImages":
        """Return some of the images, in this order, undecoded."""
        files = self.files.select(positions.numpy())
        return StreamedImages(files, self.stored, self.num_workers)

    def batches(self, positions: Sequence[np.ndarray]) -> Iterator[Images]:
        """Return one batch after the other, decoded ahead of time by worker processes."""
        if not self.num_workers:
            return (self.decoded(part) for part in positions)
        largest = 3 * self.image_size**2 * max(map(len, positions), default=1)
        num_workers = max(1, min(self.num_workers, AHEAD_BYTES // (AHEAD * largest)))
        answers = answered(Decoding(self.files, self.stored), positions, num_workers)
        return (images if not fault else refused(fault) for images, fault in answers)


@dataclass(frozen=True)
class Decoding(Dataset[Tensor]):
    """What a worker process does with a batch of file numbers."""

    files: FileList
    stored: Stored

    def __getitems__(self, numbers: Int64[np.ndarray, " n"]) -> tuple[Tensor, str]:
        """Decode a batch; a fault is handed over as text, for exceptions change on their way."""
        size = self.stored.size
        images = torch.zeros(len(numbers), 3, size, size, dtype=torch.uint8)
        try:
            for place, number in enumerate(numbers):
                images[place] = decode(self.files[number], self.stored)
        except UserError as error:
            return images, str(error)
        return images, ""


@dataclass(frozen=True)
class Checking(Dataset[Tensor]):
    """Decodes files to find those that cannot be."""

    files: FileList
    stored: Stored

    def __getitems__(self, numbers: Int64[np.ndarray, " n"]) -> tuple[Tensor, str]:
        """Return which files are bad, bool `[n]`, and a fault that says nothing of them."""
        try:
            found = [is_bad(self.files[number], self.stored) for number in numbers]
        except UserError as error:
            return torch.zeros(len(numbers), dtype=torch.bool), str(error)
        return torch.tensor(found), ""


def bad_files(images: StreamedImages, progress: Progress) -> Bool[np.ndarray, " n"]:
    """Decode all files once in worker processes, keeping nothing, to find the bad ones."""
    n, found, done = len(images), [], 0
    parts = np.array_split(np.arange(n), -(-n // CHECKED_AT_ONCE))
    if not images.num_workers:
        return bad_files_in_threads(images, parts, progress)
    checking = Checking(images.files, images.stored)
    for answer, fault in answered(checking, parts, images.num_workers):
        if fault:
            refused(fault)
        found.append(answer.numpy())
        done += len(answer)
        progress("check images", done, n)
    return np.concatenate(found)


def bad_files_in_threads(
    images: StreamedImages, parts: Sequence[np.ndarray], progress: Progress
) -> Bool[np.ndarray, " n"]:
    """Decode all files once in threads of this process to find the bad ones."""
    found = np.zeros(len(images), bool)
    for part in parts:
        _, bad = decode_all(images.files.select(part), images.stored)
        found[part[[*bad]]] = True
        progress("check images", int(part[-1]) + 1, len(images))
    return found


def is_bad(path: Path, stored: Stored) -> bool:
    """Return whether a file cannot be decoded."""
    try:
        decode(path, stored)
    except BadImageError:
        return True
    return False


def answered(
    dataset: Dataset[Tensor], batches: Sequence[np.ndarray], num_workers: int
) -> Iterator[Any]:
    """Start worker processes, which answer the batches in their order."""
    earlier = set(active_children())
    loader = DataLoader(
        dataset,
        batch_sampler=batches,  # pyright: ignore[reportArgumentType]  # it is only iterated over
        num_workers=num_workers,
        prefetch_factor=AHEAD,
        collate_fn=unchanged,
        generator=torch.Generator(),  # so that torch's own is left alone
    )
    with signals_put_off():
        answers = iter(loader)
        for process in set(active_children()) - earlier:
            process.name = WORKER
    return watched(answers)


def watched(answers: Any) -> Iterator[Any]:
    """Pass on what comes, and say it shortly when a worker process has died."""
    try:
        yield from answers
    except (RuntimeError, ConnectionError, EOFError) as error:
        if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
            raise
        cause = str(error).partition("\n")[0]
        with suppress(RuntimeError):  # of the next one that has died; else Python prints it later
            answers._shutdown_workers()
        raise UserError(
            f"a process that decodes images has died ({cause});\n"
            "memory or /dev/shm is too small for what is decoded ahead: set data.streaming = true "
            "and data.workers = 1, or give a container more (docker run --shm-size=2g)"
        ) from error


def refused(fault: str) -> Images:
    """Raise what a worker process met."""
    raise UserError(fault)


@atexit.register
def end_workers() -> None:
    """End what still decodes when Python ends; multiprocessing would ask, and wait for ever."""
    for process in active_children():
        if process.name == WORKER:
            process.kill()


@contextmanager
def signals_put_off() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back while processes are started; these never see them.

    What a handler raises in the midst of a fork would be lost. And a signal often reaches all
    processes, of which the main one shall answer: it may have a step to finish first. A worker ends
    when it is told to, or left alone.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows, whose worker processes are not forked
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def unchanged(answer: object) -> object:
    """Pass on what a worker process gave."""
    return answer


def decode_all(
    files: FileList, stored: Stored, progress: Progress = no_progress
) -> tuple[Images, dict[int, BadImageError]]:
    """Decode files in parallel threads: the images, and what is wrong with the bad ones."""
    images = np.zeros((len(files), 3, stored.size, stored.size), np.uint8)
    bad: dict[int, BadImageError] = {}

    def decode_some(first: int, last: int) -> None:
        for number in range(first, last):
            try:
                images[number] = decode(files[number], stored).numpy()
            except BadImageError as error:
                bad[number] = error
                log.info("%s", error)

    for start in range(0, len(files), DECODED_AT_ONCE):
        stop = min(start + DECODED_AT_ONCE, len(files))
        run_blocks(lambda a, b, at=start: decode_some(at + a, at + b), stop - start, smallest=1)
        if len(files) > DECODED_AT_ONCE:  # few are decoded before a bar could be drawn
            progress("decode images", stop, len(files))
    return torch.from_numpy(images), bad


def default_workers() -> int:
    """Return this process its share of the machine's cores, or those that it is kept to."""
    cores = available_cores()
    share = cores // processes_here() if cores == os.cpu_count() else cores
    return max(1, min(MOST_WORKERS, share))
