"""Images that are decoded from their files on access."""

import logging
import operator
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, SupportsIndex, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor
from torch.utils.data import Dataset

from ruggedize.core.errors import UserError
from ruggedize.core.progress import Progress, no_progress
from ruggedize.data.decode import BadImageError, Stored, decode
from ruggedize.data.workers import PREFETCH, raise_fault, worker_results
from ruggedize.kernels.blocks import run_blocks
from ruggedize.kernels.types import Images

PREFETCH_BYTES = 1 << 29  # limit for all workers together
CHECK_BATCH = 256  # files that a worker process checks per progress update
DECODE_BATCH = 2_000  # files that threads decode per progress update
CACHE_BYTES = 1 << 26  # for slices, because an assessment reads the same slice for every cell

log = logging.getLogger(__name__)


@runtime_checkable
class EncodedImages(Protocol):
    """Images by index, as files or as the bytes of files; must be copied to worker processes."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int | np.integer, /) -> Path | bytes: ...

    def select(self, numbers: Int64[np.ndarray, " n"], /) -> "EncodedImages":
        """Return the images at these indices, in this order."""
        ...


@dataclass(frozen=True, eq=False)
class StreamedImages:
    """Encoded images that can be used like a uint8 tensor `[n, 3, image_size, image_size]`.

    Indexing decodes in threads of this process, `batches` in worker processes. Both yield the same
    pixels as `decode_all`.
    """

    files: EncodedImages
    stored: Stored
    num_workers: int  # worker processes; 0: threads of this process
    cache: dict[tuple[int, int], Images] = field(default_factory=dict, repr=False)

    @property
    def image_size(self) -> int:
        """The side of the images in pixels."""
        return self.stored.size

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """The shape of the tensor of all decoded images."""
        return len(self.files), 3, self.image_size, self.image_size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, which: SupportsIndex | slice | Tensor) -> Tensor:
        if isinstance(which, slice):
            start, stop, step = which.indices(len(self))
            numbers = np.arange(start, stop, step)
            return self.cached_slice(start, stop) if step == 1 else self.decoded(numbers)
        if isinstance(which, Tensor) and which.ndim:
            return self.decoded(np.arange(len(self))[which.numpy()])
        return self.decoded(np.arange(len(self))[[operator.index(which)]])[0]

    def cached_slice(self, start: int, stop: int) -> Images:
        """Return images start..stop-1, from a cache of recent slices if possible."""
        if (start, stop) in self.cache:
            return self.cache[start, stop]
        images = self.decoded(np.arange(start, stop))
        while self.cache and images.nbytes * (len(self.cache) + 1) > CACHE_BYTES:
            del self.cache[next(iter(self.cache))]
        if images.nbytes <= CACHE_BYTES:
            self.cache[start, stop] = images
        return images

    def decoded(self, numbers: Int64[np.ndarray, " n"]) -> Images:
        """Decode the images at these positions in several threads."""
        files = self.files.select(numbers)
        images, bad = decode_all(files, self.stored)
        if bad:  # damaged since the set was loaded
            raise bad[min(bad)]
        return images

    def select(self, positions: Int64[Tensor, " n"]) -> "StreamedImages":
        """Return the images at these positions, in this order; decodes nothing."""
        files = self.files.select(positions.numpy())
        return StreamedImages(files, self.stored, self.num_workers)

    def batches(self, positions: Sequence[np.ndarray]) -> Iterator[Images]:
        """Yield one batch per array of positions; worker processes decode in advance."""
        if not self.num_workers:
            return (self.decoded(chosen) for chosen in positions)
        largest = 3 * self.image_size**2 * max(map(len, positions), default=1)
        num_workers = max(1, min(self.num_workers, PREFETCH_BYTES // (PREFETCH * largest)))
        results = worker_results(Decoding(self.files, self.stored), positions, num_workers)
        return (raise_fault(fault) if fault else images for images, fault in results)


@dataclass(frozen=True)
class Decoding(Dataset[Tensor]):
    """Dataset that decodes files in a worker process."""

    files: EncodedImages
    stored: Stored

    def __getitems__(self, numbers: Int64[np.ndarray, " n"]) -> tuple[Tensor, str]:
        """Decode a batch; errors are returned as text, because exceptions may not pickle."""
        size = self.stored.size
        images = torch.zeros(len(numbers), 3, size, size, dtype=torch.uint8)
        try:
            for position, number in enumerate(numbers):
                images[position] = decode(self.files[number], self.stored)
        except UserError as error:
            return images, str(error)
        return images, ""


@dataclass(frozen=True)
class Checking(Dataset[Tensor]):
    """Dataset that decodes files in a worker process to find bad ones."""

    files: EncodedImages
    stored: Stored

    def __getitems__(self, numbers: Int64[np.ndarray, " n"]) -> tuple[Tensor, str]:
        """Return which files are bad, bool `[n]`, and an error if a file could not be read."""
        try:
            bad = [is_bad(self.files[number], self.stored) for number in numbers]
        except UserError as error:
            return torch.zeros(len(numbers), dtype=torch.bool), str(error)
        return torch.tensor(bad), ""


def bad_files(images: StreamedImages, progress: Progress) -> Bool[np.ndarray, " n"]:
    """Decode all files once in worker processes and return which are bad."""
    n, flags, done = len(images), [], 0
    if not n:
        return np.zeros(0, bool)
    batches = np.array_split(np.arange(n), -(-n // CHECK_BATCH))
    if not images.num_workers:
        return bad_files_in_threads(images, batches, progress)
    checking = Checking(images.files, images.stored)
    for is_bad_file, fault in worker_results(checking, batches, images.num_workers):
        if fault:
            raise_fault(fault)
        flags.append(is_bad_file.numpy())
        done += len(is_bad_file)
        progress("check images", done, n)
    return np.concatenate(flags)


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


def is_bad(source: Path | bytes, stored: Stored) -> bool:
    """Return whether a file cannot be decoded."""
    try:
        decode(source, stored)
    except BadImageError:
        return True
    return False


def decode_all(
    files: EncodedImages, stored: Stored, progress: Progress = no_progress
) -> tuple[Images, dict[int, BadImageError]]:
    """Decode files in several threads; return the images, and the errors of bad files by index."""
    images = np.zeros((len(files), 3, stored.size, stored.size), np.uint8)
    bad: dict[int, BadImageError] = {}

    def decode_some(first: int, last: int) -> None:
        for number in range(first, last):
            try:
                images[number] = decode(files[number], stored).numpy()
            except BadImageError as error:
                bad[number] = error
                log.info("%s", error)

    for start in range(0, len(files), DECODE_BATCH):
        stop = min(start + DECODE_BATCH, len(files))
        run_blocks(lambda a, b, at=start: decode_some(at + a, at + b), stop - start, smallest=1)
        if len(files) > DECODE_BATCH:  # a small set is done before a progress bar could be drawn
            progress("decode images", stop, len(files))
    return torch.from_numpy(images), bad
