"""`compile = true`: the same training, no process left waiting, nothing of ours in torch's own."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.behaviour.runs import ROOT, env

pytestmark = pytest.mark.more

ONE_STEP = """
import sys
from pathlib import Path
from ruggedize.train.loop import fit
from tests.tiny_stages import tiny_stage
changes = {"plain": {}, "compiled": {"compile": True}, "other": {"optimiser": "sgd"}}
for name, change in changes.items():
    change |= {"epochs": 1, "batch_size": 64, "schedule": "constant"}
    fit(tiny_stage(Path(sys.argv[1]) / name, **change))
"""
COMPILED = """
import sys, torch
from torch import nn
from ruggedize.train.loop import compiled
network = compiled(nn.Sequential(nn.Linear(4, 4), nn.ReLU()), torch.device(sys.argv[1]))
network(torch.ones(2, 4)).sum().backward()
from torch._inductor.async_compile import AsyncCompile
print(AsyncCompile.pool.cache_info().currsize, AsyncCompile.process_pool.cache_info().currsize)
"""


def test_a_compiled_step_is_the_uncompiled_one(tmp_path: Path) -> None:
    """In a process of its own: the checks of shapes that the tests install cannot be compiled."""
    line = [sys.executable, "-c", ONE_STEP, str(tmp_path)]
    result = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, env=env())
    assert result.returncode == 0, result.stderr
    rows = {}
    for name in ("plain", "compiled", "other"):
        (row,) = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        rows[name] = json.loads(row)
    plain, compiled, other = (rows[name]["validation"]["averaged"]["loss"] for name in rows)
    assert rows["compiled"]["loss"] == pytest.approx(rows["plain"]["loss"], rel=1e-4)
    assert compiled == pytest.approx(plain, rel=1e-3)
    assert other != pytest.approx(plain, rel=1e-3)


@pytest.mark.parametrize(
    ("device", "threads", "pools"),
    [
        ("cuda", None, "0 0"),
        pytest.param("cuda", "2", "1 0", marks=pytest.mark.long),
        pytest.param("cpu", None, "1 0", marks=pytest.mark.long),
    ],
)
def test_for_a_gpu_no_pool_is_started(
    tmp_path: Path, device: str, threads: str | None, pools: str
) -> None:
    """The device says how to compile; what is compiled here is for the CPU."""
    more = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}  # nothing is compiled already
    more |= {} if threads is None else {"TORCHINDUCTOR_COMPILE_THREADS": threads}
    result = subprocess.run(
        [sys.executable, "-c", COMPILED, device], capture_output=True, text=True, env=env() | more
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == pools


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc")
def test_torch_s_compile_workers_inherit_nothing_of_a_training(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "tests.behaviour.compile_pool", str(tmp_path)]
    result = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, env=env(), timeout=300)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    stops = sum(1 << (number - 1) for number in (signal.SIGINT, signal.SIGTERM))
    assert not found["blocked"] & stops
    assert found["terminates"]
    assert found["open"]
    assert not [name for name in found["open"] if str(tmp_path) in name]
