"""`compile = true` on an accelerator: the first step comes back, and trains the same network."""

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.distributed.launching import ROOT

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
SECONDS = 120  # 50 alone are enough; next to three other test processes they were not
TWO_STEPS = """
import sys
from pathlib import Path
from ruggedize.train.loop import fit
from tests.accelerators import only_accelerator
from tests.tiny_stages import tiny_stage
with only_accelerator() as accelerator:
    for name, compiled in (("plain", False), ("compiled", True)):
        changes = {"compile": compiled, "epochs": 1, "batch_size": 32, "averaging": "none"}
        fit(tiny_stage(Path(sys.argv[1]) / name, accelerator=accelerator, **changes))
"""


def test_a_compiled_step_comes_back_and_is_the_uncompiled_one(tmp_path: Path) -> None:
    """In a session of its own, all of which ends with it: a compiler's workers may not."""
    line = [sys.executable, "-c", TWO_STEPS, str(tmp_path)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            line, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True
        )
        try:
            status = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            status = None
        finally:
            end_session(process)
    assert status == 0, (
        f"status {status} (None: after {SECONDS} s); {(tmp_path / 'log').read_text()}"
    )
    plain, compiled = (
        load_file(tmp_path / name / "model.safetensors") for name in ("plain", "compiled")
    )
    for name, weight in plain.items():
        torch.testing.assert_close(compiled[name], weight, rtol=1e-2, atol=1e-3, msg=name)


def end_session(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a process and of all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
