"""Files that cannot be decoded: refused together, or left out and listed."""

import logging
from collections.abc import Sequence
from pathlib import Path

from ruggedize.core.errors import UserError, shown
from ruggedize.data.decode import MAX_MEGAPIXELS, BadImageError, decode_image

NUM_NAMED = 3  # in a refusal
ANY_SIZE = 16  # pixels; what is wrong does not depend on it
log = logging.getLogger(__name__)


def reject_or_skip(bad: Sequence[Path], skip: bool, max_megapixels: float = MAX_MEGAPIXELS) -> None:
    """Reject bad files, if there are any, or warn that they are left out and what is wrong."""
    if not bad:
        return
    counted = "1 file" if len(bad) == 1 else f"{len(bad)} files"
    if not skip:
        reasons = "\n  ".join(fault_of(file, max_megapixels) for file in bad[:NUM_NAMED])
        more = f"\n  and {len(bad) - NUM_NAMED} more" if len(bad) > NUM_NAMED else ""
        raise UserError(
            f"{counted} cannot be decoded:\n  {reasons}{more}\n"
            "remove or replace them, or leave them out and have all listed with --skip-bad-images "
            "(data.skip_bad_images = true)"
        )
    left_out = "is left out" if len(bad) == 1 else "are left out"
    reasons = "".join(f"\n  {fault_of(file, max_megapixels)}" for file in bad)
    log.warning("%s cannot be decoded and %s:%s", counted, left_out, reasons)


def fault_of(file: Path, max_megapixels: float) -> str:
    """Describe what is wrong with a file."""
    try:
        decode_image(file, ANY_SIZE, max_megapixels=max_megapixels)
    except BadImageError as error:
        return str(error).replace("\n", " ")
    return f"{shown(file)} could not be decoded a moment ago"
