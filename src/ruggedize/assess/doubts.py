"""Warnings about assessments whose figures may not mean what they seem to."""

import logging
import math
from collections.abc import Mapping

from ruggedize.assess.assessment import Assessment, InputFacts

log = logging.getLogger(__name__)
NUM_DEVIATIONS = 3.0  # above chance, so that one in a thousand random models goes unnoticed


def near_chance(correct: int, n: int, num_classes: int) -> bool:
    """Return whether an accuracy is no better than a random choice of a class may reach."""
    chance = 1 / num_classes
    spread = math.sqrt(chance * (1 - chance) / n)
    return correct / n <= chance + NUM_DEVIATIONS * spread


def warn_of_chance(assessment: Assessment) -> None:
    """Warn of models whose clean accuracy is near chance level, and name what mostly causes it."""
    num_classes = len(assessment.images.classes)
    for name, model in assessment.models.items():
        clean = model.clean
        if near_chance(clean.correct, clean.n, num_classes):
            log.warning(
                "%s is right on %.1f %% of the clean images, and chance is %.1f %%: it has learnt "
                "little, or its classes are in another order than the data's folders (--classes "
                "FILE names them, one a line), or its pixels are normalised otherwise (--mean, "
                "--std)",
                name,
                100 * clean.accuracy,
                100 / num_classes,
            )


def warn_of_other_sizes(inputs: Mapping[str, InputFacts], image_size: int) -> None:
    """Warn of models that were made for stored images of another size.

    Corruptions act on stored images, before a model's own resizing, which makes them finer or
    coarser for that model.
    """
    others = [
        f"{name} ({facts.image_size or facts.resize or facts.input_size})"
        for name, facts in inputs.items()
        if differs(facts, image_size)
    ]
    if others:
        log.warning(
            "images are stored and corrupted at %d pixels, and resized afterwards for %s; "
            "--image-size changes the stored size",
            image_size,
            ", ".join(others),
        )


def differs(facts: InputFacts, image_size: int) -> bool:
    """Return whether a model's preprocessing takes stored images of another size."""
    wanted = facts.image_size or facts.resize or facts.input_size
    return wanted is not None and wanted != image_size
