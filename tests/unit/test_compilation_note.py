"""The compilation of kernels is logged once, and only if it happens."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.behaviour.runs import env

CORRUPT = """
import logging, torch
from concurrent.futures import ThreadPoolExecutor
from ruggedize import corrupt
logging.basicConfig(level=logging.INFO, format="%(message)s")
images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
names = ["brightness", "contrast"]
with ThreadPoolExecutor(2) as threads:
    list(threads.map(lambda name: corrupt(images, name, severity=1, seed=0), names))
"""
NUMBAS_OWN = """
import logging, numba
import ruggedize.kernels.kernel
logging.basicConfig(level=logging.INFO, format="%(message)s")
assert numba.njit(lambda x: x + 1)(1) == 2
"""


def notes(code: str, compiled: Path) -> list[str]:
    """Return what a process logs that keeps its compiled kernels in this folder."""
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=env() | {"NUMBA_CACHE_DIR": str(compiled)},
    )
    assert result.returncode == 0, result.stderr
    return result.stderr.splitlines()


@pytest.mark.more
def test_a_process_that_compiles_kernels_logs_it_once(tmp_path: Path) -> None:
    said = notes(CORRUPT, tmp_path)
    assert len(said) == 1
    assert "compiling kernels" in said[0]
    assert notes(CORRUPT, tmp_path) == []
    assert len(notes(CORRUPT, tmp_path / "another")) == 1


def test_other_compiled_functions_are_not_mentioned(tmp_path: Path) -> None:
    assert notes(NUMBAS_OWN, tmp_path) == []
