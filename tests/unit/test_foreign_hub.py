"""Models from the cache of the Hugging Face Hub: of timm and of ours."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ruggedize.core.errors import UserError
from ruggedize.models import (
    Classifier,
    Predictor,
    ResNet9Options,
    create_model,
    save_model,
)
from tests.foreign import (
    IMAGES,
    TINY,
    cached_on_hub,
    loaded,
    timm_weights,
    with_timm,
)

pytestmark = pytest.mark.usefixtures("nothing_is_unpickled")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the home of an empty cache of the Hub, which this process uses."""
    with_timm()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "home" / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "home"


def test_published_timm_weights_come_from_the_hubs_cache(hub: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not in the local Hub cache;\n.*--download"):
        loaded(f"timm/{TINY}")
    network = timm_weights(tmp_path / "w.safetensors", TINY)
    content = (tmp_path / "w.safetensors").read_bytes()
    cached_on_hub(hub, f"timm/{TINY}", {"model.safetensors": content})
    model = loaded(f"timm/{TINY}")
    assert isinstance(model, Predictor)
    pixels = torch.randn(2, 3, 160, 160)
    torch.testing.assert_close(model.model(pixels), network(pixels))
    assert (model.input_size, model.resize) == (160, 168)
    assert model.synonyms[0][:2] == ("n01440764", "tench, Tinca tinca")
    assert loaded(f"timm/{TINY}", resize=160).resize == 160


def test_a_repository_of_timms_is_read_without_its_code(hub: Path, tmp_path: Path) -> None:
    network = timm_weights(tmp_path / "w.safetensors", "test_resnet", num_classes=3)
    config = {
        "architecture": "test_resnet",
        "num_classes": 3,
        "label_names": ["red", "blue", "green"],
        "pretrained_cfg": {"input_size": [3, 96, 96], "mean": [0.5] * 3, "std": [0.5] * 3},
    }
    files = {
        "model.safetensors": (tmp_path / "w.safetensors").read_bytes(),
        "config.json": json.dumps(config).encode(),
        "pytorch_model.bin": b"\x80\x04cos\nsystem\n",
    }
    cached_on_hub(hub, "me/mine", files)
    model = loaded("hf:me/mine")
    assert isinstance(model, Predictor)
    assert (model.input_size, model.mean) == (96, (0.5, 0.5, 0.5))
    assert model.synonyms == [("red",), ("blue",), ("green",)]
    pixels = torch.randn(2, 3, 96, 96)
    torch.testing.assert_close(model.model(pixels), network(pixels))


def test_a_repository_without_safetensors_is_rejected(hub: Path) -> None:
    cached_on_hub(hub, "me/pickled", {"pytorch_model.bin": b"\x80\x04", "config.json": b"{}"})
    with pytest.raises(UserError, match=r"model\.safetensors of me/pickled is not in"):
        loaded("hf:me/pickled")


def test_a_repository_of_another_kind_is_rejected(hub: Path, tmp_path: Path) -> None:
    save_file({"w": torch.zeros(1)}, tmp_path / "w.safetensors")
    content = (tmp_path / "w.safetensors").read_bytes()
    config = json.dumps({"architectures": ["BertModel"]}).encode()
    cached_on_hub(hub, "me/bert", {"model.safetensors": content, "config.json": config})
    with pytest.raises(UserError, match="does not describe a timm model"):
        loaded("hf:me/bert")


def test_a_model_of_ours_comes_from_the_hubs_cache(hub: Path, tmp_path: Path) -> None:
    model = create_model(ResNet9Options(width=8), ("a", "b"), 32, 32, seed=0)
    save_model(model, tmp_path / "model.safetensors", {})
    content = (tmp_path / "model.safetensors").read_bytes()
    cached_on_hub(hub, "me/ours", {"model.safetensors": content})
    found = loaded("hf:me/ours")
    assert isinstance(found, Classifier)
    assert torch.equal(found(IMAGES.images), model.eval()(IMAGES.images))
