"""Files that cannot be decoded: rejected together, or skipped and listed."""

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from ruggedize.core.errors import UserError, shown
from ruggedize.data.decode import MAX_MEGAPIXELS, BadImageError, decode_image

NUM_NAMED = 3  # files that the error message names
PROBE_SIZE = 16  # pixels; the error does not depend on the size
log = logging.getLogger(__name__)


def reject_or_skip(bad: Sequence[Path], skip: bool, max_megapixels: float = MAX_MEGAPIXELS) -> None:
    """Raise UserError if there are bad files, or log a warning that they are skipped and why."""
    reject_or_skip_faults([partial(fault_of, file, max_megapixels) for file in bad], skip)


def reject_or_skip_faults(
    faults: Sequence[Callable[[], str]], skip: bool, what: str = "file"
) -> None:
    """Raise a UserError or warn, as above, of anything; `faults` return what is wrong with each."""
    if not faults:
        return
    counted = f"1 {what}" if len(faults) == 1 else f"{len(faults)} {what}s"
    if not skip:
        named = [fault() for fault in faults[:NUM_NAMED]]
        if len(faults) > 1:  # one line, without the cures
            named = [reason.partition(";")[0] for reason in named]
        reasons = "; ".join(named)
        more = f"; and {len(faults) - NUM_NAMED} more" if len(faults) > NUM_NAMED else ""
        raise UserError(
            f"{counted} cannot be decoded:\n  {reasons}{more}\n"
            "remove or replace them, or skip them with --skip-bad-images "
            "(data.skip_bad_images = true); a warning then lists all of them"
        )
    verb = "is" if len(faults) == 1 else "are"
    reasons = "".join(f"\n  {fault()}" for fault in faults)
    log.warning("%s cannot be decoded and %s skipped:%s", counted, verb, reasons)


def fault_of(file: Path, max_megapixels: float) -> str:
    """Return why a file cannot be decoded."""
    try:
        decode_image(file, PROBE_SIZE, max_megapixels=max_megapixels)
    except BadImageError as error:
        return str(error).replace("\n", " ")
    return f"{shown(file)} could not be decoded when the data was loaded"
