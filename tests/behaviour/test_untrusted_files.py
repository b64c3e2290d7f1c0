"""Links, pipes and devices in the place of files: nothing hangs, nothing foreign is written."""

import logging
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.core.lock import only_writer
from ruggedize.core.reading import NotRegularError, open_regular, read_bytes, read_json
from ruggedize.corruptions import stored_suite
from ruggedize.data import ImageSet, decode_image, load_data, scratch_folder
from ruggedize.kernels import kernel
from ruggedize.models import load_model
from ruggedize.recipe import load_recipe
from tests.behaviour.runs import ROOT, env
from tests.behaviour.untrusted import photographs, pipe, ran

OWN_PIP = "import os, pathlib\npathlib.Path({place!r}).write_text('ran')\n"


@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_only_regular_files_are_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    if kind == "pipe":
        pipe(path)
    else:
        path.symlink_to("/dev/zero" if kind == "device" else tmp_path)
    for read in (open_regular, read_bytes, read_json, files.sha256, files.read_lines):
        with pytest.raises(NotRegularError, match="replace it with a regular file"):
            read(path)
    with pytest.raises(UserError):
        decode_image(path, 16)


def test_a_regular_file_behind_a_link_is_opened_and_a_long_one_is_not(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "link").symlink_to("file")
    assert read_bytes(tmp_path / "link", 5) == b"12345"
    with pytest.raises(UserError, match="at most 4 bytes"):
        read_bytes(tmp_path / "link", 4)


@pytest.mark.parametrize("name", ["circle.toml", "pipe.toml", "zero.toml"])
def test_a_recipe_that_never_ends_is_rejected(tmp_path: Path, name: str) -> None:
    pipe(tmp_path / "pipe.toml")
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    (tmp_path / "circle.toml").symlink_to("circle.toml")
    with pytest.raises(UserError):
        load_recipe(tmp_path / name)


def test_pictures_that_are_pipes_or_links_to_themselves_are_skipped(tmp_path: Path) -> None:
    folder = photographs(tmp_path / "train")
    pipe(folder / "apple" / "pipe.png")
    (folder / "apple" / "circle.png").symlink_to("circle.png")
    (folder / "pear" / "zero.png").symlink_to("/dev/zero")
    with pytest.raises(UserError, match="3 files cannot be decoded"):
        load_data(tmp_path, image_size=16, validation=0.2)
    found = load_data(tmp_path, image_size=16, validation=0.2, skip_bad_images=True)
    assert sum(map(len, (found.train, found.validation, found.test))) == 12
    assert len(found.left_out) == 3


@pytest.mark.parametrize("streaming", [True, False])
def test_a_folder_without_parts_is_divided_though_a_picture_is_a_pipe(
    tmp_path: Path, streaming: bool
) -> None:
    folder = photographs(tmp_path / "photos", num=30)
    pipe(folder / "apple" / "pipe.png")
    found = load_data(
        folder, image_size=16, skip_bad_images=True, streaming=streaming, validation=0.2
    )
    assert sum(map(len, (found.train, found.validation, found.test))) == 60


def test_a_suite_with_a_pipe_is_rejected(tmp_path: Path) -> None:
    images = ImageSet(
        torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        torch.tensor([0, 1]),
        ("a", "b"),
        torch.arange(2),
    )
    np.save(tmp_path / "labels.npy", np.tile([0, 1], 5))
    pipe(tmp_path / "fog.npy")
    with pytest.raises(UserError, match=r"fog.npy is a pipe"):
        stored_suite(tmp_path, images)


def test_a_model_that_is_a_pipe_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        load_model(pipe(tmp_path / "model.safetensors"))


def test_a_lock_is_not_written_through_a_link(tmp_path: Path) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "run"
    folder.mkdir()
    for make in (lambda: (folder / ".lock").symlink_to(victim), lambda: hard_link(victim, folder)):
        victim.write_text("precious")
        make()
        with pytest.raises(UserError, match=r"\.lock must be a regular file"), only_writer(folder):
            pass
        assert victim.read_text() == "precious"
        (folder / ".lock").unlink()
    pipe(folder / "x")
    os.rename(folder / ".x.pipe", folder / ".lock")
    with pytest.raises(UserError, match="regular file"), only_writer(folder):
        pass


def hard_link(victim: Path, folder: Path) -> None:
    os.link(victim, folder / ".lock")


def test_the_text_of_a_foreign_lock_is_shown_whatever_it_holds(tmp_path: Path) -> None:
    with only_writer(tmp_path):
        (tmp_path / ".lock").write_bytes(b"\xff\x1b[2J\nx" * 1000)
        with pytest.raises(UserError) as caught, only_writer(tmp_path):
            pass
    message = str(caught.value)
    assert r"\x1b[2J\nx" in message
    assert "\x1b" not in message
    assert len(message) < 3000
    assert message.count("\n") == 1


def test_a_file_is_not_written_through_a_link_in_its_place(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "page.html").symlink_to(victim)
    for name in (f".page.html.{os.getpid()}.partial", ".page.html.partial"):
        (tmp_path / name).symlink_to(victim)
    files.write_atomically(tmp_path / "page.html", b"new")
    assert victim.read_text() == "precious"
    assert (tmp_path / "page.html").read_bytes() == b"new"
    assert not (tmp_path / "page.html").is_symlink()


def test_partial_files_have_a_random_name_and_are_created(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "known")
    (tmp_path / ".page.known.partial").symlink_to(victim)
    with pytest.raises(FileExistsError):
        files.write_atomically(tmp_path / "page", b"new")
    assert victim.read_text() == "precious"
    assert (tmp_path / ".page.known.partial").is_symlink()  # not ours to remove
    monkeypatch.undo()
    seen = set()
    for _ in range(3):
        with files.whole_file(tmp_path / "page"):
            seen |= {path.name for path in tmp_path.glob(".page.*.partial") if path.is_file()}
    assert len(seen) == 4


def test_clean_up_skips_links(tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "run"
    for place in (elsewhere, folder, folder / "state"):
        place.mkdir()
        (place / ".half.partial").write_text("half")
    (folder / "link").symlink_to(elsewhere)
    (folder / ".other.partial").symlink_to(elsewhere / ".half.partial")
    with only_writer(folder):
        pass
    assert (elsewhere / ".half.partial").exists()
    assert (folder / ".other.partial").is_symlink()
    assert not (folder / ".half.partial").exists()
    assert not (folder / "state" / ".half.partial").exists()


def test_a_leftover_download_that_is_a_link_stays(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    for place in (root, elsewhere, root / ".fetch-old"):
        place.mkdir()
        (place / "precious").write_text("kept")
        os.utime(place, (1, 1))
    (root / ".fetch-link").symlink_to(elsewhere)
    with scratch_folder(root) as scratch:
        assert stat.S_IMODE(scratch.stat().st_mode) == 0o700
    assert [path.name for path in elsewhere.iterdir()] == ["precious"]
    assert not (root / ".fetch-old").exists()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root can give files away")
def test_clean_up_skips_other_owners(tmp_path: Path) -> None:
    (tmp_path / ".half.partial").write_text("half")
    os.chown(tmp_path / ".half.partial", 12345, -1)
    with only_writer(tmp_path):
        pass
    assert (tmp_path / ".half.partial").exists()


@pytest.mark.parametrize("module", ["pip", "textwrap", "runpy", "resource", "imagecorruptions"])
def test_fetch_runs_no_code_of_the_working_folder(tmp_path: Path, module: str) -> None:
    """Started as the installed command: `-P` is for that process, the one it starts has its own."""
    trap = tmp_path / "checkout"
    trap.mkdir()
    (trap / f"{module}.py").write_text(OWN_PIP.format(place=str(tmp_path / "ran")))
    own = {"RUGGEDIZE_FROST": str(tmp_path / "frost"), "PYTHONPATH": str(ROOT / "src")}
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0"}
    inherited = {k: v for k, v in env().items() if k != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "ruggedize", "fetch", "frost"],
        capture_output=True,
        text=True,
        cwd=trap,
        env=inherited | own | nowhere,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert "could not be downloaded" in done.stderr
    assert not (tmp_path / "ran").exists()


def test_the_trap_for_code_of_the_working_folder_bites(tmp_path: Path) -> None:
    (tmp_path / "pip.py").write_text(OWN_PIP.format(place=str(tmp_path / "ran")))
    os.spawnl(
        os.P_WAIT,
        sys.executable,
        "python",
        "-c",
        f"import os; os.chdir({str(tmp_path)!r}); "
        "import subprocess, sys; subprocess.run([sys.executable, '-m', 'pip'])",
    )
    assert (tmp_path / "ran").exists()


def test_a_class_folder_outside_the_data_set_is_followed_with_a_note(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photographs(tmp_path / "data" / "train")
    photographs(tmp_path / "elsewhere", ("plum",))
    (tmp_path / "data/train/plum").symlink_to(tmp_path / "elsewhere/plum")
    (tmp_path / "data/train/quince").symlink_to("apple")
    with caplog.at_level(logging.WARNING):
        found = load_data(tmp_path / "data", image_size=16, validation=0.2)
    assert "plum" in found.train.classes
    notes = [line for line in caplog.messages if "outside the data set" in line]
    assert len(notes) == 1
    assert "plum" in notes[0]


@pytest.mark.skipif(os.name == "nt", reason="permissions of POSIX")
def test_a_kernel_cache_that_others_can_write_is_not_used(tmp_path: Path) -> None:
    kernel.is_private.cache_clear()
    assert kernel.is_private(tmp_path / "own" / "digest")
    assert stat.S_IMODE((tmp_path / "own/digest").stat().st_mode) == 0o700
    for mode in (0o777, 0o770):
        (tmp_path / "own/digest").chmod(mode)
        kernel.is_private.cache_clear()
        assert not kernel.is_private(tmp_path / "own" / "digest")
    (tmp_path / "own/digest").chmod(0o700)
    (tmp_path / "own").chmod(0o777)
    kernel.is_private.cache_clear()
    assert not kernel.is_private(tmp_path / "own" / "digest")
    (tmp_path / "own").chmod(0o1777)
    kernel.is_private.cache_clear()
    assert kernel.is_private(tmp_path / "own" / "digest")


@pytest.mark.more
def test_a_shared_kernel_cache_costs_a_warning_and_works(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    status, said = ran(
        "corrupt",
        "--data",
        "digits",
        "--out",
        tmp_path / "suite",
        "--corruptions",
        "contrast",
        NUMBA_CACHE_DIR=str(shared),
    )
    assert status == 0, said
    assert "other users can write to it" in said
    assert not list(shared.rglob("*.nbc"))
