"""The chain on an accelerator: the same steps, and the same model file read back on the CPU."""

import dataclasses
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from ruggedize.chain import run
from ruggedize.models import load_model
from ruggedize.recipe import load_recipe
from ruggedize.training.feeding import batches_of_epoch
from tests.behaviour.runs import TINY
from tests.training_jobs import tiny_job

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


def test_batches_made_ahead_are_those_made_on_the_spot(tmp_path: Path) -> None:
    here = tiny_job(tmp_path)
    there = dataclasses.replace(here, accelerator=Accelerator())
    pairs = zip(batches_of_epoch(here, 1, 0), batches_of_epoch(there, 1, 0), strict=True)
    for ours, theirs in pairs:
        assert theirs.pair.clean is not None
        assert theirs.pair.clean.is_pinned()
        assert torch.equal(ours.pair.clean, theirs.pair.clean)
        assert torch.equal(ours.pair.labels, theirs.pair.labels)
