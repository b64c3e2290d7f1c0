"""Progress of an unfinished assessment, saved so that it can continue."""

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ruggedize.assess.metrics import Outcomes
from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.core.reading import check_regular, parsed_json

SAVE_SECONDS = 300.0
METADATA_KEY = "ruggedize"
TOLERANCE = 1e-3  # of probabilities and losses that the same model computes twice
Kept = Mapping[tuple[str, int], Outcomes]  # outcomes of a model by cell
log = logging.getLogger(__name__)


def progress_file(assessment: Path, rank: int = 0) -> Path:
    """Return where a process saves its progress: next to the assessment, and named after it."""
    return assessment.with_name(f"{assessment.stem}-progress-{rank}.safetensors")


def remove_progress(assessment: Path) -> None:
    """Remove the progress of all processes, once the assessment is written."""
    for path in assessment.parent.glob(progress_file(assessment, 0).name.replace("-0.", "-*.")):
        path.unlink(missing_ok=True)


class Unfinished:
    """The outcomes of all models so far, in one file.

    Args:
        path: the file; None: nothing is saved.
        request: what the outcomes depend on, as far as it is cheap to know, as JSON values. Weights
            and pixels are not part of it: the first block is repeated as a check instead.
        kept: outcomes by model and cell, allocated in full.
    """

    def __init__(
        self, path: Path | None, request: Mapping[str, Any], kept: Mapping[str, Kept]
    ) -> None:
        self.path = path
        self.request = json.loads(json.dumps(request))
        self.kept = kept
        self.saved_at = time.monotonic()

    def load(self, num_blocks: int) -> int:
        """Fill `kept` from the file; return how many blocks are done, 0 if the file does not fit.

        Args:
            num_blocks: blocks of the whole assessment.
        """
        from safetensors import SafetensorError, safe_open

        if self.path is None or not self.path.exists():
            return 0
        try:
            check_regular(self.path)
            with safe_open(self.path, "np") as file:
                text = (file.metadata() or {}).get(METADATA_KEY, "{}")
                about = parsed_json(self.path, text.encode())
                if about["request"] != self.request:
                    return self.start_over("it belongs to another assessment")
                for name, array in self.arrays().items():
                    if tuple(file.get_slice(name).get_shape()) != array.shape:
                        return self.start_over("it is damaged")
                    array[:] = file.get_tensor(name)
            blocks = int(about["blocks"])
        except (SafetensorError, UserError, ValueError, KeyError, TypeError):
            return self.start_over("it is damaged")
        return blocks if 0 < blocks <= num_blocks else self.start_over("it is damaged")

    def fits(self, first: Mapping[str, Outcomes], cell: tuple[str, int]) -> bool:
        """Return whether the outcomes of the first block, of a cell, are the saved ones again."""
        for name, again in first.items():
            saved = Outcomes(*(part[: len(again.classes)] for part in self.kept[name][cell]))
            if not all(
                np.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE)
                for one, other in zip(saved[1:], again[1:], strict=True)
            ):
                return False
        return True

    def start_over(self, why: str) -> int:
        """Log why the saved progress is not used; return 0 blocks."""
        log.warning("assess: starts over, without the progress in %s: %s", self.path, why)
        return 0

    def save_at_intervals(self, blocks: int) -> None:
        """Save if the last time is five minutes ago."""
        if time.monotonic() - self.saved_at >= SAVE_SECONDS:
            self.save(blocks)

    def save(self, blocks: int) -> None:
        """Save all outcomes, of which those of this number of blocks are done."""
        from safetensors.numpy import save

        if self.path is None or not blocks:
            return
        about = json.dumps({"blocks": blocks, "request": self.request})
        files.write_atomically(self.path, save(self.arrays(), {METADATA_KEY: about}))
        self.saved_at = time.monotonic()

    def arrays(self) -> dict[str, np.ndarray]:
        """Return all arrays of `kept` under the names that they have in the file."""
        return {
            f"{place}/{name}/{severity}/{field}": array
            for place, own in enumerate(self.kept.values())
            for (name, severity), outcomes in own.items()
            for field, array in outcomes._asdict().items()
        }
