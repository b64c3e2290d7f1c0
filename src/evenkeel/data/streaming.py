"""Images that stay in their files and are decoded when they are asked for."""

import logging
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from evenkeel.data.decode import decode_image
from evenkeel.data.file_list import FileList
from evenkeel.images.blocks import available_cores, run_blocks
from evenkeel.images.types import Images
from evenkeel.runs import Progress, UserError

MOST_WORKERS = 16
AHEAD = 2  # batches that each worker process may be ahead
CHECKED_AT_ONCE = 256  # files a worker process looks at before it reports
KEPT_BYTES = 1 << 26  # of slices: an assessment asks for the same one for every cell


log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class StreamedImages:
    """Image files in the place of a tensor `[n, 3, image_size, image_size]`.

    Indexing decodes, in threads of this process; `batches` decodes in processes of its own. What
    comes is what a tensor of all images would have given.
    """

    files: FileList
    image_size: int
    num_workers: int
    kept: dict[tuple[int, int], Images] = field(default_factory=dict, repr=False)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Give the shape of the tensor that these files stand for."""
        return len(self.files), 3, self.image_size, self.image_size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, which: int | slice | Tensor) -> Tensor:
        if isinstance(which, slice):
            return self.neighbours(*which.indices(len(self))[:2])
        numbers = np.arange(len(self))[which if isinstance(which, int) else which.numpy()]
        images = self.decoded(np.atleast_1d(numbers))
        return images[0] if isinstance(which, int) else images

    def neighbours(self, start: int, stop: int) -> Images:
        """Give the images start..stop, which are kept for a while."""
        if (start, stop) not in self.kept:
            images = self.decoded(np.arange(start, stop))
            while self.kept and images.nbytes * (len(self.kept) + 1) > KEPT_BYTES:
                del self.kept[next(iter(self.kept))]
            self.kept[start, stop] = images
        return self.kept[start, stop]

    def decoded(self, numbers: Int64[np.ndarray, " n"]) -> Images:
        """Decode some images in threads."""
        files = self.files.select(numbers)
        images, is_bad = decode_all(files, self.image_size)
        if is_bad.any():  # it was good when the set was loaded
            decode_image(files[int(is_bad.argmax())], self.image_size)
        return images

    def select(self, positions: Int64[Tensor, " n"]) -> "StreamedImages":
        """Give some of the images, in this order, undecoded."""
        files = self.files.select(positions.numpy())
        return StreamedImages(files, self.image_size, self.num_workers)

    def batches(self, positions: Sequence[np.ndarray]) -> Iterator[Images]:
        """Give one batch after the other, decoded ahead of time by worker processes."""
        loader = loader_of(Decoding(self.files, self.image_size), positions, self.num_workers)
        for images, fault in loader:
            if fault:
                raise UserError(fault)
            yield images


@dataclass(frozen=True)
class Decoding(Dataset[Tensor]):
    """What a worker process does with a batch of file numbers."""

    files: FileList
    image_size: int

    def __getitems__(self, numbers: Int64[np.ndarray, " n"]) -> tuple[Tensor, str]:
        """Decode a batch; a fault is handed over as text, for exceptions change on their way."""
        images = torch.zeros(len(numbers), 3, self.image_size, self.image_size, dtype=torch.uint8)
        try:
            for place, number in enumerate(numbers):
                images[place] = decode_image(self.files[number], self.image_size)
        except UserError as error:
            return images, str(error)
        return images, ""


@dataclass(frozen=True)
class Checking(Dataset[Tensor]):
    """Decodes files to find those that cannot be."""

    files: FileList
    image_size: int

    def __getitems__(self, numbers: Int64[np.ndarray, " n"]) -> Tensor:
        """Tell which of these files are bad: bool `[n]`."""
        return torch.tensor([is_bad(self.files[number], self.image_size) for number in numbers])


def bad_files(images: StreamedImages, progress: Progress) -> Bool[np.ndarray, " n"]:
    """Decode all files once in worker processes, keeping nothing, to find the bad ones."""
    n, found, done = len(images), [], 0
    parts = np.array_split(np.arange(n), -(-n // CHECKED_AT_ONCE))
    checking = Checking(images.files, images.image_size)
    for answer in loader_of(checking, parts, images.num_workers):
        found.append(answer.numpy())
        done += len(answer)
        progress("check images", done, n)
    return np.concatenate(found)


def is_bad(path: Path, image_size: int) -> bool:
    """Tell whether a file cannot be decoded."""
    try:
        decode_image(path, image_size)
    except UserError:
        return True
    return False


def loader_of(
    dataset: Dataset[Tensor], batches: Sequence[np.ndarray], num_workers: int
) -> DataLoader[Tensor]:
    """Let worker processes answer the batches in their order."""
    return DataLoader(
        dataset,
        batch_sampler=batches,  # pyright: ignore[reportArgumentType]  # it is only iterated over
        num_workers=num_workers,
        prefetch_factor=AHEAD,
        collate_fn=unchanged,
        worker_init_fn=leave_signals,
    )


def leave_signals(worker: int) -> None:
    """Let the main process answer Ctrl-C and SIGTERM that reach all processes, as they often do.

    It may have a step to finish first. A worker ends when it is told to, or left alone.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})


def unchanged(answer: object) -> object:
    """Pass on what a worker process gave."""
    return answer


def decode_all(files: FileList, image_size: int) -> tuple[Images, Bool[np.ndarray, " n"]]:
    """Decode files in parallel threads: the images, and which of them are bad."""
    images = np.zeros((len(files), 3, image_size, image_size), np.uint8)
    is_bad = np.zeros(len(files), bool)

    def block(start: int, stop: int) -> None:
        for number in range(start, stop):
            try:
                images[number] = decode_image(files[number], image_size).numpy()
            except UserError as error:
                is_bad[number] = True
                log.info("%s", error)

    run_blocks(block, len(files), smallest=1)
    return torch.from_numpy(images), is_bad


def default_workers() -> int:
    """Give this process its share of the machine's cores."""
    processes_here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return max(1, min(MOST_WORKERS, available_cores() // processes_here))
