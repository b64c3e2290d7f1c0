"""What the first use of kernels costs."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def compilation(script: str) -> dict[str, float]:
    """Time a process that compiles and one that loads the cache; the script prints the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"NUMBA_CACHE_DIR": folder}
        first, second = (
            subprocess.run(
                [sys.executable, "-c", script],
                env=environment,
                capture_output=True,
                check=True,
                text=True,
                cwd=ROOT,
            )
            for _ in range(2)
        )
    return {
        "first compilation": round(float(first.stdout), 1),
        "kernels read back": round(float(second.stdout), 2),
    }
