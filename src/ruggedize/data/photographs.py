"""Images to assess on that no training here knows: a folder in the layouts that people have."""

import logging
from pathlib import Path
from typing import NamedTuple

from ruggedize.core.errors import UserError
from ruggedize.core.progress import Progress, no_progress
from ruggedize.data.decode import shown
from ruggedize.data.digest import DataDigest, folder_digest
from ruggedize.data.folder import list_classes, read_parts
from ruggedize.data.image_set import ImageSet
from ruggedize.data.load import NAMES, folder_of, load_splits
from ruggedize.data.options import DataOptions

PARTS = ("test", "val", "valid", "validation")  # the first that is there
DEFAULT_SIZE = 224  # pixels at which photographs are stored: that of ImageNet-C

log = logging.getLogger(__name__)


class TestImages(NamedTuple):
    """Labelled images to assess on, and what identifies them."""

    images: ImageSet
    digest: DataDigest | None
    left_out: tuple[str, ...]


def load_test_images(options: DataOptions, progress: Progress = no_progress) -> TestImages:
    """Load the images of a folder that a model of unknown origin is assessed on.

    Of a folder with `test/CLASS/*` these are the test images, else those of `val/CLASS/*` (the
    layout of ImageNet), else all images of `CLASS/*`. Training images are not read. From a folder
    that has `train/` alone, and from data known by a name, come the images that a run here would
    test on.

    Args:
        options: the data; a folder's images are stored at `image_size`, by default 224 pixels.
        progress: called as images are decoded.

    Raises:
        UserError: the folder is missing or has no classes, or a file is damaged.
    """
    path = folder_of(options)
    if options.name in NAMES or not path.is_dir():
        return of_a_run(options, progress)
    sized = options.model_copy(update={"image_size": options.image_size or DEFAULT_SIZE})
    part = next((name for name in PARTS if (path / name).is_dir()), None)
    if part is None and (path / "train").is_dir():
        return of_a_run(sized, progress)
    folder = path if part is None else path / part
    if part not in (None, "test"):
        log.warning("%s has no folder test: the images of %s are assessed", shown(path), part)
    name = part or "all"
    parts = {name: list_classes(folder)}
    classes = tuple(sorted({*parts[name], *training_classes(path)}))
    if len(classes) < 2:
        raise UserError(
            f"{shown(folder)} has one class, {''.join(classes)}: a classifier needs two or more;\n"
            "give each its own folder"
        )
    images = read_parts(path, parts, classes, sized, progress)[name]
    return TestImages(images, folder_digest(path, parts), images.left_out)


def of_a_run(options: DataOptions, progress: Progress) -> TestImages:
    """Load the images that a run would test on."""
    data = load_splits(options, progress=progress)
    return TestImages(data.test, data.digest, data.left_out)


def training_classes(path: Path) -> list[str]:
    """Return the names of the training folders, of which a part for the test may lack some."""
    train = path / "train"
    if not train.is_dir():
        return []
    names = [folder.name for folder in train.iterdir() if folder.is_dir()]
    return [shown(name) for name in names if not name.startswith(".")]
