"""Networks of timm are trained, from scratch and from weights in a file, and resumed exactly."""

import json
from pathlib import Path

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from safetensors.torch import load_file, save_file

from ruggedize.core.errors import UserError
from ruggedize.core.files import sha256
from ruggedize.models import ModelOptions, TimmOptions, create_model, load_model
from ruggedize.recipe import load_recipe
from tests.fine_tuning import NET, assert_resumes_exactly, options_of, train
from tests.foreign import cached_on_hub, timm_weights, with_timm

pytestmark = pytest.mark.more


def model_options(value: object) -> TimmOptions:
    found = TypeAdapter(ModelOptions).validate_python(value)
    assert isinstance(found, TimmOptions)
    return found


def weights_file(folder: Path, num_classes: int = 7) -> Path:
    timm_weights(folder / "weights.safetensors", "test_resnet", num_classes)
    return folder / "weights.safetensors"


def pretrained(place: str | bool | Path) -> dict[str, object]:
    return {"name": NET, "pretrained": place if isinstance(place, bool) else str(place)}


def test_a_name_is_a_table() -> None:
    assert model_options("timm/resnet18.a1_in1k").architecture == "resnet18.a1_in1k"
    assert model_options({"name": "timm/resnet18", "pretrained": True}).pretrained is True
    for name in ("timm/hf-hub:org/net", "timm/local-dir:/etc", "timm/"):
        with pytest.raises(ValidationError):
            model_options(name)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_byobnet", "test_convnext"])
def test_a_network_is_built_for_the_views_and_loads_from_its_file(
    name: str, tmp_path: Path
) -> None:
    with_timm()
    images = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    state = torch.get_rng_state()
    first, second, other = (
        create_model(model_options(f"timm/{name}"), ("a", "b", "c"), 64, 64, seed)
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.get_rng_state(), state)
    logits = first.eval()(images)
    assert logits.shape == (2, 3)
    assert torch.equal(logits, second.eval()(images))
    assert not torch.equal(logits, other.eval()(images))
    import timm

    expected = timm.data.resolve_model_data_config(timm.create_model(name))
    assert (first.mean, first.std) == (expected["mean"], expected["std"])
    from ruggedize.models import save_model

    save_model(first, tmp_path / "model.safetensors")
    assert torch.equal(load_model(tmp_path / "model.safetensors")(images), logits)


def test_a_training_without_pretrained_weights_resumes_exactly_with_its_own_randomness(
    tmp_path: Path,
) -> None:
    model = {"name": NET, "drop_rate": 0.3, "drop_path_rate": 0.2}
    assert_resumes_exactly(tmp_path, options_of(model=model, averaging="ema"), at=6)
    train(tmp_path / "none", options_of(averaging="ema"))
    ours, without = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "none"))
    assert not torch.equal(ours["fc.weight"], without["fc.weight"])  # it has an effect


def test_pretrained_weights_are_those_of_the_file_with_a_new_head(tmp_path: Path) -> None:
    file = weights_file(tmp_path)
    train(tmp_path / "run", options_of(model=pretrained(file)))
    initial, given = load_file(tmp_path / "run" / "initial.safetensors"), load_file(file)
    assert initial["fc.weight"].shape == (3, *given["fc.weight"].shape[1:])
    assert all(
        torch.equal(initial[name], given[name]) for name in given if not name.startswith("fc.")
    )
    note = json.loads((tmp_path / "run" / "delivered.json").read_text())
    assert note["training"]["start"] == {
        "source": "weights.safetensors",
        "sha256": sha256(file),
        "license": None,
        "head": "new",
    }
    described = load_model(tmp_path / "run" / "model.safetensors").architecture
    assert described == TimmOptions(architecture="test_resnet")  # no path of this machine


def test_published_weights_come_from_the_cache_with_the_licence_that_timm_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    options = options_of(model=pretrained(True))
    with pytest.raises(UserError, match=r"(?s)HF_HUB_OFFLINE.*hf download timm/test_resnet"):
        train(tmp_path / "run", options)
    assert not (tmp_path / "run").exists()
    content = weights_file(tmp_path, 1000).read_bytes()
    folder = cached_on_hub(tmp_path, "timm/test_resnet.r160_in1k", {"model.safetensors": content})
    train(tmp_path / "run", options)
    start = json.loads((tmp_path / "run" / "delivered.json").read_text())["training"]["start"]
    assert start["source"] == "timm/test_resnet.r160_in1k"
    assert start["license"] == "apache-2.0"
    assert start["sha256"] == sha256(folder / "model.safetensors")


def test_files_that_do_not_fit_are_rejected_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(b"\x80\x02")
    save_file({"fc.weight": torch.zeros(3, 3)}, tmp_path / "other.safetensors")
    cases = {"nowhere.safetensors": "no file", "weights.pth": "pickles"}
    cases["other.safetensors"] = r"does not hold the weights .*Missing key"
    for name, message in cases.items():
        with pytest.raises(UserError, match=message):
            train(tmp_path / "run", options_of(model=pretrained(tmp_path / name)))
        assert not (tmp_path / "run").exists(), name


def test_own_networks_have_no_pretrained_weights() -> None:
    for change in ("teacher.model.pretrained=true", "teacher.pretrained=true"):
        with pytest.raises(UserError, match="only networks of timm"):
            load_recipe("demo", (change,))
    changes = ("teacher.model=timm/test_resnet", "teacher.model.pretrained=true")
    assert load_recipe("demo", changes).teacher.model == TimmOptions(
        architecture="test_resnet", pretrained=True
    )


def test_ghost_batches_reject_batch_norm_with_an_activation(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="BatchNormAct2d"):
        train(tmp_path, options_of(model="timm/test_efficientnet", ghost_batches=2))
    train(tmp_path / "plain", options_of(ghost_batches=2, epochs=1))
