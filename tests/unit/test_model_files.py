"""Model files: equal runs give equal bytes, and anything else is rejected with a fix."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ruggedize.core.errors import UserError
from ruggedize.models import (
    Classifier,
    ResNet9Options,
    WideResNetOptions,
    create_model,
    load_model,
    read_description,
    save_model,
)

CLASSES = ("cat", "dog", "ship")
TINY = ResNet9Options(width=8)


def tiny(seed: int = 0) -> Classifier:
    return create_model(TINY, CLASSES, image_size=48, input_size=32, seed=seed)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_model(tiny(), tmp_path / "model.safetensors", {"teacher": "ab12", "data": "cd34"})
    return tmp_path / "model.safetensors"


def error_message(action: Callable[[], object]) -> str:
    with pytest.raises(UserError) as caught:
        action()
    assert len(str(caught.value).splitlines()) <= 3
    return str(caught.value)


def test_equal_runs_give_equal_bytes(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "other.safetensors"
    model = tiny().to(memory_format=torch.channels_last)
    save_model(model, other, {"data": "cd34", "teacher": "ab12"})
    assert path.read_bytes() == other.read_bytes()
    save_model(tiny(seed=1), other, {"data": "cd34", "teacher": "ab12"})
    assert path.read_bytes() != other.read_bytes()  # must differ


def test_the_file_describes_its_model_and_names_its_parents(path: Path) -> None:
    description = read_description(path)
    assert description.architecture == TINY
    assert description.classes == CLASSES
    assert (description.image_size, description.input_size) == (48, 32)
    assert description.parents == {"teacher": "ab12", "data": "cd34"}
    with safe_open(path, "pt") as file:
        text = file.metadata()["ruggedize"]
    assert text == json.dumps(json.loads(text), sort_keys=True)


def test_a_loaded_model_is_ready_for_use(path: Path) -> None:
    model = load_model(path)
    assert not model.training
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_loaded_model_does_not_hold_on_to_its_file(path: Path) -> None:
    model = load_model(path)
    before = [parameter.clone() for parameter in model.parameters()]
    path.write_bytes(bytes(path.stat().st_size))
    assert all(map(torch.equal, before, model.parameters()))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert "nowhere" in error_message(lambda: load_model(tmp_path / "nowhere.safetensors"))


@pytest.mark.parametrize("legacy", [True, False])
def test_a_pickle_is_rejected_unopened(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "model.pt"
    torch.save(tiny().state_dict(), path, _use_new_zipfile_serialization=not legacy)
    assert "pickle" in error_message(lambda: load_model(path))


def test_plain_pickles_of_every_protocol_are_rejected_unopened(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps({"weight": [1.0]}, protocol))
        assert "pickle" in error_message(lambda: load_model(path))


@pytest.mark.parametrize("keep", [0, 5, 100, 5000])
def test_a_file_cut_short_is_rejected(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    assert "safetensors" in error_message(lambda: load_model(path))


def test_weights_without_a_description_are_rejected(path: Path) -> None:
    save_file(load_file(path), path)
    assert "without a description" in error_message(lambda: load_model(path))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"format": "ruggedize-model-2"}, "format"),
        ({"architecture": {"name": "resnet8"}}, "architecture"),
        ({"image_size": "large"}, "image_size"),
        ({"image_size": 60_000}, "image_size"),
        ({"input_size": 60_000}, "input_size"),
        ({"flavour": "sour"}, "flavour"),
    ],
)
def test_an_unknown_description_is_rejected(path: Path, change: dict, place: str) -> None:
    describe_anew(path, change)
    assert place in error_message(lambda: load_model(path))


@pytest.mark.parametrize(
    "change",
    [
        {"classes": [*CLASSES, "frog"]},
        {"architecture": {"name": "resnet9", "width": 16}},
        {"architecture": {"name": "wide_resnet", "depth": 10, "width": 1}},
    ],
)
def test_weights_of_another_model_are_rejected(path: Path, change: dict) -> None:
    describe_anew(path, change)
    assert "instead of" in error_message(lambda: load_model(path))


def test_a_file_of_another_architecture_or_other_classes_is_rejected(path: Path) -> None:
    wanted = WideResNetOptions(depth=16, width=2)
    message = error_message(lambda: load_model(path, architecture=wanted))
    assert "wide_resnet(depth=16, width=2" in message
    assert "resnet9(width=8" in message
    assert "frog" in error_message(lambda: load_model(path, classes=("frog", "newt")))
    load_model(path, architecture=TINY, classes=CLASSES)


def test_a_description_of_a_huge_net_takes_no_memory(path: Path) -> None:
    """Shapes are compared before anything of the described size is made (2.5 TB here)."""
    describe_anew(path, {"architecture": {"name": "wide_resnet", "depth": 1000, "width": 1024}})
    assert "instead of" in error_message(lambda: load_model(path))


LYING = {
    "a length beyond the file": (1 << 60).to_bytes(8, "little") + b"{}",
    "a length of 100 MB": (100_000_000).to_bytes(8, "little") + b"{}" * 100,
    "offsets beyond the file": {"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}},
    "negative offsets": {"a": {"dtype": "F32", "shape": [1], "data_offsets": [-4, 0]}},
    "offsets that overlap": {
        "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        "b": {"dtype": "F32", "shape": [1], "data_offsets": [2, 6]},
    },
    "a shape of another size": {"a": {"dtype": "F32", "shape": [7], "data_offsets": [0, 4]}},
    "a shape beyond all numbers": {
        "a": {"dtype": "F32", "shape": [1 << 40, 1 << 40], "data_offsets": [0, 4]}
    },
    "an empty shape beyond all numbers": {
        "a": {"dtype": "F32", "shape": [0, 1 << 62, 1 << 62], "data_offsets": [0, 0]}
    },
    "an empty shape beyond all strides": {
        "a": {"dtype": "F32", "shape": [0, 1 << 61, (1 << 63) - 1], "data_offsets": [0, 0]}
    },
    "an unknown kind of number": {"a": {"dtype": "Q7", "shape": [1], "data_offsets": [0, 4]}},
    "no JSON": (4).to_bytes(8, "little") + b"{{{{",
    "brackets without an end": (50_000).to_bytes(8, "little") + b"[" * 50_000,
    "one name twice": (
        b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},'
        b'"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}'
    ),
}


@pytest.mark.parametrize("name", LYING)
def test_an_inconsistent_header_is_rejected(name: str, tmp_path: Path) -> None:
    header = LYING[name]
    if isinstance(header, dict):
        header = json.dumps(header).encode()
    if header.startswith(b"{"):
        header = len(header).to_bytes(8, "little") + header + bytes(4)
    path = tmp_path / "model.safetensors"
    path.write_bytes(header)
    message = error_message(lambda: load_model(path))
    assert "model.safetensors" in message
    assert message.count("\n") <= 2


def describe_anew(path: Path, change: dict) -> None:
    """Change the description and keep the weights."""
    description = read_description(path).model_dump(mode="json") | change
    save_file(load_file(path), path, {"ruggedize": json.dumps(description)})
