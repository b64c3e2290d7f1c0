"""Suites on disk: the layouts of CIFAR-10-C and ImageNet-C, what pairs, and what is rejected."""

import shutil
import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ruggedize.core.errors import UserError
from ruggedize.corruptions import (
    corrupt,
    find_suite,
    generated_suite,
    reject_incomplete,
    stored_suite,
)
from ruggedize.corruptions.names import BENCHMARK
from ruggedize.data import ImageSet
from tests.unit.conftest import NAMES


def test_arrays_give_the_images_that_were_written(arrays: Path, image_set: ImageSet) -> None:
    suite, ours = stored_suite(arrays, image_set), generated_suite(image_set.images)
    assert suite.unpaired is None
    assert suite.corruptions == NAMES
    assert suite.name == "TINY-C"
    assert suite.describe().items() > ours.describe().items()
    for name in NAMES:
        for severity in (1, 5):
            assert torch.equal(
                suite.images(name, severity, 3, 20), ours.images(name, severity, 3, 20)
            )


def test_arrays_without_a_manifest_are_read_too(arrays: Path, image_set: ImageSet) -> None:
    (arrays / "manifest.json").unlink()
    suite = stored_suite(arrays, image_set)
    assert suite.unpaired is None
    assert suite.describe() == {"layout": "CIFAR-10-C", "size": "32x32"}


def test_an_array_that_is_none_of_the_nineteen_is_left_out(
    arrays: Path, image_set: ImageSet, caplog: pytest.LogCaptureFixture
) -> None:
    np.save(arrays / "caustic_noise.npy", np.zeros(3))
    assert stored_suite(arrays, image_set).corruptions == NAMES
    assert "caustic_noise" in caplog.text


def test_class_folders_are_decoded_and_resized(class_folders: Path, image_set: ImageSet) -> None:
    suite = stored_suite(class_folders, image_set)
    assert suite.unpaired is None
    assert suite.corruptions == ("brightness",)
    assert suite.describe() == {"layout": "ImageNet-C", "size": "32x32", "classes": "3 of 3"}
    block = suite.images("brightness", 4, 5, 11)
    wanted = corrupt(image_set.images, "brightness", 4)[5:11]
    assert block.shape == wanted.shape
    assert (block.float() - wanted.float()).abs().mean() < 3  # bicubic against nearest


def test_images_in_another_order_are_noticed(arrays: Path, image_set: ImageSet) -> None:
    """Exchange images of one class, so that the labels still agree."""
    order = torch.arange(24)
    order[[0, 1]] = order[[1, 0]]
    suite = stored_suite(arrays, image_set.select(order))
    assert suite.unpaired is not None
    assert (
        "2 of 24 images compared under brightness are not the test image" in suite.unpaired.reason
    )
    assert torch.equal(suite.unpaired.labels, image_set.labels)


def test_other_labels_and_other_numbers_are_noticed(arrays: Path, image_set: ImageSet) -> None:
    labels = image_set.labels.clone()
    labels[[0, 5]] = 2
    other = ImageSet(image_set.images, labels, image_set.classes, image_set.index)
    suite = stored_suite(arrays, other)
    assert suite.unpaired is not None
    assert suite.unpaired.reason.startswith("2 of its 24 labels")
    assert torch.equal(suite.unpaired.labels, image_set.labels)
    fewer = stored_suite(arrays, image_set.select(range(20)))
    assert fewer.unpaired is not None
    assert fewer.unpaired.reason == "it has 24 images, the data has 20 test images"


def test_what_cannot_be_compared_is_not_taken_for_paired(arrays: Path, image_set: ImageSet) -> None:
    (arrays / "brightness.npy").unlink()
    suite = stored_suite(arrays, image_set)
    assert suite.unpaired is not None
    assert "cannot be compared" in suite.unpaired.reason


def save(path: Path, array: np.ndarray) -> None:
    np.save(path, array, allow_pickle=array.dtype == object)


def without_labels(folder: Path) -> None:
    (folder / "labels.npy").unlink()


def labels_of_another_length(folder: Path) -> None:
    save(folder / "labels.npy", np.zeros(119, np.int64))


def labels_in_another_order(folder: Path) -> None:
    save(folder / "labels.npy", np.arange(120) % 3 * (np.arange(120) > 50))


def labels_of_many_classes(folder: Path) -> None:
    save(folder / "labels.npy", np.full(120, 57, np.uint8))


def labels_in_a_table(folder: Path) -> None:
    save(folder / "labels.npy", np.zeros((120, 2), np.float32))


def pickled_labels(folder: Path) -> None:
    save(folder / "labels.npy", np.array([print] * 120, object))


def images_as_floats(folder: Path) -> None:
    save(folder / "brightness.npy", np.zeros((120, 32, 32, 3), np.float32))


def planar_images(folder: Path) -> None:
    save(folder / "brightness.npy", np.zeros((120, 3, 32, 32), np.uint8))


def images_of_another_size(folder: Path) -> None:
    save(folder / "brightness.npy", np.zeros((120, 64, 64, 3), np.uint8))


def images_of_one_severity(folder: Path) -> None:
    save(folder / "brightness.npy", np.zeros((24, 32, 32, 3), np.uint8))


def a_file_cut_short(folder: Path) -> None:
    path = folder / "brightness.npy"
    path.write_bytes(path.read_bytes()[:-100])


def a_file_of_text(folder: Path) -> None:
    (folder / "brightness.npy").write_text("not numbers")


def an_empty_file(folder: Path) -> None:
    (folder / "brightness.npy").write_bytes(b"")


def no_corruption(folder: Path) -> None:
    for name in NAMES:
        (folder / f"{name}.npy").unlink()


FAULTS = {
    without_labels: "has no labels.npy",
    labels_of_another_length: "five times, got 119",
    labels_in_another_order: "labels of the five severities differ",
    labels_of_many_classes: r"in 0..2, the classes of the data, got 57..57",
    labels_in_a_table: r"vector of integers, got float32 \[120, 2\]",
    pickled_labels: "not a complete .npy file",
    images_as_floats: r"must be uint8 \[120, 32, 32, 3\], got float32 \[120, 32, 32, 3\]",
    planar_images: r"must be uint8 \[120, 32, 32, 3\], got uint8 \[120, 3, 32, 32\]",
    images_of_another_size: r"(?s)got uint8 \[120, 64, 64, 3\].*use models and data with",
    images_of_one_severity: r"got uint8 \[24, 32, 32, 3\]",
    a_file_cut_short: "not a complete .npy file",
    a_file_of_text: "not a complete .npy file",
    an_empty_file: "not a complete .npy file",
    no_corruption: "none of the nineteen",
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_faulty_arrays_are_rejected_with_a_cure(fault, arrays: Path, image_set: ImageSet) -> None:
    fault(arrays)
    with pytest.raises(UserError, match=FAULTS[fault]) as caught:
        stored_suite(arrays, image_set)
    assert str(caught.value).count("\n") <= 2


def test_a_file_that_the_manifest_lists_and_that_is_gone_is_missed(
    arrays: Path, image_set: ImageSet
) -> None:
    names = stored_suite(arrays, image_set).corruptions
    (arrays / f"{names[0]}.npy").unlink()
    with pytest.raises(UserError, match=rf"lacks {names[0]};\n.*--corruptions"):
        reject_incomplete(arrays, stored_suite(arrays, image_set))


def test_what_is_left_of_a_suite_from_elsewhere_is_not_taken_for_the_whole(
    arrays: Path, image_set: ImageSet
) -> None:
    suite = stored_suite(arrays, image_set)
    reject_incomplete(arrays, suite)  # its manifest says that these were all
    (arrays / "manifest.json").unlink()
    missing = next(name for name in BENCHMARK if name not in suite.corruptions)
    with pytest.raises(UserError, match=rf"lacks {missing}.*\n.*--corruptions"):
        reject_incomplete(arrays, suite)
    reject_incomplete(arrays, replace(suite, corruptions=BENCHMARK))


def test_a_suite_of_other_classes_is_rejected(arrays: Path, image_set: ImageSet) -> None:
    other = ImageSet(image_set.images, image_set.labels, ("x", "y", "z"), image_set.index)
    with pytest.raises(UserError, match=r"data with 3 classes \(a, b, c, ...\)"):
        stored_suite(arrays, other)


@pytest.mark.parametrize(("ours", "theirs"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_class_folders_in_another_unicode_normal_form_are_those_of_the_data(
    class_folders: Path, image_set: ImageSet, ours: str, theirs: str
) -> None:
    names = dict(zip("abc", ("élan", "fig", "zoo"), strict=True))
    for cell in (class_folders / "brightness").iterdir():
        for letter, name in names.items():
            (cell / letter).rename(cell / unicodedata.normalize(theirs, name))
    spelled = [unicodedata.normalize(ours, name) for name in names.values()]
    in_order = sorted(spelled)  # as a folder of images is listed
    labels = torch.tensor([in_order.index(spelled[label]) for label in image_set.labels])
    by_class = labels.argsort(stable=True)
    images, labels = image_set.images[by_class], labels[by_class]
    data = ImageSet(images, labels, tuple(in_order), torch.arange(len(labels)))
    suite = stored_suite(class_folders, data)
    assert suite.unpaired is None
    found = suite.images("brightness", 1, 0, len(labels))
    wanted = corrupt(image_set.images, "brightness", 1)[by_class]
    assert (found.float() - wanted.float()).abs().mean() < 3


def test_faulty_class_folders_are_rejected(class_folders: Path, image_set: ImageSet) -> None:
    cell = class_folders / "brightness" / "3"
    (cell / "a" / "000.png").rename(class_folders / "kept.png")
    with pytest.raises(UserError, match=r"brightness/3 .* 1 missing .* a/000.png"):
        stored_suite(class_folders, image_set)
    shutil.rmtree(cell)
    with pytest.raises(UserError, match="brightness/3 is missing"):
        stored_suite(class_folders, image_set)
    for severity in "12345":
        (class_folders / "brightness" / severity / "pears").mkdir(parents=True)
        shutil.copy(class_folders / "kept.png", class_folders / "brightness" / severity / "pears")
    with pytest.raises(UserError, match="classes that the data lacks: pears"):
        stored_suite(class_folders, image_set)


def test_a_folder_of_something_else_is_rejected(tmp_path: Path, image_set: ImageSet) -> None:
    with pytest.raises(UserError, match="neither"):
        stored_suite(tmp_path, image_set)


def test_a_suite_is_found_by_its_path_and_where_the_data_lie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "CIFAR-10-C"
    folder.mkdir()
    assert find_suite(str(folder)) == folder
    assert find_suite("CIFAR-10-C", tmp_path) == folder
    monkeypatch.setenv("RUGGEDIZE_DATA", str(tmp_path))
    assert find_suite("CIFAR-10-C") == folder
    with pytest.raises(UserError, match=r"(?s)no suite cifar-c.*ruggedize fetch cifar10-c"):
        find_suite("cifar-c")
