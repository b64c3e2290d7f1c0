"""Unlabelled training images: from a folder of their own, or with their labels set aside."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from ruggedize.core.errors import UserError
from ruggedize.core.progress import Progress
from ruggedize.data.digest import choice_digest
from ruggedize.data.file_list import FileList
from ruggedize.data.folder import read_parts, unlabelled_files
from ruggedize.data.image_set import ImageSet, Splits
from ruggedize.data.layout import UNLABELLED
from ruggedize.data.options import DataOptions
from ruggedize.data.streaming import EncodedImages, StreamedImages
from ruggedize.kernels.types import ImageSource


def load_unlabelled(options: DataOptions, train: ImageSet, progress: Progress) -> ImageSet | None:
    """Load the images of `data.unlabelled`, at the size of the training images."""
    if options.unlabelled is None:
        return None
    parts = unlabelled_files(options.unlabelled)
    sized = options.model_copy(update={"image_size": train.image_size})
    return read_parts(options.unlabelled, parts, train.classes, sized, progress)[UNLABELLED]


def with_chosen_labels(splits: Splits, options: DataOptions) -> Splits:
    """Return the splits with `num_labels` labelled training images; the others are unlabelled.

    The labels of the others are kept as hidden labels. Images that never had a label come after
    them, with indices shifted so that no index occurs twice.

    Raises:
        UserError: a class has too few images, or nothing would become unlabelled.
    """
    if options.num_labels is None:
        return splits
    train = splits.train
    kept = balanced_positions(train, options.num_labels, options.label_seed)
    is_kept = np.zeros(len(train), bool)
    is_kept[kept] = True
    chosen, rest = train.select(kept), train.select(np.flatnonzero(~is_kept))
    rest = replace(rest, hidden_labels=rest.labels, labels=torch.full_like(rest.labels, -1))
    digest = splits.digest and splits.digest.model_copy(
        update={"chosen": choice_digest(chosen.index.numpy(), chosen.labels.numpy())}
    )
    others = splits.unlabelled
    unlabelled = rest if others is None else joined(rest, others)
    return replace(splits, train=chosen, unlabelled=unlabelled, digest=digest)


def balanced_positions(train: ImageSet, num_labels: int, seed: int) -> np.ndarray:
    """Choose random positions, the same number from each class, and return them in ascending order.

    If the number is not a multiple of the number of classes, the first classes get one more. Uses
    `RandomState`, whose stream NumPy guarantees across versions.

    Raises:
        UserError: the number is out of range, or a class has too few images.
    """
    num_classes, labels = len(train.classes), train.labels.numpy()
    num_labelled = int((labels >= 0).sum())
    if not num_classes <= num_labels < num_labelled:
        raise UserError(
            f"data.num_labels must be in {num_classes}..{num_labelled - 1} (at least one image of "
            f"each class, and fewer than all), got {num_labels};\nset another number"
        )
    shuffled = np.random.RandomState(seed).permutation(len(labels))
    chosen: list[np.ndarray] = []
    for number, name in enumerate(train.classes):
        share = num_labels // num_classes + (number < num_labels % num_classes)
        found = shuffled[labels[shuffled] == number]
        if len(found) < share:
            raise UserError(
                f"data.num_labels = {num_labels} needs {share} training images of each class, but "
                f"{name} has {len(found)};\n"
                + (
                    f"set num_labels to at most {num_classes * len(found)}"
                    if len(found)
                    else f"add images of {name}, or remove the class"
                )
            )
        chosen.append(found[:share])
    return np.sort(np.concatenate(chosen))


@dataclass(frozen=True, eq=False)
class JoinedImages:
    """The encoded images of two lists, one after the other, in an order of their own."""

    first: EncodedImages
    second: EncodedImages
    numbers: Int64[np.ndarray, " n"]  # below len(first): of the first list

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, number: int | np.integer) -> Path | bytes:
        place = int(self.numbers[number])
        beyond = place - len(self.first)
        return self.first[place] if beyond < 0 else self.second[beyond]

    def select(self, numbers: Int64[np.ndarray, " n"]) -> "JoinedImages":
        """Return the images at these indices, in this order."""
        return replace(self, numbers=self.numbers[numbers])


def joined(first: ImageSet, second: ImageSet) -> ImageSet:
    """Return the images of both sets, which must both be in memory or both be streamed."""
    unknown = torch.full_like(second.labels, -1)
    assert first.hidden_labels is not None
    shift, originals = int(first.index.max()) + 1, first.originals
    if originals and second.originals:
        files = joined_files(originals.files, second.originals.files)
        originals = replace(originals, files=files)
    return replace(
        first,
        images=joined_images(first.images, second.images),
        labels=torch.cat([first.labels, second.labels]),
        index=torch.cat([first.index, second.index + shift]),
        hidden_labels=torch.cat([first.hidden_labels, unknown]),
        left_out=(*first.left_out, *second.left_out),
        originals=originals if second.originals else None,
    )


def joined_files(first: EncodedImages, second: EncodedImages) -> EncodedImages:
    """Return the encoded images of both in one list."""
    if isinstance(first, FileList) and isinstance(second, FileList):
        return FileList.joined([first, second])
    return JoinedImages(first, second, np.arange(len(first) + len(second)))


def joined_images(first: ImageSource, second: ImageSource) -> ImageSource:
    """Return the images of both in one tensor, or in one list of files.

    Raises:
        UserError: only one of them is in memory.
    """
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return torch.cat([first, second])
    if isinstance(first, StreamedImages) and isinstance(second, StreamedImages):
        return replace(first, files=joined_files(first.files, second.files), cache={})
    raise UserError(
        "the unlabelled images cannot be combined with those of data.num_labels, because only one "
        "of the two is streamed from files;\nuse fewer unlabelled images, or remove data.num_labels"
    )
