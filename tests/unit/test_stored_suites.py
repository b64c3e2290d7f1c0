"""Suites on disk: the layouts of CIFAR-10-C and ImageNet-C, what pairs, and what is rejected."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ruggedize.core.errors import UserError
from ruggedize.corruptions import (
    corrupt,
    export_suite,
    find_suite,
    generated_suite,
    reject_incomplete,
    stored_suite,
)
from ruggedize.corruptions.names import BENCHMARK
from ruggedize.data import ImageSet

NAMES = ("shot_noise", "brightness")


@pytest.fixture(scope="module")
def image_set(small_images: torch.Tensor) -> ImageSet:
    labels = torch.arange(24) * 3 // 24  # sorted by class, as folders are
    return ImageSet(small_images, labels, ("a", "b", "c"), torch.arange(24))


@pytest.fixture
def arrays(image_set: ImageSet, tmp_path: Path) -> Path:
    """Write a suite in the layout of CIFAR-10-C."""
    folder = tmp_path / "TINY-C"
    suite = generated_suite(image_set.images)
    export_suite(suite, image_set, folder, data="tiny", corruptions=NAMES)
    return folder


@pytest.fixture
def class_folders(image_set: ImageSet, tmp_path: Path) -> Path:
    """Write the mildest corruption in the layout of ImageNet-C, losslessly, at twice the size."""
    folder = tmp_path / "TINY-FOLDERS-C"
    for severity in range(1, 6):
        images = corrupt(image_set.images, "brightness", severity)
        for place, image in enumerate(images):
            name = image_set.classes[image_set.labels[place]]
            path = folder / "brightness" / str(severity) / name / f"{place:03}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())
            picture.resize((64, 64), Image.Resampling.NEAREST).save(path)
    return folder


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
    labels_of_many_classes: r"57..57, but the data has classes 0..2",
    labels_in_a_table: r"vector of integers, got float32 \[120, 2\]",
    pickled_labels: "not a complete .npy file",
    images_as_floats: r"must be uint8 \[120, 32, 32, 3\], got float32 \[120, 32, 32, 3\]",
    planar_images: r"must be uint8 \[120, 32, 32, 3\], got uint8 \[120, 3, 32, 32\]",
    images_of_another_size: r"(?s)got uint8 \[120, 64, 64, 3\].*models and data of that image size",
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


def test_faulty_class_folders_are_rejected(class_folders: Path, image_set: ImageSet) -> None:
    cell = class_folders / "brightness" / "3"
    (cell / "a" / "000.png").rename(class_folders / "kept.png")
    with pytest.raises(UserError, match=r"brightness/3 .* 1 missing, .* a/000.png"):
        stored_suite(class_folders, image_set)
    shutil.rmtree(cell)
    with pytest.raises(UserError, match="brightness/3 is missing"):
        stored_suite(class_folders, image_set)
    for severity in "12345":
        (class_folders / "brightness" / severity / "pears").mkdir(parents=True)
        shutil.copy(class_folders / "kept.png", class_folders / "brightness" / severity / "pears")
    with pytest.raises(UserError, match="classes that the data does not have: pears"):
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


def of_severity_5(folder: Path, with_labels: bool) -> None:
    for path in folder.glob("*.npy"):
        if path.stem != "labels" or with_labels:
            save(path, np.load(path)[-24:])


@pytest.mark.parametrize("with_labels", [True, False])
@pytest.mark.parametrize("with_manifest", [True, False])
def test_arrays_of_severity_5_alone_serve_severity_5(
    arrays: Path, image_set: ImageSet, with_manifest: bool, with_labels: bool
) -> None:
    whole = stored_suite(arrays, image_set).images("brightness", 5, 0, 24)
    of_severity_5(arrays, with_labels)
    if not with_manifest:
        (arrays / "manifest.json").unlink()
    suite = stored_suite(arrays, image_set, (5,))
    assert suite.unpaired is None
    assert torch.equal(suite.images("brightness", 5, 0, 24), whole)
    assert suite.describe()["severities"] == "5"
    with pytest.raises(UserError, match=r"one severity only(.|\n)*--severities 5"):
        stored_suite(arrays, image_set)
    other = stored_suite(arrays, image_set, (1,))  # the pictures are not those of severity 1
    assert other.unpaired is not None


def test_arrays_in_reversed_order_are_named(arrays: Path, image_set: ImageSet) -> None:
    for path in arrays.glob("*.npy"):
        blocks = np.load(path)
        save(path, np.concatenate([blocks[24 * s : 24 * s + 24] for s in range(4, -1, -1)]))
    with pytest.raises(UserError, match="severities in reversed order: brightness of severity 1"):
        stored_suite(arrays, image_set)


def test_class_folders_of_severity_5_alone_serve_severity_5(
    class_folders: Path, image_set: ImageSet
) -> None:
    for severity in "1234":
        shutil.rmtree(class_folders / "brightness" / severity)
    suite = stored_suite(class_folders, image_set, (5,))
    assert suite.unpaired is None
    assert suite.images("brightness", 5, 0, 24).shape == (24, 3, 32, 32)
    with pytest.raises(UserError, match=r"(?s)brightness/1 is missing.*it has 5.*--severities 5"):
        stored_suite(class_folders, image_set)


def test_class_folders_in_reversed_order_are_named(
    class_folders: Path, image_set: ImageSet
) -> None:
    root = class_folders / "brightness"
    for low, high in (("1", "5"), ("2", "4")):
        (root / low).rename(root / "kept")
        (root / high).rename(root / low)
        (root / "kept").rename(root / high)
    with pytest.raises(UserError, match="severities in reversed order"):
        stored_suite(class_folders, image_set)


@pytest.mark.parametrize("layout", ["arrays", "class_folders"])
def test_a_level_above_is_named(layout: str, image_set: ImageSet, request) -> None:
    folder = request.getfixturevalue(layout)
    with pytest.raises(UserError, match=f"a level deeper, in .*{folder.name};\ngive that folder"):
        stored_suite(folder.parent, image_set)


def test_classes_a_level_too_deep_strays_and_missing_classes_are_named(
    class_folders: Path, image_set: ImageSet, caplog: pytest.LogCaptureFixture
) -> None:
    (class_folders / "readme.txt").write_text("")
    (class_folders / "brightness" / "old").mkdir()
    four = ImageSet(image_set.images, image_set.labels, ("a", "b", "c", "d"), image_set.index)
    stored_suite(class_folders, four)
    assert "no corruption or severity: readme.txt, brightness/old" in caplog.text
    assert "has no images of 1 classes: d" in caplog.text
    shutil.move(class_folders / "brightness" / "3" / "b", class_folders / "kept")
    with pytest.raises(UserError, match="brightness/3 lacks classes that the first cell has: b"):
        stored_suite(class_folders, image_set)
    cell = class_folders / "brightness" / "1"
    cell.rename(class_folders / "moved")
    cell.mkdir()
    (class_folders / "moved").rename(cell / "val")
    with pytest.raises(UserError, match=r"brightness/1/val has the class folders: .* too deep"):
        stored_suite(class_folders, image_set)
