"""Files that cannot be decoded: rejected in one error, or skipped with a warning."""

import logging
from collections.abc import Sequence
from pathlib import Path

from ruggedize.core.errors import UserError
from ruggedize.data.decode import BadImageError, decode_image, shown

NUM_NAMED = 3  # files that the error message names
PROBE_SIZE = 16  # pixels; the fault does not depend on the size
log = logging.getLogger(__name__)


def reject_or_skip(bad: Sequence[Path], skip: bool) -> None:
    """Raise a UserError if there are bad files, or warn that they are skipped and why."""
    if not bad:
        return
    num_files = "1 file" if len(bad) == 1 else f"{len(bad)} files"
    if not skip:
        names = ", ".join(shown(file) for file in bad[:NUM_NAMED])
        more = f" and {len(bad) - NUM_NAMED} more" if len(bad) > NUM_NAMED else ""
        raise UserError(
            f"{num_files} cannot be decoded: {names}{more}\n"
            "remove or replace them, or skip and list all of them with --skip-bad-images "
            "(data.skip_bad_images = true)"
        )
    verb = "is" if len(bad) == 1 else "are"
    reasons = "".join(f"\n  {fault_of(file)}" for file in bad)
    log.warning("%s cannot be decoded and %s skipped:%s", num_files, verb, reasons)


def fault_of(file: Path) -> str:
    """Return why a file cannot be decoded."""
    try:
        decode_image(file, PROBE_SIZE)
    except BadImageError as error:
        return str(error)
    return f"{shown(file)} could not be decoded when the data was loaded"
