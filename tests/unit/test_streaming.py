"""Images that stay in their files give what images in memory give, batch for batch."""

import os
import shutil
import signal
import subprocess
import sys
import time
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset

from ruggedize.core.errors import UserError
from ruggedize.core.progress import no_progress
from ruggedize.core.reading import open_regular
from ruggedize.corruptions import generated_suite
from ruggedize.corruptions.manifest import fingerprint
from ruggedize.data import DataOptions, Splits, Stored, folder, load_splits
from ruggedize.data.file_list import FileList
from ruggedize.data.streaming import StreamedImages, bad_files
from ruggedize.data.workers import worker_results
from ruggedize.recipe import differing_keys, load_recipe

NUM_A_CLASS = 30
BATCHES = [np.array([5, 3, 40]), np.array([0]), np.array([41, 2])]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grainy pictures of two classes, of different sizes; one file of them is no image."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for part, name in [("train", "dim"), ("train", "light"), ("test", "dim"), ("test", "light")]:
        (root / part / name).mkdir(parents=True)
        for number in range(NUM_A_CLASS):
            pixels = rng.integers(0, 128, (20 + number % 7, 24, 3), np.uint8)
            pixels += 120 * (name == "light")
            Image.fromarray(pixels.astype(np.uint8)).save(root / part / name / f"{number:02}.png")
    (root / "train/dim/bad.png").write_bytes(b"damaged")
    return root


def loaded(photos: Path, **changes: object) -> Splits:
    options = {"name": str(photos), "image_size": 16, "validation": 10, "skip_bad_images": True}
    return load_splits(DataOptions.model_validate(options | changes))


@pytest.fixture(scope="module")
def both(photos: Path) -> tuple[Splits, Splits]:
    """The same folder in memory and streamed by two worker processes."""
    return loaded(photos, streaming=False), loaded(photos, streaming=True, workers=2)


def test_the_splits_are_the_same(both) -> None:
    for kept, streamed in zip(*both, strict=True):
        assert (kept.is_streamed, streamed.is_streamed) == (False, True)
        assert torch.equal(kept.labels, streamed.labels)
        assert torch.equal(kept.index, streamed.index)
        assert kept.classes == streamed.classes
        assert kept.images.shape == streamed.images.shape
        assert torch.equal(kept.images, streamed.images[:])


def test_worker_processes_give_the_same_batches_in_the_same_order(both) -> None:
    kept, streamed = (splits.train for splits in both)
    pairs = list(zip(kept.batches(BATCHES), streamed.batches(BATCHES), strict=True))
    assert len(pairs) == len(BATCHES)
    for ours, theirs in pairs:
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.labels, theirs.labels)
        assert torch.equal(ours.index, theirs.index)
    assert not torch.equal(pairs[1][0].images[0], pairs[0][1].images[0])  # it bites


def test_every_way_of_indexing_gives_what_a_tensor_gives(both) -> None:
    kept, streamed = (splits.train.images for splits in both)
    chosen = torch.tensor([7, 1, 1])
    for which in (3, -1, slice(4, 9), slice(None), slice(1, 9, 3), chosen):
        assert torch.equal(kept[which], streamed[which])


def test_slices_are_kept_for_a_while_and_not_for_ever(both, monkeypatch) -> None:
    images = loaded_anew(both)
    first = images[0:5]
    assert images[0:5] is first
    monkeypatch.setattr("ruggedize.data.streaming.CACHE_BYTES", first.nbytes)
    images[5:10]
    assert list(images.cache) == [(5, 10)]
    images[:]  # more than may be kept
    assert list(images.cache) == []


def loaded_anew(both):
    return both[1].train.images.select(torch.arange(20))


def test_a_suite_and_its_fingerprint_are_the_same(both) -> None:
    kept, streamed = (splits.test for splits in both)
    theirs = generated_suite(streamed.images).images("speckle_noise", 4, 3, 20)
    assert torch.equal(generated_suite(kept.images).images("speckle_noise", 4, 3, 20), theirs)
    assert fingerprint(kept) == fingerprint(streamed)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_split_without_images_is_streamed_as_well(workers: int) -> None:
    images = StreamedImages(FileList([]), Stored(8), workers)
    assert bad_files(images, no_progress).shape == (0,)


def test_a_file_that_goes_bad_later_is_named(photos: Path, tmp_path: Path) -> None:
    for part in ("train/dim", "train/light", "test/dim"):
        (tmp_path / part).mkdir(parents=True)
        for number in range(4):
            Image.new("RGB", (8, 8)).save(tmp_path / part / f"{number}.png")
    train = loaded(tmp_path, streaming=True, workers=1, validation=2).train
    for path in (tmp_path / "train").rglob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"\.png is empty"):
        list(train.batches([np.arange(4)]))
    with pytest.raises(UserError, match=r"\.png is empty"):
        train.take([2])


@pytest.fixture
def faults(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[OSError]]:
    """Make opening a file of some name fail, once for every error listed."""
    waiting: dict[str, list[OSError]] = {}

    def failing(path: Path, **options: Any) -> Any:
        if waiting.get(path.name):
            raise waiting[path.name].pop()
        return open_regular(path, **options)

    monkeypatch.setattr("ruggedize.data.decode.open_regular", failing)
    return waiting


@pytest.mark.parametrize(
    ("error", "said"),
    [(OSError(5, "Input/output error"), "cannot be read"), (OSError("cut"), "cannot be decoded")],
)
def test_a_file_that_fails_once_never_becomes_a_black_picture(both, faults, error, said) -> None:
    images = loaded_anew(both)
    faults[images.files[3].name] = [error]
    with pytest.raises(UserError, match=rf"{images.files[3].name} {said}"):
        images[0:5]
    assert torch.equal(images[0:5], both[0].train.images[:5])  # the second time it succeeds


@pytest.mark.parametrize("streaming", [True, False])
def test_a_file_that_cannot_be_read_is_no_bad_image(photos: Path, faults, streaming: bool) -> None:
    workers = 1 if streaming else None
    faults["03.png"] = [OSError(24, "Too many open files")] * 4
    with pytest.raises(UserError, match=r"03\.png cannot be read \(Too many open files\); make"):
        loaded(photos, streaming=streaming, workers=workers)


def test_bad_files_are_found_before_anything_is_trained(photos: Path) -> None:
    with pytest.raises(UserError, match=r"1 file cannot be decoded:\n.*bad\.png"):
        loaded(photos, streaming=True, skip_bad_images=False)


def test_what_does_not_fit_three_times_is_streamed(photos, monkeypatch, caplog) -> None:
    bytes_needed = (4 * NUM_A_CLASS + 1) * 3 * 16 * 16
    monkeypatch.setattr(folder, "available_memory", lambda: 3 * bytes_needed)
    assert not loaded(photos).train.is_streamed
    monkeypatch.setattr(folder, "available_memory", lambda: 3 * bytes_needed - 1)
    assert loaded(photos).train.is_streamed
    monkeypatch.setattr(folder, "available_memory", lambda: 12 * bytes_needed - 1)
    assert not loaded(photos).train.is_streamed
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")  # each process has images of its own
    assert loaded(photos).train.is_streamed
    assert "they are streamed" in caplog.text


def test_options_without_effect_are_rejected(photos: Path) -> None:
    for streaming in ("auto", False):
        with pytest.raises(ValueError, match="workers has no effect without streaming"):
            DataOptions(name="photos", workers=2, streaming=streaming)
    with pytest.raises(UserError, match="folders of images only, got data digits"):
        load_splits(DataOptions(name="digits", streaming=True))


def test_how_images_are_read_does_not_make_another_run() -> None:
    recipe = load_recipe("demo")
    other = load_recipe("demo", ("data.streaming=true", "data.workers=3"))
    assert differing_keys(recipe, other) == []


def test_a_file_list_holds_any_name_in_its_order() -> None:
    names = [b"a/\xff.png", b"a/b c.png", b"", b"x\n"]
    files = FileList(names)
    assert [os.fsencode(path) for path in files] == [b"a/\xff.png", b"a/b c.png", b".", b"x\n"]
    assert [*files.select(np.array([3, 0]))] == [files[3], files[0]]
    joined = FileList.joined([files, FileList([b"last"])])
    assert (len(joined), joined[4]) == (5, Path("last"))
    assert list(FileList([])) == []


OPEN_AT_THE_END = """
import sys
from ruggedize.data import load_data
train = load_data(sys.argv[1], image_size=16, validation=2, streaming=True).train
batches = train.batches([range(2)] * 50)
print(len(next(batches)))
"""


@pytest.mark.more
def test_a_program_that_leaves_its_batches_open_ends(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos/train/dim/bad.png").unlink()
    program = OPEN_AT_THE_END.replace("range(2)", "__import__('numpy').arange(2)")
    command = [sys.executable, "-c", program, str(tmp_path / "photos")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (0, "2\n"), result.stderr


def test_a_worker_that_dies_is_explained(both) -> None:
    batches = both[1].train.batches([np.arange(2)] * 50)
    next(batches)
    for process in active_children():
        os.kill(process.pid, signal.SIGKILL)
    time.sleep(0.5)  # nothing is raised here, where a training would be within a step
    with pytest.raises(UserError, match=r"died \(Killed\);\n.*streaming = true and data\.workers"):
        list(batches)


class Faulty(Dataset[torch.Tensor]):
    def __getitems__(self, numbers: np.ndarray) -> torch.Tensor:
        raise RuntimeError("a fault of the program")


def test_an_error_within_a_worker_is_not_called_its_death() -> None:
    with pytest.raises(RuntimeError, match="a fault of the program"):
        list(worker_results(Faulty(), [np.arange(2)], 1))


def test_torch_s_own_generator_is_left_alone(both) -> None:
    before = torch.get_rng_state()
    list(both[1].train.batches(BATCHES))
    assert torch.equal(torch.get_rng_state(), before)
