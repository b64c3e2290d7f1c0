"""Warnings about results that may be misleading."""

import logging
import math
from collections.abc import Mapping

from ruggedize.assess.assessment import Assessment, InputFacts

log = logging.getLogger(__name__)
NUM_DEVIATIONS = 3.0  # above chance; about one in a thousand random models exceeds it


def near_chance(correct: int, n: int, num_classes: int) -> bool:
    """Return whether random guessing could reach this accuracy."""
    chance = 1 / num_classes
    spread = math.sqrt(chance * (1 - chance) / n)
    return correct / n <= chance + NUM_DEVIATIONS * spread


def warn_of_chance(assessment: Assessment) -> None:
    """Warn about models with clean accuracy near chance level; name the usual causes."""
    num_classes = len(assessment.images.classes)
    for name, model in assessment.models.items():
        clean = model.clean
        if near_chance(clean.correct, clean.n, num_classes):
            log.warning(
                "%s has a clean accuracy of %.1f %%, near chance level (%.1f %%): it has learnt "
                "little, or its classes are in another order than the data's folders (--classes "
                "FILE names them, one per line), or its pixels are normalised differently (--mean, "
                "--std)",
                name,
                100 * clean.accuracy,
                100 / num_classes,
            )


def warn_of_other_sizes(inputs: Mapping[str, InputFacts], image_size: int) -> None:
    """Warn about models that take images of another size than the stored one.

    Corruptions are applied to stored images, before a model's own resizing, which makes them finer
    or coarser for that model.
    """
    others = [
        f"{name} ({facts.image_size or facts.resize or facts.input_size})"
        for name, facts in inputs.items()
        if differs(facts, image_size)
    ]
    if others:
        log.warning(
            "images are stored and corrupted at %d pixels, then resized for %s; use --image-size "
            "to change the stored size",
            image_size,
            ", ".join(others),
        )


def differs(facts: InputFacts, image_size: int) -> bool:
    """Return whether a model takes images of another size than the stored one."""
    wanted = facts.image_size or facts.resize or facts.input_size
    return wanted is not None and wanted != image_size
