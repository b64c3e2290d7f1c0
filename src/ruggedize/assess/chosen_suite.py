"""The suite that the options of an assessment select."""

from pathlib import Path

from ruggedize.assess.options import GENERATED, AssessOptions
from ruggedize.corruptions import (
    Suite,
    find_suite,
    further_corruptions,
    generated_suite,
    reject_incomplete,
    stored_suite,
)
from ruggedize.data import ImageSet


def suite_for(options: AssessOptions, test: ImageSet, root: Path | None, seed: int) -> Suite:
    """Return the suite that the options select: generated from the test images, or a folder."""
    if options.suite == GENERATED:
        return generated_suite(
            test.images,
            seed=seed,
            preset=options.preset,
            options=options.corruption_options,
            extra=further_corruptions(options.corruptions),
        )
    folder = find_suite(options.suite, root)
    suite = stored_suite(folder, test, options.severities)
    if options.corruptions is None:
        reject_incomplete(folder, suite)
    return suite
