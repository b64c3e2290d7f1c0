"""Models of other origin as they are loaded: ONNX files, functions, timm, the Hub's cache."""

import sys
from pathlib import Path

import pytest
import torch

from ruggedize.core.errors import UserError
from ruggedize.models import (
    Contract,
    ForeignOptions,
    Predictor,
    load_foreign,
)
from ruggedize.models.contract import parsed_channels, read_class_map, read_classes
from ruggedize.models.foreign import kind_of
from tests.foreign import IMAGES, PLAIN, accuracy, colour_onnx, loaded, timm_weights

pytestmark = pytest.mark.usefixtures("nothing_is_unpickled")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("timm/resnet18", "timm"),
        ("hf:org/name", "hf"),
        ("a/b.onnx", "onnx"),
        ("a.b:c", "function"),
        ("runs/x", None),
        ("model.safetensors", None),
    ],
)
def test_what_a_text_names(text: str, kind: str | None) -> None:
    assert kind_of(text) == kind


@pytest.mark.parametrize("name", ["mine.pth", "mine.pt2", "mine.ckpt", "mine.PT"])
def test_a_pickle_is_never_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(UserError, match=r"can run code.*\n.*package.module:function"):
        kind_of(str(tmp_path / name))


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        (["n", 3, 16, 16], "float"),
        (["n", 16, 16, 3], "float"),
        ([5, 3, 16, 16], "float"),
        (["n", 3, "h", "w"], "half"),
        (["n", 3, 16, 16], "uint8"),
    ],
)
def test_an_onnx_file_is_fed_as_it_says(tmp_path: Path, shape: list, kind: str) -> None:
    path = colour_onnx(tmp_path / "mine.onnx", shape, kind=kind)
    model = loaded(path, **({} if kind == "uint8" else PLAIN))
    assert accuracy(model) == 1.0
    assert model.layout == ("nhwc" if shape[3] == 3 else "nchw")
    assert model.input_size == (16 if 16 in shape else None)


def test_channels_and_probabilities_of_an_onnx_file_are_as_declared(tmp_path: Path) -> None:
    path = colour_onnx(tmp_path / "mine.onnx", ["n", 3, 16, 16], softmax=True)
    model = loaded(path, output="probabilities", **PLAIN)
    assert accuracy(model) == 1.0
    logits = colour_onnx(tmp_path / "logits.onnx", ["n", 3, 16, 16])
    wanted = loaded(logits, **PLAIN).logits(IMAGES.images).softmax(1)
    torch.testing.assert_close(model.logits(IMAGES.images).softmax(1), wanted)
    assert accuracy(loaded(path, channels="bgr", **PLAIN)) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("shape", "kind", "contract", "message"),
    [
        (["n", 3, 16, 16], "float", {}, r"does not declare how pixels are normalised;\n.*--mean"),
        (["n", 3, 16, 16], "uint8", PLAIN, "omit --mean and --std"),
        (
            ["n", 3, 16, 16],
            "float",
            {"input_size": 32} | PLAIN,
            "size must be 16, .* got 32",
        ),
        (
            ["n", 3, 16, 16],
            "float",
            {"layout": "nhwc"} | PLAIN,
            "layout must be nchw, .* got nhwc",
        ),
        (["n", 3, 16, 20], "float", PLAIN, "must take square images"),
    ],
)
def test_an_onnx_file_that_does_not_fit_is_rejected(
    tmp_path: Path, shape: list, kind: str, contract: dict, message: str
) -> None:
    path = colour_onnx(tmp_path / "mine.onnx", shape, kind=kind)
    with pytest.raises(UserError, match=message):
        loaded(path, **contract)


def test_a_file_that_is_no_onnx_file_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "mine.onnx").write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be opened by onnxruntime"):
        loaded(tmp_path / "mine.onnx")
    with pytest.raises(UserError, match="there is no file"):
        loaded(tmp_path / "none.onnx")


def test_a_functions_module_is_normalised_and_its_function_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_models.py").write_text(
        "import torch\n"
        "from tests.foreign import ColourNetwork\n"
        "def network(): return ColourNetwork()\n"
        "def function(): return lambda images: images.float().mean((2, 3)).flip(1)\n"
        "def lazy():\n"
        "    def scores(images):\n"
        "        import my_lazy_part\n"
        "        return images.float().mean((2, 3)).flip(1)\n"
        "    return scores\n"
        "def nothing(): return 7\n"
        "def broken(): raise KeyError('weights')\n"
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_lazy_part.py").touch()
    (tmp_path / "mine_models.py").write_text("import mine")  # a package that is not installed
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = [*sys.path]
    network = loaded("my_models:network")
    assert accuracy(network) == 1.0
    assert network.normalisation is not None
    assert accuracy(loaded("my_models:network", channels="bgr")) == pytest.approx(1 / 3)
    function = loaded("my_models:function")
    assert accuracy(function) == 1.0
    assert function.normalisation is None
    assert accuracy(loaded("my_models:lazy")) == 1.0
    assert sys.path == [*before, str(tmp_path)]  # at the end: it hides no package
    for text, message in {
        "my_models:other": "has no function other",
        "my_models:nothing": "must return a model, got int",
        "my_models:broken": r"failed: KeyError: 'weights' \(my_models.py, line 11\)",
        "no_models:network": "there is no module no_models",
        "mine_models:network": "No module named 'mine'",
    }.items():
        with pytest.raises(UserError, match=message):
            loaded(text)
    for option in ({"mean": (0.0,) * 3, "std": (1.0,) * 3}, {"layout": "nhwc"}):
        with pytest.raises(UserError, match="has no effect on my_models:function"):
            loaded("my_models:function", **option)


def test_timm_weights_of_a_file_are_those_that_are_assessed(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    network = timm_weights(path, "test_resnet", num_classes=3)
    model = loaded(f"timm/test_resnet@{path}")
    assert isinstance(model, Predictor)
    assert model.synonyms is None
    pixels = torch.randn(2, 3, 160, 160)
    torch.testing.assert_close(model.model(pixels), network(pixels))


def test_timm_mistakes_are_named(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    timm_weights(path, "test_vit", num_classes=3)
    (tmp_path / "mine.pth").write_bytes(b"PK\x03\x04")
    for text, message in {
        "timm/resnt18": r"no model resnt18;\ndid you mean timm/",
        "timm/resnet18.none": "no weights none for resnet18",
        f"timm/test_resnet@{path}": "does not contain the weights of timm's test_resnet",
        f"timm/test_resnet@{tmp_path / 'none.safetensors'}": "there is no file",
        f"timm/test_resnet@{tmp_path / 'mine.pth'}": "pickles are never read",
    }.items():
        with pytest.raises(UserError, match=message):
            loaded(text)


def test_options_without_an_effect_are_rejected(tmp_path: Path) -> None:
    path = colour_onnx(tmp_path / "mine.onnx", ["n", 3, 16, 16], kind="uint8")
    with pytest.raises(UserError, match="--download has no effect"):
        loaded(path, download=True)
    for options, name in {
        ForeignOptions(Contract(layout="nchw")): "--layout",
        ForeignOptions(classes=("a", "b")): "--classes",
    }.items():
        with pytest.raises(UserError, match=f"{name} has no effect on models of ruggedize"):
            load_foreign([], options, torch.device("cpu"))


def test_numbers_for_channels_are_one_or_three() -> None:
    assert parsed_channels("--mean", "0.5") == (0.5, 0.5, 0.5)
    assert parsed_channels("--mean", "0.1, .2,3e-1") == (0.1, 0.2, 0.3)
    for text in ("", "a", "1,2", "nan", "1,2,3,4"):
        with pytest.raises(UserError, match="--mean must be one number, or three"):
            parsed_channels("--mean", text)


def test_files_of_classes_are_read_or_rejected(tmp_path: Path) -> None:
    file = tmp_path / "names"
    file.write_text("\ufeffcat\r\n\n dog \nGroßer Fisch\n", encoding="utf-8")
    assert read_classes(file) == ("cat", "dog", "Großer Fisch")
    file.write_text('tabby,cat\n"tench, Tinca tinca", fish\n\n')
    assert read_class_map(file) == {"tabby": "cat", "tench, Tinca tinca": "fish"}
    for content, message in {
        "tabby": "line 1: a line must be MODEL_CLASS,DATA_CLASS, got tabby",
        "a,b\na,c\n": "line 2: a has two data classes, b and c",
    }.items():
        file.write_text(content)
        with pytest.raises(UserError, match=message):
            read_class_map(file)
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not UTF-8 text"):
        read_classes(file)
    with pytest.raises(UserError, match="there is no file"):
        read_classes(tmp_path / "none")
