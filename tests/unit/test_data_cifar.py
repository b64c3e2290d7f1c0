"""CIFAR in the binary layout: small generated files, and the real ones where they are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ruggedize.core.errors import UserError
from ruggedize.data import load_data
from ruggedize.data.cifar import CIFAR10, CIFAR100, Layout, load_cifar

SMALL10 = replace(CIFAR10, num_train=4, num_test=6)
SMALL100 = replace(CIFAR100, num_train=5, num_test=3)


def write(layout: Layout, root: Path) -> Path:
    """Write files in which label and pixels tell the file and the place."""
    folder = root / layout.folder
    folder.mkdir(parents=True)
    for number, name in enumerate((*layout.train, *layout.test)):
        num_records = layout.num_test if name in layout.test else layout.num_train
        records = np.zeros((num_records, layout.record), np.uint8)
        records[:, layout.num_label_bytes - 1] = (np.arange(num_records) + number) % 10
        pixels = records[:, layout.num_label_bytes :].reshape(num_records, 3, 32, 32)
        pixels[:, 0] = 10 * number
        pixels[:, 1] = np.arange(num_records)[:, None, None]
        pixels[:, 2] = np.arange(32)  # grows along a row
        records.tofile(folder / name)
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(SMALL10, tmp_path)


def test_records_come_in_order_as_planar_rgb(folder):
    train, test = load_cifar(SMALL10, folder.parent)
    assert (len(train), len(test)) == (20, 6)
    assert train.labels.tolist() == [number + place for number in range(5) for place in range(4)]
    assert train.images[:, 0, 0, 0].tolist() == [10 * (n // 4) for n in range(20)]
    assert train.images[:, 1, 5, 5].tolist() == [n % 4 for n in range(20)]
    assert train.images[7, 2, 3].tolist() == list(range(32))
    assert train.index.tolist() == list(range(20))
    assert test.index.tolist() == list(range(6))
    assert test.images[0, 0, 0, 0] == 50


def test_the_folder_is_found_through_its_parent_itself_or_the_environment(folder, monkeypatch):
    for root in (folder.parent, str(folder)):
        assert len(load_cifar(SMALL10, root)[1]) == 6
    monkeypatch.setenv("RUGGEDIZE_DATA", str(folder.parent))
    assert len(load_cifar(SMALL10)[1]) == 6
    with pytest.raises(UserError):
        load_cifar(SMALL10, folder.parent / "elsewhere")  # an argument overrules the environment


def test_the_error_for_missing_data_names_both_ways_to_get_it(tmp_path):
    with pytest.raises(UserError) as caught:
        load_data("cifar10", tmp_path)
    message = str(caught.value)
    assert message.count("\n") < 2
    for way in ("ruggedize fetch cifar10", "--data-root DIR", "RUGGEDIZE_DATA"):
        assert way in message


def test_a_file_of_the_wrong_size_is_named_with_the_cure(folder):
    path = folder / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(
        UserError, match=r"data_batch_3.bin must have 12,292 bytes, got 12,291;\nreplace"
    ):
        load_cifar(SMALL10, folder)
    path.unlink()
    with pytest.raises(UserError, match=r"data_batch_3.bin is missing;\nreplace"):
        load_cifar(SMALL10, folder)


def test_a_label_out_of_range_is_named_with_the_cure(folder):
    path = folder / "test_batch.bin"
    content = bytearray(path.read_bytes())
    content[CIFAR10.record] = 10
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"(?s)test_batch.bin: .*0\.\.9, got 10.*fetch"):
        load_cifar(SMALL10, folder)


def test_class_names_come_from_the_file_or_are_the_standard_ones(folder):
    assert load_cifar(SMALL10, folder)[0].classes[:2] == ("airplane", "automobile")
    (folder / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n\n")
    assert load_cifar(SMALL10, folder)[0].classes == tuple("abcdefghij")
    (folder / "batches.meta.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match="must list 10 classes, got 2"):
        load_cifar(SMALL10, folder)


def test_cifar100_takes_the_fine_label(tmp_path):
    folder = write(SMALL100, tmp_path)
    with pytest.raises(UserError, match=r"fine_label_names.txt .* is missing"):
        load_cifar(SMALL100, tmp_path)
    (folder / "fine_label_names.txt").write_text("\n".join(f"fine {n}" for n in range(100)))
    train, test = load_cifar(SMALL100, tmp_path)
    assert train.labels.tolist() == [0, 1, 2, 3, 4]
    assert test.labels.tolist() == [1, 2, 3]
    assert train.images[3, 1, 0, 0] == 3
    assert train.classes[99] == "fine 99"


def test_another_image_size_is_rejected(folder):
    with pytest.raises(
        UserError, match=r"image_size of cifar10 must be 32, got 64;\nremove data.image_size"
    ):
        load_data("cifar10", folder, image_size=64)


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(UserError, match="did you mean cifar10"):
        load_data("cifar-10")
    with pytest.raises(UserError, match="no data set or folder fruits/"):
        load_data("fruits/")


def test_real_images_and_labels_stand_where_they_belong(cifar10_root, cifar10_test):
    train, validation, test = load_data("cifar10", cifar10_root)
    assert [len(part) for part in (train, validation, test)] == [45_000, 5_000, 10_000]
    assert train.labels.bincount().tolist() == [4_500] * 10
    assert validation.labels.bincount().tolist() == [500] * 10
    assert train.classes == CIFAR10.classes
    images, labels = cifar10_test
    assert torch.equal(test.images, images)
    assert torch.equal(test.labels, labels)
    assert train.classes[train.labels[train.index == 0]] == "frog"  # the first official image
    assert test.classes[test.labels[0]] == "cat"


def test_the_last_500_training_images_are_held_out_and_not_trained_on(cifar10_root):
    train, validation, _ = load_data(
        "cifar10", cifar10_root, validation=500, validation_choice="last"
    )
    assert torch.equal(train.index, torch.arange(49_500))
    assert torch.equal(validation.index, torch.arange(49_500, 50_000))
    records = np.fromfile(cifar10_root / CIFAR10.folder / "data_batch_5.bin", np.uint8)
    last = records.reshape(-1, CIFAR10.record)[-500:]
    assert np.array_equal(validation.labels.numpy(), last[:, 0])
    assert np.array_equal(validation.images.numpy().reshape(500, -1), last[:, 1:])
