"""Readers of class maps, cached models, cards, tables and images, given what a stranger made."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from ruggedize.card import write_card
from ruggedize.cli.main import in_three_lines
from ruggedize.core.errors import UserError
from ruggedize.core.files import sha256
from ruggedize.core.reading import NotRegularError
from ruggedize.data import decode_image, load_data
from ruggedize.data.layout import content_hash
from ruggedize.models import (
    CARD_FILES,
    ForeignOptions,
    load_foreign,
    push_folder,
    read_class_map,
    read_classes,
)
from tests.behaviour.untrusted import photographs, pipe
from tests.foreign import cached_on_hub, colour_onnx, with_timm
from tests.tiny_assessment import tiny_run

HUGE = 1 << 38  # bytes, of which none are stored


@pytest.mark.parametrize("read", [read_classes, read_class_map])
def test_names_of_classes_are_read_from_regular_files(
    tmp_path: Path, read: Callable[[Path], object]
) -> None:
    with pytest.raises(NotRegularError):
        read(pipe(tmp_path / "pipe.txt"))
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    with pytest.raises(NotRegularError):
        read(tmp_path / "zero.txt")
    os.truncate(written(tmp_path / "holes.txt", b"a,b\nc,d\n"), HUGE)
    with pytest.raises(UserError, match="at most 67,108,864 bytes"):
        read(tmp_path / "holes.txt")


def test_a_class_map_with_an_endless_name_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a table"):
        read_class_map(written(tmp_path / "map.csv", b"x" * 300_000 + b",a\n"))


def test_a_table_that_repeats_a_row_is_rejected_before_it_is_read(tmp_path: Path) -> None:
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    column = arrow.DictionaryArray.from_arrays(arrow.array([0] * 20_000_000, "int8"), ["x"])
    table = tmp_path / "table.parquet"
    parquet.write_table(arrow.table({"path": column, "label": column}), table)
    assert table.stat().st_size < 1 << 20
    with pytest.raises(UserError, match="it has 20,000,000 rows"):
        load_data(table, image_size=8)


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", CARD_FILES)
def test_a_card_that_links_to_a_private_file_is_not_uploaded(tmp_path: Path, name: str) -> None:
    card = tmp_path / "card"
    card.mkdir()
    for file in CARD_FILES:
        (card / file).write_text("x")
    assert push_folder(card, "ann/shapes", dry_run=True).endswith("ann/shapes")
    (card / name).rename(tmp_path / "private")
    (card / name).symlink_to(tmp_path / "private")
    with pytest.raises(UserError, match="leads out of the folder"):
        push_folder(card, "ann/shapes", dry_run=True)


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("assess", "is damaged"),
        ("recipe.toml", "leads out of the folder"),
        ("assessment.json", "leads out of the folder"),
        ("pipe", "is a pipe"),
        ("holes", "more than 4,294,967,296 bytes"),
    ],
)
def test_a_card_of_a_run_that_a_stranger_made_is_not_written(
    tmp_path: Path, what: str, reason: str
) -> None:
    run = tiny_run(tmp_path / "run")
    save_file({"w": torch.zeros(1)}, run / "student" / "model.safetensors")
    if what == "assess":
        recipe = (run / "recipe.toml").read_text()
        (run / "recipe.toml").write_text(f"assess = 3\n{recipe}")
    elif what == "pipe":
        pipe(run / "more")
    elif what == "holes":
        os.truncate(run / "views.png", HUGE)
    else:
        (run / what).rename(tmp_path / "private")
        (run / what).symlink_to(tmp_path / "private")
    with pytest.raises(UserError, match=reason):
        write_card(run, tmp_path / "card")
    assert not (tmp_path / "card" / "README.md").exists()


@pytest.mark.parametrize(
    "config",
    [
        b"[" * 100_000,
        b"\xff",
        b'{"architecture": "resnet10t", "label_names": 3}',
        b'{"architecture": "resnet10t", "num_classes": "x"}',
        b'{"architecture": "resnet10t", "num_classes": 1e999}',
        b'{"architecture": "resnet10t", "pretrained_cfg": [1]}',
        b'{"architecture": "resnet10t", "model_args": [1]}',
        b'{"architecture": "resnet10t", "model_args": {"pretrained_cfg_overlay": {"file": "x"}}}',
        b'{"architecture": "resnet10t", "pretrained_cfg": {"mean": "abc", "input_size": []}}',
    ],
)
def test_a_cached_model_with_a_hostile_config_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: bytes
) -> None:
    with_timm()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    save_file({"w": torch.zeros(1)}, tmp_path / "w.safetensors")
    weights = (tmp_path / "w.safetensors").read_bytes()
    cached_on_hub(tmp_path, "me/it", {"model.safetensors": weights, "config.json": config})
    with pytest.raises(UserError) as caught:
        load_foreign(["hf:me/it"], ForeignOptions(), torch.device("cpu"))
    assert str(caught.value).count("\n") <= 2


def test_a_cached_model_that_is_damaged_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    cached_on_hub(tmp_path, "me/it", {"model.safetensors": b"x" * 100})
    with pytest.raises(UserError, match="not a whole safetensors file"):
        load_foreign(["hf:me/it"], ForeignOptions(), torch.device("cpu"))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mean", "5"),
        ("std", "[NaN, 1, 1]"),
        ("mean", '"abc"'),
        ("image_size", "-5"),
        ("input_size", "1e999"),
        ("channels", "\x1b[2J"),
        ("output", "{}"),
        ("classes", "[1]"),
        ("classes", "[" * 100_000),
    ],
)
def test_an_onnx_file_with_damaged_metadata_is_rejected(
    tmp_path: Path, key: str, value: str
) -> None:
    import onnx

    path = colour_onnx(tmp_path / "m.onnx", ["n", 3, 16, 16], kind="uint8")
    model = onnx.load(path)
    for name, text in {"ruggedize_version": "1", "output": "logits", key: value}.items():
        model.metadata_props.add(key=name, value=text)
    onnx.save(model, path)
    with pytest.raises(UserError, match=f"damaged at {key}"):
        load_foreign([str(path)], ForeignOptions(), torch.device("cpu"))


@pytest.mark.parametrize("place", ["../private.bin", "link.bin", "\x1b[31mmissing.bin"])
def test_an_onnx_file_reads_no_private_file_and_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], place: str
) -> None:
    import onnx

    (tmp_path / "in").mkdir()
    (tmp_path / "private.bin").write_bytes(bytes(100))
    (tmp_path / "in" / "link.bin").symlink_to(tmp_path / "private.bin")
    path = colour_onnx(tmp_path / "in" / "m.onnx", ["n", 3, 16, 16])
    model = onnx.load(path)
    (weight,) = [each for each in model.graph.initializer if each.name == "weight"]
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    for key, text in {"location": place, "offset": "0", "length": "36"}.items():
        weight.external_data.add(key=key, value=text)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(UserError, match="cannot be opened by onnxruntime"):
        load_foreign([str(path)], ForeignOptions(), torch.device("cpu"))
    assert not any(capfd.readouterr())


def test_a_data_set_with_a_pipe_is_rejected(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    (tmp_path / "data").mkdir()
    os.mkfifo(tmp_path / "data" / "train.parquet")
    with pytest.raises(UserError, match="is a pipe"):
        load_data(f"hf:{tmp_path / 'data'}", image_size=8)


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_a_table_with_a_line_without_end_is_rejected(tmp_path: Path, suffix: str) -> None:
    table = written(tmp_path / f"table{suffix}", b"path,label\n")
    os.truncate(table, HUGE)
    with pytest.raises(UserError, match="a line has more than"):
        load_data(table, image_size=8)


def test_images_with_holes_are_neither_hashed_nor_read_as_a_whole(tmp_path: Path) -> None:
    photos = photographs(tmp_path / "photos", num=30)
    for name, head in {"a.webp": b"RIFF\xff\xff\xff\x7fWEBPVP8L", "b.png": b""}.items():
        os.truncate(written(photos / "apple" / name, head), HUGE)
        with pytest.raises(UserError, match="more than an image of 120 megapixels"):
            decode_image(photos / "apple" / name, 8)
    found = load_data(photos, image_size=8, skip_bad_images=True, validation=0.2)
    assert sum(map(len, (found.train, found.validation, found.test))) == 60


def test_a_folder_whose_images_all_fall_into_one_part_is_read_or_rejected(tmp_path: Path) -> None:
    """Empty parts have labels of whole numbers, too."""
    num_train: list[int] = []
    for number in range(12):
        folder = photographs(tmp_path / str(number), num=1 + number % 2)
        for place, name in enumerate(("apple", "pear")):
            picture = Image.new("RGB", (16, 16), (number, 9 * place, 0))
            picture.save(folder / name / "0.png")
        with suppress(UserError):  # none falls into the training part
            found = load_data(folder, image_size=8, validation=0.2)
            num_train.append(len(found.train))
            assert found.test.labels.dtype == torch.int64
    assert 0 < len(num_train) < 12
    assert all(num_train)


def test_an_image_that_is_long_is_read(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8), "red").save(tmp_path / "long.bmp")
    os.truncate(tmp_path / "long.bmp", 100_000_000)
    assert decode_image(tmp_path / "long.bmp", 8)[0, 0, 0] == 255


def test_the_hash_of_a_content_is_that_of_its_bytes(tmp_path: Path) -> None:
    one = written(tmp_path / "one", b"a" * 3_000_000)
    assert content_hash(one) == content_hash(written(tmp_path / "two", b"a" * 3_000_000))
    assert content_hash(one) != content_hash(written(tmp_path / "two", b"a" * 2_999_999 + b"b"))


@pytest.mark.skipif(os.name == "nt", reason="Windows does not know what is stored")
def test_a_file_of_holes_is_not_hashed(tmp_path: Path) -> None:
    os.truncate(written(tmp_path / "model.safetensors", b"x"), HUGE)
    with pytest.raises(UserError, match="bytes, of which"):
        sha256(tmp_path / "model.safetensors")
    os.truncate(tmp_path / "model.safetensors", 1 << 20)
    assert len(sha256(tmp_path / "model.safetensors")) == 64


def test_line_breaks_of_foreign_text_make_no_more_than_three_lines() -> None:
    assert in_three_lines("a;\nb") == "a;\nb"
    assert in_three_lines("a;\nb\nc") == "a;\nb\nc"
    classes = json.loads('"x\\n\\n\\ny"')
    assert in_three_lines(f"it knows {classes};\nuse others") == "it knows x\\n\\n\\ny;\nuse others"
