"""`ruggedize assess` on models of other origin, as a user types it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ruggedize.assess import Assessment, load_assessment, load_predictions
from ruggedize.cli.main import run_command
from tests.foreign import colour_folder, colour_onnx, environment, timm_weights, with_timm

pytestmark = pytest.mark.more

FEW = ("--corruptions", "gaussian_noise,contrast", "--severities", "1,5")
PLAIN = ("--mean", "0", "--std", "1")
MODULE = """
import torch

class Network(torch.nn.Module):
    def forward(self, images):
        return 4 * images.mean((2, 3)).flip(1)

def network():
    return Network()

def function():
    return lambda images: images.float().mean((2, 3)).flip(1) / 10
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with pictures, an ONNX file and a module of the user's own."""
    folder = tmp_path_factory.mktemp("place")
    colour_folder(folder / "photos", ("",), n=30)
    colour_onnx(folder / "mine.onnx", ["n", 3, 16, 16])
    (folder / "mycode").mkdir()
    (folder / "mycode" / "models.py").write_text(MODULE)
    return folder


def assess(place: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ruggedize", "assess", *arguments, "--data", "photos"]
    return subprocess.run(
        [*command, "--out", "out.json"],
        capture_output=True,
        text=True,
        cwd=place,
        env=environment(**more),
    )


def assessed(place: Path, *arguments: str, **more: str) -> Assessment:
    result = assess(place, *arguments, **more)
    assert result.returncode == 0, result.stderr
    return load_assessment(place / "out.json")


def test_an_onnx_file_and_own_code_are_compared(place: Path) -> None:
    models = ("mine.onnx", "mycode.models:network", "mycode.models:function")
    found = assessed(place, *models, *PLAIN, "--image-size", "32", *FEW)
    assert [*found.models] == ["mine", "network", "function"]
    assert {comparison.baseline for comparison in found.comparisons} == {"mine"}
    assert all(model.clean.accuracy == 1.0 for model in found.models.values())
    assert found.images.classes == ("blue", "green", "red")
    assert (found.images.num_images, found.images.image_size) == (30, 32)
    assert found.inputs["mine"].input_size == 16
    assert found.facts.sources == dict(zip(found.models, models, strict=True))
    assert found.facts.held_out == ()
    assert found.facts.examples == ()  # on these pictures nothing goes wrong
    kept = load_predictions(place / "out-predictions" / "network.safetensors")
    assert (kept.clean.classes[:, 0] == kept.labels).all()


@pytest.mark.more
def test_photographs_are_assessed_at_224_pixels_and_other_sizes_named(place: Path) -> None:
    result = assess(place, "mine.onnx", *PLAIN, *FEW, "--num-images", "6")
    assert result.returncode == 0, result.stderr
    assert "was spent in the models, the rest waiting for images" in result.stderr
    assert "corrupted at 224 pixels, then resized for mine (16)" in result.stderr
    assert load_assessment(place / "out.json").images.image_size == 224


def test_a_wrong_order_of_classes_is_noticed_and_mended(place: Path) -> None:
    wrong = assess(place, "mine.onnx", *PLAIN, *FEW, "--image-size", "16", "--channels", "bgr")
    assert wrong.returncode == 0, wrong.stderr
    assert "in another order" in wrong.stderr
    assert "WARNING: The figures hold for new images only if mine was trained" in wrong.stderr
    (place / "names.txt").write_text("red\ngreen\nblue\n")
    more = ("--channels", "bgr", "--classes", "names.txt", "--image-size", "16")
    right = assess(place, "mine.onnx", *PLAIN, *FEW, *more)
    assert "another order" not in right.stderr
    assert load_assessment(place / "out.json").models["mine"].clean.accuracy == 1.0


@pytest.mark.more
def test_a_map_of_classes_joins_outputs(place: Path) -> None:
    (place / "map.csv").write_text("0,blue\n1,green\n2,red\n")
    more = ("--class-map", "map.csv", "--image-size", "16")
    found = assessed(place, "mine.onnx", *PLAIN, *FEW, *more)
    assert found.models["mine"].clean.accuracy == 1.0


def test_a_timm_model_is_assessed_as_it_describes_itself(place: Path) -> None:
    timm_weights(place / "w.safetensors", "test_resnet", num_classes=3)
    found = assessed(place, "timm/test_resnet@w.safetensors", *FEW, "--num-images", "6")
    facts = found.inputs["test_resnet"]
    assert (facts.input_size, facts.resize, facts.interpolation) == (160, 168, "bilinear")
    assert found.facts.sources == {"test_resnet": "timm/test_resnet@w.safetensors"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mine.pth"], "is a pickle or contains one"),
        (["mine.onnx"], "does not declare how pixels are normalised"),
        (["mine.onnx", "--mean", "0"], "--mean and --std must be given together"),
        (["mine.onnx", "--mean", "x", "--std", "1"], "--mean must be one number, or three"),
        (["mine.onnx", *PLAIN, "--input-size", "0"], "--input-size must be at least 1, got 0"),
        (["mine.onnx", *PLAIN, "--resize", "8"], "resize must be at least input_size = 16, got 8"),
        (["mine.onnx", *PLAIN, "--image-size", "2"], "--image-size must be in 4..1024, got 2"),
        (["mine.onnx", *PLAIN, "--classes", "none.txt"], "there is no file none.txt"),
        (["mine.onnx", "mine.onnx", *PLAIN], "have the same name"),
        (["mycode.models:network", "--layout", "nhwc"], "--layout has no effect"),
        (["mycode.models:other"], "has no function other"),
        (["nocode:network"], "there is no module nocode"),
        (["timm/none"], "timm has no model none"),
        (["timm/test_resnet"], "is not in the local Hub cache"),
        (["hf:me/mine"], "is not in the local Hub cache"),
        (["mine.onnx", *PLAIN, "--download"], "--download has no effect"),
    ],
)
def test_a_mistake_is_one_line_with_its_cure(
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(place / "empty"))
    with_timm()
    said = run_command(["assess", *arguments, "--data", "photos", "--out", "none.json"])
    assert message in said
    assert 2 <= len(said.splitlines()) <= 3
    assert not (place / "none.json").exists()


@pytest.mark.more
def test_what_is_missing_is_named_with_the_extra(place: Path) -> None:
    hide = place / "hide"
    for name in ("onnxruntime", "timm", "huggingface_hub"):
        (hide / name).mkdir(parents=True, exist_ok=True)
        (hide / name / "__init__.py").write_text(
            f"raise ModuleNotFoundError('No module named {name}', name='{name}')"
        )
    path = f"{hide}:{environment()['PYTHONPATH']}"
    for text, extra in {
        "mine.onnx": "onnx",
        "timm/resnet18": "timm",
        "hf:me/mine": "hub",
    }.items():
        result = assess(place, text, PYTHONPATH=path)
        assert result.returncode == 2
        assert f"pip install 'ruggedize[{extra}]'" in result.stderr


@pytest.mark.more
def test_the_assessment_holds_no_time_and_is_replaced_by_an_equal_one(place: Path) -> None:
    arguments = ("mine.onnx", *PLAIN, *FEW, "--image-size", "16")
    (place / "out.json").unlink(missing_ok=True)
    warning = "out.json exists; this assessment replaces it"
    assert warning not in assess(place, *arguments).stderr
    first = (place / "out.json").read_bytes()
    assert warning in assess(place, *arguments).stderr
    assert (place / "out.json").read_bytes() == first
    assert json.loads(first)["schema_version"] == 1
