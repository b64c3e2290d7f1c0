"""Progress of an unfinished assessment, saved so that it can continue."""

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ruggedize.assess.metrics import Outcomes
from ruggedize.assess.saving import progress_file
from ruggedize.assess.sharing import Kept, Shares
from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.core.reading import check_regular, parsed_json
from ruggedize.core.signals import Signals

SAVE_SECONDS = 300.0
METADATA_KEY = "ruggedize"
LARGEST_DIFFERENCE = 0.005  # mean, of the probabilities that a model computes twice
LARGEST_SHARE = 0.01  # of images that a model classifies otherwise the second time; at least one
log = logging.getLogger(__name__)


class Unfinished:
    """The outcomes of all models so far, saved to one file per process.

    Args:
        assessment: path of the assessment, next to which progress is saved; None: it is not saved.
        request: what the outcomes depend on, except the images' pixels, as JSON values.
        kept: outcomes by model and cell, allocated in full.
        shares: the processes that share the images.
    """

    def __init__(
        self,
        assessment: Path | None,
        request: Mapping[str, Any],
        kept: Mapping[str, Kept],
        shares: Shares,
    ) -> None:
        self.path = assessment and progress_file(assessment, shares.rank)
        self.request = json.loads(json.dumps(request))
        self.kept = kept
        self.shares = shares
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
                    return self.start_over("belongs to another assessment")
                for name, array in self.arrays().items():
                    if tuple(file.get_slice(name).get_shape()) != array.shape:
                        return self.start_over("is damaged")
                    array[:] = file.get_tensor(name)
            blocks = int(about["blocks"])
        except (SafetensorError, UserError, ValueError, KeyError, TypeError):
            return self.start_over("is damaged")
        return blocks if 0 < blocks <= num_blocks else self.start_over("is damaged")

    def start_over(self, why: str) -> int:
        """Log why the saved progress is not used; return 0 blocks."""
        log.warning("assess: starting over, because the progress in %s %s", self.path, why)
        return 0

    def save_at_intervals(self, blocks: int) -> None:
        """Save if the last save was at least five minutes ago."""
        if time.monotonic() - self.saved_at >= SAVE_SECONDS:
            self.save(blocks)

    def save(self, blocks: int) -> None:
        """Save all outcomes; the first `blocks` blocks are done. A signal waits until the end."""
        from safetensors.numpy import save

        if self.path is None or not blocks:
            return
        about = json.dumps({"blocks": blocks, "request": self.request})
        with Signals():
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


def are_alike(saved: Outcomes, again: Outcomes) -> bool:
    """Return whether two outcomes are of the same model on the same images.

    They may differ a little: a GPU does not always add in the same order.
    """
    others = int((saved.classes[:, 0] != again.classes[:, 0]).sum())
    apart = float(np.abs(saved.confidences - again.confidences).mean())
    most = max(1, int(LARGEST_SHARE * len(again.classes)))
    return apart <= LARGEST_DIFFERENCE and others <= most
