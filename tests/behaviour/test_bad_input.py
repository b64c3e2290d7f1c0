"""What cannot be done is rejected in at most three lines, status 2, and nothing is touched."""

import os
import sys
from pathlib import Path

import pytest
from PIL import Image

from ruggedize.cli import main

PHOTOS = ("--set", "data.name=photos", "--set", "data.image_size=16")
LONE = ("--set", "data.name=lone", "--set", "data.image_size=16")
BAD = {
    "a run where a file is": (["run", "demo", "--out", "file"], ["file is a file", "--out"]),
    "a run below a file": (["run", "demo", "--out", "file/run"], ["file is a file", "--out"]),
    "a teacher below a file": (["train-teacher", "demo", "--out", "file/t"], ["file is a file"]),
    "a report where a folder is": (["report", "run", "--out", "photos"], ["photos is a folder"]),
    "a report below a file": (["report", "run", "--out", "file/r.html"], ["file is a file"]),
    "views below a file": (["views", "demo", "--out", "file/v.png"], ["file is a file"]),
    "a suite where a file is": (["corrupt", "--data", "digits", "--out", "file"], ["is a file"]),
    "a sheet where a folder is": (
        ["corrupt", "--data", "digits", "--sheet", "folder.png"],
        ["folder.png is a folder"],
    ),
    "an assessment below a file": (
        ["assess", "run", "--data", "digits", "--out", "file/a.json"],
        ["file is a file", "--out"],
    ),
    "a misspelt run in a report": (["report", "rum", "--out", "r.html"], ["did you mean run?"]),
    "a misspelt run in an assessment": (["assess", "rum", "--out", "a.json"], ["mean run?"]),
    "a lone severity": (["run", "demo", "--set", "assess.severities=9"], ["a list, e.g. [9]"]),
    "severity 9": (["run", "demo", "--set", "assess.severities=[9]"], ["1..5, got 9", "[1, 3, 5]"]),
    "a word for a number": (["run", "demo", "--set", "teacher.epochs=x"], ["a whole number", "x"]),
    "half an epoch": (["run", "demo", "--set", "teacher.epochs=1.5"], ["a whole number", "1.5"]),
    "a number for a table": (["run", "demo", "--set", "data=3"], ["a table of options"]),
    "no number": (
        ["run", "demo", "--set", "teacher.optimiser.lr=nan"],
        ["teacher.optimiser", "nan"],
    ),
    "an infinite rate": (["run", "demo", "--set", "teacher.optimiser.lr=inf"], ["finite"]),
    "no temperature": (
        ["run", "demo", "--set", "student.objective.temperature=0"],
        ["equal to 0.01"],
    ),
    "a negative weight": (
        ["run", "demo", "--set", "student.objective.consistency_weight=-1"],
        ["-1"],
    ),
    "a net beyond all memory": (
        ["run", "demo", "--set", "teacher.model.width=8000000000"],
        ["teacher.model.width", "1024"],
    ),
    "views beyond all memory": (["run", "demo", "--set", "views.resize=1000000000"], ["1024"]),
    "a crop larger than the resized image": (
        [
            "run",
            "demo",
            "--set",
            "views.pad=0",
            "--set",
            "views.resize=20",
            "--set",
            "views.crop=30",
        ],
        ["crop must be at most resize (20), got 30"],
    ),
    "a crop larger than any view": (
        ["run", "demo", "--set", "views.crop=200"],
        ["crop must be at most", "views.resize", "views.pad = 0"],
    ),
    "a sheet that is no PNG": (["views", "demo", "--out", "v.txt"], ["must be a PNG", "v.png"]),
    "a batch of one": (["run", "demo", "--set", "teacher.batch_size=1"], ["batch_size", "2"]),
    "a name without its middle": (["run", "demo", "--set", "data..name=x"], ["section.key=value"]),
    "images too small for the net": (
        ["run", "demo", "--set", "data.image_size=4", "--set", "views.pad=0"],
        ["resnet9", "4 pixels", "use larger images"],
    ),
    "an average that never begins": (
        ["run", "demo", "--set", "student.averaging={kind='swa', every=100000}"],
        ["student: averaging.every must be at most 11", "train longer"],
    ),
    "a recipe that is its own base": (["run", "circle.toml"], ["its own base", "remove one"]),
    "a recipe whose base is missing": (["run", "orphan.toml"], ["nobase", "orphan.toml"]),
    "a recipe that is no text": (["run", "bytes.toml"], ["not valid TOML", "correct the file"]),
    "a recipe without an end of brackets": (["run", "nested.toml"], ["not valid TOML"]),
    "one image": (["run", "demo", *LONE], ["at least two classes", "train/CLASS/"]),
    "one training image": (
        ["run", "demo", "--set", "data.name=pair", "--set", "data.image_size=16"],
        ["teacher: a step needs at least 2 images", "use more images"],
    ),
    "an empty folder": (
        ["run", "demo", "--set", "data.name=empty", "--set", "data.image_size=16"],
        ["empty has no class folders", "empty/CLASS/"],
    ),
    "one class alone": (
        ["run", "demo", *PHOTOS, "--skip-bad-images", "--set", "data.validation=2"],
        ["photos must have at least two classes, got only apple", "train/CLASS/"],
    ),
    "a run with line breaks in its name": (
        ["run", "demo", "--out", "file/a\nb\nc\nd"],
        ["file/a\\nb\\nc\\nd", "file is a file"],
    ),
    "a recipe with line breaks in its name": (["run", "de\nm\no\nx"], ["de\\nm\\no\\nx"]),
    "data with line breaks in its name": (
        ["run", "demo", "--set", 'data.name="a\\nb\\nc\\nd"', "--set", "data.image_size=16"],
        ["a\\nb\\nc\\nd"],
    ),
    "a root with line breaks in its name": (
        ["run", "cifar10-cpu", "--data-root", "a\nb\nc\nd"],
        ["a\\nb\\nc\\nd"],
    ),
    "a key with line breaks": (["run", "demo", "--set", "stu\nd\ne\nt.x=3"], ["stu\\nd\\ne\\nt"]),
    "a model with line breaks in its name": (["predict", "m\no\nd\n.x", "x"], ["m\\no\\nd\\n.x"]),
    "a key without its section": (
        ["run", "demo", "--set", "views.resize=200", "--set", "pad=0"],
        ["unknown key pad"],
    ),
    "a class without images": (
        ["run", "demo", "--set", "data.name=hollow", "--set", "data.image_size=16"],
        ["pear contains no images", "add some"],
    ),
    "a photograph cut short": (["run", "demo", *PHOTOS], ["cut.png", "--skip-bad-images"]),
    "a run to resume that does not exist": (
        ["run", "demo", "--out", "run", "--resume"],
        ["run contains no run to resume", "remove --resume"],
    ),
    "bad images of a run left out": (
        ["assess", "run", "--skip-bad-images", "--out", "a.json"],
        ["--skip-bad-images needs --data"],
    ),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a few things that cannot be used, and one finished run's name."""
    (tmp_path / "file").write_text("kept")
    for name in ("run/teacher", "folder.png", "empty", "hollow/train/pear"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "circle.toml").write_text('base = "circle.toml"\n')
    (tmp_path / "orphan.toml").write_text('base = "nobase.toml"\n')
    (tmp_path / "bytes.toml").write_bytes(b"seed = \xff")
    (tmp_path / "nested.toml").write_text("seed = " + "[" * 20_000)
    for number in range(12):
        save(tmp_path / f"photos/train/apple/{number}.png")
    (tmp_path / "photos/train/apple/cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for part in ("lone/train", "pair/train", "pair/validation", "pair/test"):
        save(tmp_path / part / "apple" / "0.png")
    save(tmp_path / "pair/test/pear/0.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def save(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20), "red").save(path)


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file's content, and every folder."""
    return {
        os.fspath(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"folder"
        for path in folder.rglob("*")
    }


def assert_rejected(capsys: pytest.CaptureFixture[str], words: list[str]) -> None:
    """Run the command line: status 2, and at most three lines with these words."""
    with pytest.raises(SystemExit) as stopped:
        main.main()
    said = capsys.readouterr().err
    assert stopped.value.code == 2, said
    assert said.startswith("ruggedize: ")
    assert 1 <= len(said.splitlines()) <= 3, said
    assert all(word in said for word in words), said


@pytest.mark.parametrize("name", BAD)
def test_it_is_rejected_with_its_cure_and_nothing_is_touched(
    name: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, words = BAD[name]
    before = tree(place)
    monkeypatch.setattr(sys, "argv", ["ruggedize", *arguments])
    assert_rejected(capsys, words)
    assert tree(place) == before
