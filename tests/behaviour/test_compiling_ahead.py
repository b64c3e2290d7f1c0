"""Kernels are compiled by other processes while a run trains, and then none is left to compile."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.behaviour.runs import env

AHEAD = """
import time
import torch
from ruggedize.corruptions import generated_suite
from ruggedize.corruptions.compiling import compiling_ahead, marker
images = torch.zeros(9, 3, 32, 32, dtype=torch.uint8)
suite = generated_suite(images, options={"frost": {"textures": "procedural"}})
before = time.monotonic()
with compiling_ahead(suite):
    pass
print(round(time.monotonic() - before, 1), marker("cifar").exists())
"""
USED = """
import torch
from numba.core import event
from ruggedize.corruptions import ALL, generated_suite
compiled = []
class Listener(event.Listener):
    def on_start(self, event): compiled.append(event.data["dispatcher"].py_func.__qualname__)
    def on_end(self, event): pass
event.register("numba:compile", Listener())
images = torch.randint(256, (9, 3, 32, 32), dtype=torch.uint8)
suite = generated_suite(images, options={"frost": {"textures": "procedural"}})
for name in ALL:
    for severity in (1, 2, 3, 4, 5):
        suite.images(name, severity, 2, 9)
print(sorted(set(compiled)))
"""


def printed(code: str, cache: Path) -> str:
    """Run code in a fresh process with this cache of kernels and return what it prints."""
    variables = env() | {"NUMBA_CACHE_DIR": str(cache)}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, env=variables, check=True)
    return result.stdout.strip()


@pytest.mark.long
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="compiled ahead with two cores or more")
def test_nothing_is_left_to_compile(tmp_path: Path) -> None:
    assert printed(AHEAD, tmp_path / "ahead").endswith("True")
    assert printed(USED, tmp_path / "ahead") == "[]"
    seconds, _ = printed(AHEAD, tmp_path / "ahead").split()  # nothing is started again
    assert float(seconds) < 1.0
    assert printed(USED, tmp_path / "empty") != "[]"
