"""Deterministic split of a set of images in two."""

import numpy as np

from ruggedize.core.errors import UserError
from ruggedize.data.image_set import ImageSet

SPLIT_SEED = 20210


def hold_out(
    image_set: ImageSet, amount: int | float, choice: str = "stratified"
) -> tuple[ImageSet, ImageSet]:
    """Return the remaining and the held-out images, both in the order of the set.

    `amount` is a count, or a fraction between 0 and 1; `choice` is stratified or last.

    Raises:
        UserError: nothing would remain, of all images or of one class.
    """
    n = len(image_set)
    count = amount if isinstance(amount, int) else max(1, round(amount * n))
    if n < 2:
        raise UserError(f"holding out images needs at least 2, got {n};\nadd images")
    if not 0 < count < n:
        raise UserError(
            f"the number of images to hold out must be in 1..{n - 1}, got {count};\n"
            "set data.validation to such a count, or to a fraction such as 0.1"
        )
    labels = image_set.labels.numpy()
    is_stratified = choice == "stratified"
    positions = stratified_positions(labels, count) if is_stratified else last(n, count)
    held_out = np.zeros(n, bool)
    held_out[positions] = True
    return image_set.select(np.flatnonzero(~held_out)), image_set.select(np.flatnonzero(held_out))


def last(n: int, count: int) -> np.ndarray:
    """Return the last `count` of `n` positions."""
    return np.arange(n - count, n)


def stratified_positions(labels: np.ndarray, count: int) -> np.ndarray:
    """Choose random positions, every class in proportion; the same for the same labels.

    Uses `RandomState`, whose stream NumPy guarantees across versions, unlike `default_rng`'s.
    """
    _, class_numbers, class_sizes = np.unique(labels, return_inverse=True, return_counts=True)
    counts = apportion(class_sizes, count)
    shuffled = np.random.RandomState(SPLIT_SEED).permutation(len(labels))
    chosen = [
        shuffled[class_numbers[shuffled] == number][:size] for number, size in enumerate(counts)
    ]
    return np.sort(np.concatenate(chosen))


def apportion(class_sizes: np.ndarray, count: int) -> np.ndarray:
    """Distribute `count` over classes by largest remainder, leaving each at least one image."""
    if count > (class_sizes - 1).sum():
        raise UserError(
            f"holding out {count} of {class_sizes.sum()} images would leave a class empty;\n"
            "hold out fewer images, or add some"
        )
    quotas = class_sizes * count / class_sizes.sum()
    shares = np.floor(quotas).astype(np.int64)
    for _ in range(count - shares.sum()):
        lacking = np.where(shares < class_sizes - 1, quotas - shares, -np.inf)
        shares[lacking.argmax()] += 1
    return shares
