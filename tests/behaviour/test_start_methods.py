"""Streaming works with every start method of processes, also from a script without a main guard."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.behaviour.runs import env
from tests.behaviour.test_changed_data import make_photos

pytestmark = pytest.mark.more

SCRIPT = """
import multiprocessing
multiprocessing.set_start_method("{method}", force=True)
print("script")
import ruggedize
data = ruggedize.load_data("photos", image_size=16, streaming=True, workers={workers})
import numpy as np
total = sum(int(b.images.sum()) for b in data.test.batches([np.arange(8), np.arange(8, 16)]))
print([len(part) for part in data], total)
"""


@pytest.mark.parametrize("method", ["spawn", pytest.param("forkserver", marks=pytest.mark.more)])
def test_a_script_without_a_main_guard_streams(method: str, tmp_path: Path) -> None:
    make_photos(tmp_path / "photos")

    def result(method: str, workers: int) -> list[str]:
        (tmp_path / "script.py").write_text(SCRIPT.format(method=method, workers=workers))
        found = subprocess.run(
            [sys.executable, "script.py"], capture_output=True, text=True, cwd=tmp_path, env=env()
        )
        assert found.returncode == 0, found.stderr
        assert "Traceback" not in found.stderr
        return found.stdout.splitlines()

    lines = result(method, workers=2)
    assert lines[0] == "script"
    assert len(lines) == 2  # the workers have not run the script again
    assert lines == result("fork", workers=2) == result(method, workers=0)
