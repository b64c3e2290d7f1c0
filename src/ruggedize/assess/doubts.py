"""Warnings about results that may be misleading."""

import logging
from collections.abc import Mapping

from ruggedize.assess.assessment import Assessment, InputFacts
from ruggedize.assess.chance import Guessing, no_better_than

log = logging.getLogger(__name__)


def warn_of_guessing(assessment: Assessment, guess: Guessing) -> None:
    """Warn about models whose clean accuracy guessing could reach; name the usual causes."""
    for name, model in assessment.models.items():
        percent = 100 * model.clean.accuracy
        match no_better_than(model.clean, guess):
            case "chance":
                log.warning(
                    "%s has a clean accuracy of %.1f %%, not clearly above chance (%.1f %%): it "
                    "has learnt little, or, if it was trained elsewhere, its classes may be in "
                    "another order than the data's folders (--classes FILE names them, one per "
                    "line) or its pixels normalised differently (--mean, --std)",
                    *(name, percent, 100 * guess.chance),
                )
            case "majority":
                log.warning(
                    "%s has a clean accuracy of %.1f %%, and always predicting %s scores %.1f %%: "
                    "check whether it predicts other classes at all, and the order of its classes "
                    "(--classes FILE)",
                    *(name, percent, guess.majority, 100 * guess.majority_share),
                )


def training_doubt(assessment: Assessment) -> str:
    """Return under which condition figures hold, where models may have been trained on the images.

    Empty if no model was trained on them. Nothing is known of models of other origin.
    """
    held_out = assessment.facts.held_out
    names = [name for name in assessment.models if name not in held_out]
    if not names:
        return ""
    *first, last = names
    who = f"{', '.join(first)} and {last} were" if first else f"{last} was"
    data = assessment.facts.data
    is_whole = data is not None and data.is_whole_folder
    return (
        f"The figures hold for new images only if {who} trained on none of the "
        f"{assessment.images.available:,} test images, which cannot be checked here."
        + " The folder has no test/ or val/, so all of its images count as test images."
        * is_whole
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
            "images are stored and corrupted at %d pixels, then resized for %s; of images in "
            "files, --image-size changes the stored size",
            image_size,
            ", ".join(others),
        )


def differs(facts: InputFacts, image_size: int) -> bool:
    """Return whether a model takes images of another size than the stored one."""
    wanted = facts.image_size or facts.resize or facts.input_size
    return wanted is not None and wanted != image_size
