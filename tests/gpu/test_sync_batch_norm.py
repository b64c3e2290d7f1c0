"""Synchronised batch norm: two processes normalise like one with the whole batch."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.distributed.launching import ROOT
from tests.gpu.sync_worker import images, network, stepped

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
NEAR = {"rtol": 1e-3, "atol": 1e-3}


def launched(*module: str) -> None:
    """Start a module in two processes."""
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command = [sys.executable, "-m", *launcher, "-m", *module]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]


def test_two_processes_normalise_as_one_with_the_whole_batch(tmp_path: Path) -> None:
    launched("tests.gpu.sync_worker", str(tmp_path))
    parts = [load_file(tmp_path / f"{rank}.safetensors") for rank in (0, 1)]
    whole = stepped(network(), images())
    torch.testing.assert_close(
        torch.cat([part.pop("output") for part in parts]), whole.pop("output"), **NEAR
    )
    for name, value in whole.items():
        for part in parts:
            torch.testing.assert_close(part[name], value, **NEAR, msg=name)
    apart = [stepped(network(), part)["output"] for part in images().tensor_split(2)]
    assert not torch.allclose(torch.cat(apart), stepped(network(), images())["output"], atol=0.1)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_a_whole_run_with_synchronised_batch_norm_delivers_a_model(tmp_path: Path) -> None:
    from ruggedize.models import load_model
    from tests.behaviour.runs import tiny_demo

    changes = ("teacher.sync_batch_norm=true", "student.sync_batch_norm=true")
    launched("ruggedize", *tiny_demo(tmp_path / "run", *changes))
    delivered = json.loads((tmp_path / "run" / "student" / "delivered.json").read_text())
    assert delivered["processes"] == 2
    assert load_model(tmp_path / "run" / "student" / "model.safetensors")
