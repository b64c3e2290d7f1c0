"""Suites on disk that hold one severity, or are laid out in another way than expected."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from ruggedize.core.errors import UserError
from ruggedize.corruptions import (
    stored_suite,
)
from ruggedize.data import ImageSet
from tests.unit.test_stored_suites import save


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
    with pytest.raises(UserError, match=r"a single severity;\n.*--severities 5"):
        stored_suite(arrays, image_set)
    other = stored_suite(arrays, image_set, (1,))  # the pictures are not those of severity 1
    assert other.unpaired is not None


def test_labels_of_one_severity_may_repeat(tmp_path: Path, image_set: ImageSet) -> None:
    images = image_set.images[:20]
    data = ImageSet(images, torch.arange(20) % 2, ("a", "b"), torch.arange(20))
    pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
    for name, array in (("labels", data.labels.numpy()), ("fog", pixels)):
        save(tmp_path / f"{name}.npy", array)
    suite = stored_suite(tmp_path, data, (5,))
    assert suite.describe()["severities"] == "5"
    assert torch.equal(suite.images("fog", 5, 0, 20), images)


def test_arrays_in_reversed_order_are_named(arrays: Path, image_set: ImageSet) -> None:
    for path in arrays.glob("*.npy"):
        blocks = np.load(path)
        save(path, np.concatenate([blocks[24 * s : 24 * s + 24] for s in range(4, -1, -1)]))
    with pytest.raises(UserError, match="severities in reverse order: brightness at severity 1"):
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
    with pytest.raises(UserError, match="severities in reverse order"):
        stored_suite(class_folders, image_set)


@pytest.mark.parametrize("layout", ["arrays", "class_folders"])
def test_a_level_above_is_named(layout: str, image_set: ImageSet, request) -> None:
    folder = request.getfixturevalue(layout)
    with pytest.raises(UserError, match=f"a level deeper, in .*{folder.name};\nuse that folder"):
        stored_suite(folder.parent, image_set)


def test_classes_a_level_too_deep_strays_and_missing_classes_are_named(
    class_folders: Path, image_set: ImageSet, caplog: pytest.LogCaptureFixture
) -> None:
    (class_folders / "readme.txt").write_text("")
    (class_folders / "brightness" / "old").mkdir()
    four = ImageSet(image_set.images, image_set.labels, ("a", "b", "c", "d"), image_set.index)
    stored_suite(class_folders, four)
    assert "ignored: readme.txt, brightness/old" in caplog.text
    assert "has no images of some classes (1): d" in caplog.text
    shutil.move(class_folders / "brightness" / "3" / "b", class_folders / "kept")
    with pytest.raises(UserError, match="brightness/3 lacks classes that the first cell has: b"):
        stored_suite(class_folders, image_set)
    cell = class_folders / "brightness" / "1"
    cell.rename(class_folders / "moved")
    cell.mkdir()
    (class_folders / "moved").rename(cell / "val")
    with pytest.raises(UserError, match=r"too deep, in .*brightness/1/val;\n"):
        stored_suite(class_folders, image_set)
