"""Files are written atomically and flushed to disk."""

import os
import resource
import stat
from pathlib import Path

import pytest

from ruggedize.core import files
from ruggedize.core.errors import UserError


def test_file_rename_and_folder_are_flushed_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def fsync(descriptor: int) -> None:
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")

    def replace(source: Path, target: Path) -> None:
        calls.append("name")
        os.rename(source, target)

    monkeypatch.setattr(files.os, "fsync", fsync)
    monkeypatch.setattr(files.os, "replace", replace)
    files.write_atomically(tmp_path / "a.json", b"{}")
    assert calls == ["file", "name", "folder"]


def test_a_file_that_does_not_fit_leaves_the_earlier_one_and_names_itself(tmp_path: Path) -> None:
    path = tmp_path / "state"
    files.write_atomically(path, b"earlier")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, hard))
    try:
        with pytest.raises(OSError, match="too large") as caught:
            files.write_atomically(path, b"x" * 5_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interrupted_write_changes_nothing(tmp_path: Path) -> None:
    def half() -> None:
        with files.whole_file(tmp_path / "a") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half()
    assert not list(tmp_path.iterdir())


def test_a_log_is_as_it_was_where_the_disk_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    path = tmp_path / "metrics.jsonl"
    files.write_lines(path, [{"epoch": 1}])
    monkeypatch.setattr(files.os, "fsync", failing)
    with pytest.raises(OSError, match="Input/output"):
        files.write_lines(path, [{"epoch": 1}, {"epoch": 2}])
    assert path.read_text() == '{"epoch": 1}\n'
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("line", ["garbage{", "[1]", '{"epoch": 1', "\xff"])
def test_a_damaged_line_of_a_log_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"epoch": 1}\n' + line.encode("latin-1") + b"\n")
    with pytest.raises(UserError, match=r"metrics.jsonl: line 2 is damaged;\ndelete that line"):
        files.read_lines(path)
    path.write_bytes(b'{"epoch": 1}\n')
    assert files.read_lines(path) == [{"epoch": 1}]
