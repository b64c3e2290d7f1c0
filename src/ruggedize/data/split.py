"""Dividing a set in two, always in the same way."""

import numpy as np

from ruggedize.core.errors import UserError
from ruggedize.data.image_set import ImageSet

SPLIT_SEED = 20210


def hold_out(
    image_set: ImageSet, amount: int | float, choice: str = "stratified"
) -> tuple[ImageSet, ImageSet]:
    """Return what is kept and what is held out, both in the set's order and without overlap.

    `amount` is a count, or a share between 0 and 1.
    """
    n = len(image_set)
    count = amount if isinstance(amount, int) else max(1, round(amount * n))
    if n < 2:
        raise UserError(f"{n} images cannot be divided into a part kept and one held out; add some")
    if not 0 < count < n:
        raise UserError(
            f"{count} of {n} images cannot be held out; give a count below {n},"
            " or a share: data.validation = 0.1"
        )
    labels = image_set.labels.numpy()
    positions = stratified_positions(labels, count) if choice == "stratified" else last(n, count)
    held_out = np.zeros(n, bool)
    held_out[positions] = True
    return image_set.select(np.flatnonzero(~held_out)), image_set.select(np.flatnonzero(held_out))


def last(n: int, count: int) -> np.ndarray:
    """Return the last positions."""
    return np.arange(n - count, n)


def stratified_positions(labels: np.ndarray, count: int) -> np.ndarray:
    """Choose positions at random, every class in proportion; the choice is fixed for all time.

    NumPy promises never to change what `RandomState` draws; `default_rng` has no such promise.
    """
    _, class_numbers, class_sizes = np.unique(labels, return_inverse=True, return_counts=True)
    wanted = apportion(class_sizes, count)
    shuffled = np.random.RandomState(SPLIT_SEED).permutation(len(labels))
    chosen = [
        shuffled[class_numbers[shuffled] == number][:size] for number, size in enumerate(wanted)
    ]
    return np.sort(np.concatenate(chosen))


def apportion(class_sizes: np.ndarray, count: int) -> np.ndarray:
    """Divide `count` over classes by largest remainder, leaving each class one image or more."""
    if count > (class_sizes - 1).sum():
        raise UserError(
            f"holding out {count} of {class_sizes.sum()} images would leave a class without any; "
            "hold out fewer or add images"
        )
    quotas = class_sizes * count / class_sizes.sum()
    shares = np.floor(quotas).astype(np.int64)
    for _ in range(count - shares.sum()):
        lacking = np.where(shares < class_sizes - 1, quotas - shares, -np.inf)
        shares[lacking.argmax()] += 1
    return shares
