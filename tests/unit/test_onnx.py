"""An ONNX file computes what its model computes, or is not written."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image, ImageOps
from safetensors import safe_open
from torch import Tensor, nn

from ruggedize.core import extras
from ruggedize.core.errors import UserError
from ruggedize.core.files import sha256
from ruggedize.data import Fit, decode_image
from ruggedize.kernels.centre_crop import TestFilter, resized_middle
from ruggedize.kernels.pictures import square
from ruggedize.models import (
    Classifier,
    ResNet9Options,
    create_model,
    export_onnx,
    export_state_dict,
    load_model,
    save_model,
    serving_snippet,
)
from ruggedize.models.contract import Contract
from ruggedize.models.export import check_onnx, compared, generated_images, packed_onnx
from ruggedize.models.onnx_models import load_onnx
from ruggedize.models.registry import meta_model
from tests.contract.test_models import SMALL, small

CLASSES = ("cat", "dog", "ship")
WITHOUT_US = """
import sys
sys.modules["ruggedize"] = sys.modules["torch"] = None  # an import of either fails
exec(open(sys.argv[1]).read())
"""


def sharpened(image_size: int, input_size: int, seed: int = 0) -> Classifier:
    """Build a small model whose answers differ clearly between images."""
    model = create_model(ResNet9Options(width=8), CLASSES, image_size, input_size, seed)
    with torch.no_grad():
        model.network.head.weight.mul_(30)
        model.train()(model.test_view(generated_images(24, image_size)))
    return model.eval()


class Foreign(nn.Module):
    """A network that another library could have made."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.SiLU())
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images).mean((2, 3)))


class Deceptive(Foreign):
    """Computes something else once it is exported."""

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) + float(torch.compiler.is_exporting())


def run_onnx(path: Path, images: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(path)
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


NETWORKS = [
    pytest.param(name, marks=pytest.mark.more) if name == "resnet50v2" else name for name in SMALL
]


@pytest.mark.more
@pytest.mark.parametrize("name", NETWORKS)
def test_every_own_network_is_exported(name: str, small_images: Tensor, tmp_path: Path) -> None:
    model = small(name).eval()
    found = export_onnx(model, tmp_path / "m.onnx", small_images)
    assert found.num_images == len(small_images)
    assert found.probabilities <= 1e-5
    for part in (small_images[:1], small_images[:7]):  # any batch size
        logits = run_onnx(tmp_path / "m.onnx", part)
        torch.testing.assert_close(logits, model(part).detach(), rtol=1e-3, atol=1e-4)


@pytest.mark.more
def test_an_export_normalises_with_the_models_own_mean(tmp_path: Path) -> None:
    torch.manual_seed(0)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    model = Classifier(Foreign(), classes=CLASSES, input_size=32, mean=mean, std=std)
    export_onnx(model, tmp_path / "m.onnx")
    assert model.training, "the model that was given was changed"
    images = generated_images(5, 32)
    logits = run_onnx(tmp_path / "m.onnx", images)
    torch.testing.assert_close(logits, model.eval()(images).detach(), rtol=1e-3, atol=1e-4)
    other = Classifier(model.network, classes=CLASSES, input_size=32).eval()
    assert not torch.allclose(logits, other(images).detach(), rtol=1e-3, atol=1e-4)  # it bites


@pytest.mark.more
def test_the_file_describes_itself_and_names_no_place(tmp_path: Path) -> None:
    model = sharpened(16, 32)
    save_model(model, tmp_path / "model.safetensors")
    digest = sha256(tmp_path / "model.safetensors")
    export_onnx(model, tmp_path / "m.onnx", model_sha256=digest)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == list(CLASSES)
    assert (facts["image_size"], facts["input_size"]) == ("16", "32")
    assert facts["model_sha256"] == digest
    assert facts["ruggedize_version"]
    (given,) = session.get_inputs()
    assert (given.type, given.shape[1:]) == ("tensor(uint8)", [3, 32, 32])
    assert isinstance(given.shape[0], str), "the batch size is fixed"
    onnx.checker.check_model(onnx.load(tmp_path / "m.onnx"), full_check=True)
    assert b".py" not in (tmp_path / "m.onnx").read_bytes()


@pytest.mark.more
def test_equal_models_give_equal_files() -> None:
    model, other = sharpened(32, 32), sharpened(32, 32, seed=1)
    assert packed_onnx(model) == packed_onnx(model) != packed_onnx(other)


def test_a_file_that_computes_something_else_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"an earlier file")
    with pytest.raises(UserError, match="nothing was written"):
        export_onnx(Classifier(Deceptive(), classes=CLASSES, input_size=32), path)
    assert path.read_bytes() == b"an earlier file"
    assert [each.name for each in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.more
def test_another_models_file_fails_the_check(small_images: Tensor) -> None:
    model, other = sharpened(32, 32), sharpened(32, 32, seed=1)
    assert check_onnx(packed_onnx(model), model, small_images).logits < 1e-4
    with pytest.raises(UserError, match="differs from the model"):
        check_onnx(packed_onnx(other), model, small_images)


def test_logits_and_probabilities_have_their_tolerances() -> None:
    expected = torch.tensor([[2.0, 1.0, -40.0]])
    assert compared(expected, expected + 5e-5).logits == pytest.approx(5e-5, rel=0.01)
    compared(expected, expected + torch.tensor([[0.0, 0.0, 0.03]]))  # 1e-3 of 40
    for wrong in ([[2.003, 1.003, -40.0]], [[2.0005, 1.0, -40.0]], [[torch.nan, 1.0, -40.0]]):
        with pytest.raises(UserError):  # of the second, only the probabilities are too far apart
            compared(expected, torch.tensor(wrong))


def test_another_top_class_needs_a_margin_below_the_tolerance() -> None:
    """The tolerance of logits near zero is 1e-4; of 400 classes all probabilities are close."""
    expected, found = torch.zeros(1, 400), torch.zeros(1, 400)
    expected[0, 0], found[0, 1] = 0.9e-4, 0.9e-4
    compared(expected, found)
    expected[0, 0], found[0, 0] = 1.5e-4, 0.6e-4
    with pytest.raises(UserError, match="classifies 1 of 1 images differently"):
        compared(expected, found)


@pytest.mark.parametrize("fit", ["crop", "pad", "squash"])
@pytest.mark.parametrize(
    ("crop_pct", "how", "most"),
    [(1.0, "bilinear", 1), (0.95, "bilinear", 1), (0.875, "bicubic", 12)],  # of noise
)
def test_the_snippet_makes_the_view_that_its_model_was_trained_on(
    fit: Fit, crop_pct: float, how: TestFilter, most: int
) -> None:
    code = serving_snippet("m.onnx", fit, crop_pct, how)
    lines = code.partition('.convert("RGB")\n')[2].partition("logits = ")[0]
    pixels = np.random.default_rng(0).integers(0, 256, (61, 89, 3), np.uint8)  # odd differences
    wide = Image.fromarray(pixels)
    here = {"image": wide, "stored": 37, "side": 38, "Image": Image, "ImageOps": ImageOps}
    exec(lines, here)
    stored = torch.from_numpy(square(wide, 37, fit))[None]
    ours = resized_middle(stored, 38, crop_pct, how)[0].permute(1, 2, 0).int()
    theirs = torch.from_numpy(np.array(here["image"])).int()
    assert (ours - theirs).abs().max() <= most
    assert (ours - theirs.roll(1, 1)).abs().float().mean() > most  # a pixel would show


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"needs onnxscript;\npip install 'ruggedize\[onnx\]'"):
        export_onnx(sharpened(32, 32), tmp_path / "m.onnx")
    extras.require_extra("hub", "the Hub")


@pytest.mark.parametrize(("input_size", "crop_pct"), [(32, 1.0), (48, 1.0), (24, 0.75)])
def test_the_snippet_serves_without_this_project(
    input_size: int, crop_pct: float, tmp_path: Path
) -> None:
    model = sharpened(32, input_size)
    model.crop_pct, model.test_filter = crop_pct, "bilinear"
    export_onnx(model, tmp_path / 'a "student".onnx')
    pixels = generated_images(3, 90)[2].permute(1, 2, 0).numpy()
    Image.fromarray(np.ascontiguousarray(pixels[:70])).save(tmp_path / "photo.jpg", quality=95)
    code = serving_snippet('a "student".onnx', "crop", crop_pct, "bilinear")
    assert len(code.splitlines()) <= 22
    assert max(map(len, code.splitlines())) <= 100
    (tmp_path / "serve.py").write_text(code)
    served = without_us(tmp_path / "serve.py")
    assert served.returncode == 0, served.stderr
    name, confidence = served.stdout.split()
    found = model.predict(decode_image(tmp_path / "photo.jpg", 32)[None])
    assert name == CLASSES[found.labels[0]]
    assert float(confidence) == pytest.approx(float(found.confidences[0]), abs=0.01)


def test_an_exported_file_is_assessed_on_the_middle_that_its_model_sees(tmp_path: Path) -> None:
    model = sharpened(32, 24)
    model.crop_pct, model.test_filter = 0.75, "bicubic"
    export_onnx(model, tmp_path / "m.onnx")
    predictor = load_onnx(tmp_path / "m.onnx", Contract(), torch.device("cpu"))
    images = generated_images(4, 32)
    assert torch.equal(predictor.view(images), model.test_view(images))
    assert (predictor.resize, predictor.fit) == (32, "crop")
    model.crop_pct, model.test_filter, model.fit = 0.95, "tf", "pad"
    export_onnx(model, tmp_path / "m.onnx")
    predictor = load_onnx(tmp_path / "m.onnx", Contract(), torch.device("cpu"))
    assert torch.equal(predictor.view(images), model.test_view(images))
    assert predictor.fit == "pad"


def test_the_page_shows_the_snippet() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "export.md").read_text()
    assert f"```python\n{serving_snippet('student.onnx')}```" in page


def test_the_environment_of_the_snippet_lacks_this_project(tmp_path: Path) -> None:
    for name in ("ruggedize", "torch"):
        (tmp_path / "serve.py").write_text(f"import {name}")
        assert "ModuleNotFoundError" in without_us(tmp_path / "serve.py").stderr


def without_us(script: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in its folder where neither this project nor torch can be imported."""
    line = [sys.executable, "-I", "-c", WITHOUT_US, script.name]
    return subprocess.run(line, capture_output=True, text=True, cwd=script.parent)


def test_plain_weights_fit_the_network_and_carry_what_is_around_it(tmp_path: Path) -> None:
    model = sharpened(16, 32)
    export_state_dict(model, tmp_path / "w.safetensors", "ab12")
    export_state_dict(model, tmp_path / "again.safetensors", "ab12")
    assert (tmp_path / "w.safetensors").read_bytes() == (
        tmp_path / "again.safetensors"
    ).read_bytes()
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        facts = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    network = meta_model(ResNet9Options(width=8), 3).to_empty(device="cpu").eval()
    network.load_state_dict(weights)
    images = generated_images(4, 32)
    mean, std = (torch.tensor(json.loads(facts[key])).reshape(3, 1, 1) for key in ("mean", "std"))
    logits = network((images / 255 - mean) / std)
    torch.testing.assert_close(logits, model(images), rtol=1e-4, atol=1e-4)
    assert json.loads(facts["classes"]) == list(CLASSES)
    assert facts["model_sha256"] == "ab12"
    with pytest.raises(UserError, match="without a description of their model"):
        load_model(tmp_path / "w.safetensors")


TORCHSCRIPT = """
import torch
from tests.contract.test_models import SMALL, built_once

for name in SMALL:
    model = built_once(name).eval()
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    n = torch.export.Dim("n")
    program = torch.export.export(model, (images,), dynamic_shapes=({0: n},))
    assert program.module()(images[:1].expand(5, -1, -1, -1)).shape == (5, 10)
    try:
        torch.jit.script(model)
    except RuntimeError:
        print(name)
"""


@pytest.mark.more
def test_torchscript_is_not_supported_and_torch_export_is() -> None:
    """As docs/export.md says; in a process where no test has wrapped the functions."""
    line = [sys.executable, "-W", "ignore", "-c", TORCHSCRIPT]
    result = subprocess.run(line, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == list(SMALL)
