"""The chain on an accelerator: the same steps, and the same model file read back on the CPU."""

from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from evenkeel.chain import run
from evenkeel.models import load_model
from evenkeel.recipe import load_recipe
from tests.behaviour.runs import TINY

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_the_chain_runs_on_the_device_and_its_models_run_anywhere(tmp_path: Path) -> None:
    accelerator = Accelerator()
    assert accelerator.device.type == "cuda"
    report = run(load_recipe("demo", TINY), tmp_path / "run", accelerator=accelerator)
    assert report.exists()
    model = load_model(tmp_path / "run" / "student" / "model.safetensors")
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    here, there = model.predict(images), model.to(accelerator.device).predict(images)
    torch.testing.assert_close(here.probabilities, there.probabilities, rtol=1e-3, atol=1e-3)
