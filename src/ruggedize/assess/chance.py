"""What a model that knows nothing would reach, and which models reach no more. No torch."""

import math
from typing import Literal, NamedTuple

import numpy as np

from ruggedize.assess.assessment import Cell

NUM_DEVIATIONS = 3.0  # above guessing, so that one in a thousand random models goes unnoticed
UNEQUAL = 1.5  # the largest class has this many times the images of the smallest
STRAYING = 3.0  # how far counts of equally likely classes stray, in roots of their mean


class Guessing(NamedTuple):
    """What can be reached without looking at an image."""

    chance: float  # a uniform guess
    majority_share: float  # always the commonest class
    majority: str
    is_unequal: bool


def guessing(classes: tuple[str, ...], labels: np.ndarray) -> Guessing:
    """Return chance level and majority share of labelled images."""
    counts = np.bincount(labels, minlength=len(classes))
    return Guessing(
        1 / len(classes),
        float(counts.max() / counts.sum()),
        classes[int(counts.argmax())],
        are_unequal(counts),
    )


def are_unequal(counts: np.ndarray) -> bool:
    """Return whether classes differ in size by half, and by more than sampling explains."""
    largest, smallest = int(counts.max()), int(counts.min())
    by_chance = STRAYING * float(counts.mean()) ** 0.5
    return largest >= UNEQUAL * smallest and largest - smallest > by_chance


def no_better_than(clean: Cell, guess: Guessing) -> Literal["chance", "majority"] | None:
    """Return which guess a model's clean accuracy does not clearly exceed, if one.

    The largest class counts where classes are of unequal size.
    """
    if may_be_guessed(clean.correct, clean.n, guess.chance):
        return "chance"
    if guess.is_unequal and may_be_guessed(clean.correct, clean.n, guess.majority_share):
        return "majority"
    return None


def may_be_guessed(correct: int, n: int, share: float) -> bool:
    """Return whether guesses that are right in a share of all cases may be right as often."""
    spread = math.sqrt(share * (1 - share) / n)
    return correct / n <= share + NUM_DEVIATIONS * spread
