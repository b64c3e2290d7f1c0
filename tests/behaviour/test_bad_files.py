"""Files that are not what their names say are rejected, named, and nothing else is touched."""

import sys
from pathlib import Path

import numpy as np
import pytest

from ruggedize.models import create_model, save_model
from ruggedize.models.options import ResNet9Options
from tests.behaviour.test_bad_input import assert_rejected, save
from tests.unit.test_data_decode import bomb

CIFAR_FILES = [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]
CIFAR_BYTES = 10_000 * 3_073
NAMES = "\n".join(f"class {number}" for number in range(10)) + "\n"


def assessed(*more: str) -> list[str]:
    return ["assess", *more, "--data", "digits", "--out", "a.json"]


def trained_on(name: str) -> list[str]:
    return ["run", "demo", "--set", f"data.name={name}", "--set", "data.image_size=16"]


BAD = {
    "an empty image": (trained_on("void"), ["void.png", "skip_bad_images"]),
    "a decompression bomb": (trained_on("bomb"), ["bomb.png", "skip_bad_images"]),
    "a text called an image": (trained_on("text"), ["text.png", "skip_bad_images"]),
    "CIFAR-10 cut short": (
        ["run", "cifar10-cpu", "--data-root", "short"],
        ["data_batch_1.bin must have 30,730,000 bytes, got 7", "ruggedize fetch cifar10"],
    ),
    "a label out of range": (
        ["run", "cifar10-cpu", "--data-root", "labelled"],
        ["0..9, got 17", "ruggedize fetch cifar10"],
    ),
    "a model of other classes": (
        assessed("two.safetensors"),
        ["has 2 classes (dark, light", "the data has 10"],
    ),
    "a header that lies about its length": (assessed("long.safetensors"), ["long.safetensors"]),
    "a header that lies about a shape": (assessed("lying.safetensors"), ["lying.safetensors"]),
    "a pickle called a model": (assessed("pickle.safetensors"), ["is a pickle or an archive"]),
    "a suite without labels": (
        assessed("ten.safetensors", "--suite", "no-labels-C"),
        ["has no labels.npy"],
    ),
    "a suite of another shape": (
        assessed("ten.safetensors", "--suite", "other-shape-C"),
        ["fog.npy", "32, 32, 3"],
    ),
}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write every bad file once; the tests only read them."""
    root = tmp_path_factory.mktemp("bad")
    for name, content in (("void", b""), ("bomb", bomb()), ("text", b"no picture")):
        for part in ("train", "test"):
            save(root / name / part / "apple" / "0.png")
        (root / name / "train" / "apple" / f"{name}.png").write_bytes(content)
    for name in ("short", "labelled"):
        folder = root / name / "cifar-10-batches-bin"
        folder.mkdir(parents=True)
        (folder / "batches.meta.txt").write_text(NAMES)
        for file in CIFAR_FILES:
            with (folder / file).open("wb") as batch:
                batch.write(b"\x11" * 7)
                batch.truncate(7 if name == "short" else CIFAR_BYTES)  # zeros that take no room
    for name, classes in (("two", ("dark", "light")), ("ten", tuple("0123456789"))):
        save_model(
            create_model(ResNet9Options(width=8), classes, 32, 32, 0), root / f"{name}.safetensors"
        )
    whole = (root / "ten.safetensors").read_bytes()
    (root / "long.safetensors").write_bytes((1 << 62).to_bytes(8, "little") + whole[8:])
    (root / "lying.safetensors").write_bytes(whole.replace(b'"shape":[8,3', b'"shape":[9,3', 1))
    (root / "pickle.safetensors").write_bytes(b"\x80\x04" + whole)
    for name, side in (("no-labels-C", 32), ("other-shape-C", 31)):
        (root / name).mkdir()
        np.save(root / name / "fog.npy", np.zeros((2_500, side, side, 3), np.uint8))
    np.save(root / "other-shape-C" / "labels.npy", np.zeros(2_500, np.int64))
    return root


@pytest.mark.parametrize("name", BAD)
def test_it_is_rejected_and_named(
    name: str,
    prepared: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments, words = BAD[name]
    monkeypatch.chdir(prepared)
    monkeypatch.setattr(sys, "argv", ["ruggedize", *arguments])
    before = sorted(prepared.rglob("*"))
    assert_rejected(capsys, words)
    assert sorted(prepared.rglob("*")) == before
