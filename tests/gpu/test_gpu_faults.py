"""Out of memory and non-finite losses on a GPU."""

import json
import math
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ruggedize.core.errors import UserError
from ruggedize.train.loop import fit
from ruggedize.train.objectives.objective import Batch
from tests.behaviour.runs import steps_saved
from tests.tiny_stages import Terms, altered, tiny_stage
from tests.unit.test_divergence import spoilt

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
TOO_MUCH = 1 << 45  # bytes


def test_a_step_that_does_not_fit_fits_in_micro_batches(
    tmp_path: Path, accelerator: Accelerator
) -> None:
    def change(terms: Terms, batch: Batch) -> Terms:
        labels = batch["labelled"]["labels"]
        if len(labels) > 4:
            torch.empty(TOO_MUCH, dtype=torch.uint8, device=labels.device)
        return terms

    common = {"accelerator": accelerator, "epochs": 2, "ghost_batches": 4}
    with pytest.raises(UserError, match="microbatches = 2"):
        fit(altered(tiny_stage(tmp_path / "whole", **common), change))
    fit(altered(tiny_stage(tmp_path / "parts", microbatches=4, **common), change))
    assert (tmp_path / "parts" / "model.safetensors").exists()


def test_a_validation_batch_that_does_not_fit_is_halved(
    tmp_path: Path, accelerator: Accelerator
) -> None:
    roomy, cramped = (
        tiny_stage(tmp_path / name, accelerator=accelerator, epochs=1) for name in ("one", "two")
    )

    def fill(model: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        refreshes = any(module.training for module in model.modules())  # a batch of a step's size
        if not refreshes and len(arguments[0]) > 4:
            torch.empty(TOO_MUCH, dtype=torch.uint8, device=arguments[0].device)

    cramped.model.register_forward_pre_hook(fill)
    scores = []
    for stage in (roomy, cramped):
        fit(stage)
        scores.append(json.loads((stage.folder / "delivered.json").read_text())["validation"])
    assert scores[0] == pytest.approx(scores[1], rel=1e-3)


def test_a_non_finite_loss_is_detected_before_anything_is_saved(
    tmp_path: Path, accelerator: Accelerator
) -> None:
    with pytest.raises(UserError, match=r"NaN at step 7 \(epoch 2\)"):
        fit(spoilt(tmp_path, math.nan, accelerator=accelerator))
    assert steps_saved(tmp_path) == [4]
