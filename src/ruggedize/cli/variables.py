"""Environment variables for libraries, which read them when they are loaded."""

import os

SPIN_COUNT = 1000  # of a waiting thread before it sleeps (docs/performance.md, "Other work")
RUN_OF_STUDY = "RUGGEDIZE_RUN_OF_STUDY"  # set by a study for the processes that it starts


def set_variables() -> None:
    """Set variables that the user has not set; call before PyTorch is imported."""
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")  # not a warning for every retry
    if "OMP_WAIT_POLICY" not in os.environ:  # which chooses a spin count, too
        os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))
