"""The chain on an accelerator: the same steps, and the same model file read back on the CPU."""

from functools import partial
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from PIL import Image

from ruggedize.cli.assessing import predict
from ruggedize.core.progress import no_progress
from ruggedize.models import load_model, save_model
from ruggedize.pipeline import run
from ruggedize.recipe import load_recipe
from ruggedize.train.batches import batches_of_epoch
from ruggedize.train.objectives.targets import precomputed_logits
from ruggedize.views import ViewMaker, ViewOptions
from tests.accelerators import only_accelerator
from tests.behaviour.runs import TINY
from tests.tiny_stages import three_colours, tiny_stage

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_the_chain_runs_on_the_device_and_its_models_run_anywhere(
    tmp_path: Path, accelerator: Accelerator
) -> None:
    report = run(load_recipe("demo", TINY), tmp_path / "run", accelerator=accelerator)
    assert report.exists()
    model = load_model(tmp_path / "run" / "student" / "model.safetensors")
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    here, there = model.predict(images), model.to(accelerator.device).predict(images)
    torch.testing.assert_close(here.probabilities, there.probabilities, rtol=1e-3, atol=1e-3)


def test_batches_made_ahead_are_those_made_on_the_spot(tmp_path: Path) -> None:
    with only_accelerator(cpu=True) as here:
        ours = list(batches_of_epoch(tiny_stage(tmp_path, accelerator=here), 1, 0))
    with only_accelerator() as there:
        theirs = list(batches_of_epoch(tiny_stage(tmp_path, accelerator=there), 1, 0))
    for one, other in zip(ours, theirs, strict=True):
        assert other.batch["labelled"]["view"].is_pinned()
        for name in ("view", "labels"):
            assert torch.equal(one.batch["labelled"][name], other.batch["labelled"][name])


def test_cached_targets_are_what_the_teacher_says_in_every_step(tmp_path: Path) -> None:
    views = ViewOptions.model_validate({"pad": 1, "geometry": "shared"})
    data = three_colours(64, 0)
    maker = ViewMaker(views, image_size=16, seed=3)
    with only_accelerator() as accelerator:
        teacher = tiny_stage(tmp_path, accelerator=accelerator).model.to(accelerator.device).eval()
        makers = [partial(maker.numbered_clean, number=n) for n in range(maker.num_clean_views)]
        table = precomputed_logits(teacher, data, makers, "fp32", accelerator, no_progress)
        assert table is not None
        with torch.no_grad():
            asked = teacher(maker.clean(data.images, data.index, 0).to(accelerator.device)).cpu()
    found = table.of(data.index, maker.clean_numbers(data.index, 0))
    torch.testing.assert_close(found, asked, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(table.of(data.index, 0), asked, atol=1e-3)


def test_images_are_classified_on_the_device(tmp_path: Path, accelerator: Accelerator) -> None:
    save_model(tiny_stage(tmp_path, accelerator=accelerator).model, tmp_path / "model.safetensors")
    Image.new("RGB", (20, 20)).save(tmp_path / "picture.png")
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    predict(tmp_path / "model.safetensors", (tmp_path / "picture.png",))
    assert torch.cuda.max_memory_allocated() > before
