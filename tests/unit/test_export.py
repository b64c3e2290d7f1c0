"""A suite on disk: readable by anyone, whole files or none, and never a mixture of settings."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from ruggedize.core.errors import UserError
from ruggedize.corruptions import corrupt, export, export_suite, generated_suite
from ruggedize.data import ImageSet

NAMES = ("shot_noise", "contrast")


@pytest.fixture
def image_set(small_images: torch.Tensor) -> ImageSet:
    wide = small_images[:, :, 4:28].contiguous()  # 24 x 32: height and width must not be confused
    return ImageSet(wide, torch.arange(24) % 3, ("a", "b", "c"), torch.arange(24))


def write(image_set: ImageSet, folder: Path, seed: int = 1, **options: object) -> None:
    suite = generated_suite(image_set.images, seed=seed)
    export_suite(suite, image_set, folder, data="tiny", **({"corruptions": NAMES} | options))


def modified(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.npy")}


def test_plain_numpy_reads_what_was_written(image_set: ImageSet, tmp_path: Path) -> None:
    write(image_set, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != ".lock") == [
        *("contrast.npy", "labels.npy", "manifest.json", "shot_noise.npy"),
    ]
    assert np.array_equal(np.load(tmp_path / "labels.npy"), np.tile(np.arange(24) % 3, 5))
    for name in NAMES:
        stored = np.load(tmp_path / f"{name}.npy")
        assert (stored.dtype, stored.shape) == (np.uint8, (120, 24, 32, 3))
        for severity in range(1, 6):
            ours = corrupt(image_set.images, name, severity, seed=1).permute(0, 2, 3, 1)
            assert np.array_equal(stored[24 * (severity - 1) : 24 * severity], ours.numpy())


def test_the_files_do_not_depend_on_the_blocks(
    image_set: ImageSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(image_set, tmp_path / "whole")
    monkeypatch.setattr(export, "BLOCK_BYTES", 7 * 3 * 24 * 32)
    write(image_set, tmp_path / "blocks")
    write(image_set, tmp_path / "other", seed=2)
    content = [(tmp_path / x / "shot_noise.npy").read_bytes() for x in ("whole", "blocks", "other")]
    assert content[0] == content[1] != content[2]


def test_a_folder_has_one_writer_at_a_time(image_set: ImageSet, tmp_path: Path) -> None:
    with (
        export.only_writer(tmp_path),
        pytest.raises(UserError, match=r"is being written by process \d+ on .*\nwait for it"),
    ):
        write(image_set, tmp_path)
    write(image_set, tmp_path)  # the lock is gone
    assert (tmp_path / "contrast.npy").exists()


def test_the_manifest_tells_what_the_pixels_were_made_of(
    image_set: ImageSet, tmp_path: Path
) -> None:
    write(image_set, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["suite"] == generated_suite(image_set.images, seed=1).describe()
    assert (manifest["data"], manifest["num_images"]) == ("tiny", 24)
    assert manifest["ruggedize"]
    assert manifest["classes"] == ["a", "b", "c"]
    for name, sha256 in manifest["files"].items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == sha256
    assert len(manifest["files"]) == 3


def test_progress_grows_to_the_whole(image_set: ImageSet, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write(image_set, tmp_path, progress=lambda task, done, total: seen.append((done, total)))
    assert seen == sorted(seen)
    assert seen[0] == (24, 240)
    assert seen[-1] == (240, 240)
    assert seen.count((240, 240)) == 1


def test_a_second_call_makes_only_what_is_missing(image_set: ImageSet, tmp_path: Path) -> None:
    write(image_set, tmp_path, corruptions=("contrast",))
    before = modified(tmp_path)
    write(image_set, tmp_path)
    after = modified(tmp_path)
    assert {name: after[name] for name in before} == before
    assert after.keys() == before.keys() | {"shot_noise.npy"}


def test_a_file_that_was_damaged_is_made_again(image_set: ImageSet, tmp_path: Path) -> None:
    write(image_set, tmp_path)
    path = tmp_path / "contrast.npy"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"\0")
    write(image_set, tmp_path)
    assert path.read_bytes() == whole


def test_what_was_cut_off_leaves_whole_files_and_is_gone_on_with(
    image_set: ImageSet, tmp_path: Path
) -> None:
    def stop(task: str, done: int, total: int) -> None:
        if done > total // 2:
            raise KeyboardInterrupt

    folder = tmp_path / "cut"
    with pytest.raises(KeyboardInterrupt):
        write(image_set, folder, progress=stop)
    assert sorted(modified(folder)) == ["labels.npy", "shot_noise.npy"]
    assert not list(folder.glob(".*.partial"))
    (folder / ".contrast.npy.1.partial").write_bytes(b"of a process that was killed")
    write(image_set, folder)
    assert not list(folder.glob(".*.partial"))
    write(image_set, tmp_path / "whole")
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "whole" / path.name).read_bytes()


def test_other_settings_are_rejected_by_name(image_set: ImageSet, tmp_path: Path) -> None:
    write(image_set, tmp_path)
    before = modified(tmp_path)
    with pytest.raises(UserError, match=r"differ in seed;\n.*--out"):
        write(image_set, tmp_path, seed=2)
    with pytest.raises(UserError, match="differ in images_sha256, num_images"):
        write(image_set.select(range(20)), tmp_path)
    assert modified(tmp_path) == before


def test_files_of_somebody_else_are_never_overwritten(image_set: ImageSet, tmp_path: Path) -> None:
    (tmp_path / "contrast.npy").write_bytes(b"theirs")
    with pytest.raises(UserError, match=r"no manifest.json of ruggedize"):
        write(image_set, tmp_path)
    assert (tmp_path / "contrast.npy").read_bytes() == b"theirs"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("text", ["", "[]", '{"format": "another"}'])
def test_a_damaged_manifest_is_named(image_set: ImageSet, tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest.json is damaged at .*\n.*ruggedize corrupt"):
        write(image_set, tmp_path)
