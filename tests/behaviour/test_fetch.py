"""Downloads from a server on this machine: whole and checked, or nothing at all."""

import hashlib
import io
import os
import tarfile
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ruggedize.core.errors import UserError
from ruggedize.core.lock import only_writer
from ruggedize.data import download, fetch, load_data
from ruggedize.data.download import Archive, fetch_archive


def packed(
    members: dict[str, bytes],
    links: dict[str, str] | None = None,
    mode: str = "w:gz",
    kind: bytes = tarfile.SYMTYPE,
) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            tar.addfile(member)
    return file.getvalue()


FILES = {"tiny-bin/data_1.bin": bytes(range(256)) * 4000, "tiny-bin/names.txt": b"a\nb\n"}
GOOD = packed(FILES)


class Handler(BaseHTTPRequestHandler):
    """Answers with the server's pages; `/cut` breaks off half-way, `/slow` never comes to its end.

    `/bare` does not say how long it is.
    """

    def do_GET(self):
        self.server.asked.append(self.path)
        body = self.server.pages.get(self.path)
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        if self.path != "/bare":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if self.path in ("/cut", "/slow") else body)
        if self.path == "/slow":
            self.server.is_given_up.wait(10)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.pages = {"/good": GOOD, "/cut": GOOD, "/page": b"<!DOCTYPE html><p>Please log in"}
    running.pages |= {"/bare": GOOD, "/slow": GOOD, "/other": GOOD[:-9], "/empty": b""}
    running.asked = []
    running.is_given_up = threading.Event()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield running
    running.is_given_up.set()
    running.shutdown()
    running.server_close()
    thread.join()


def archive(server, *pages: str, content: bytes = GOOD) -> Archive:
    return Archive(
        name="tiny",
        urls=tuple(f"http://127.0.0.1:{server.server_port}{page}" for page in pages),
        md5=hashlib.md5(content).hexdigest(),
        folder="tiny-bin",
    )


def assert_nothing_is_left(root: Path) -> None:
    assert list(root.rglob("*")) == []


def test_a_good_archive_arrives_whole_and_alone(server, tmp_path):
    seen = []
    root = tmp_path / "data"
    given = fetch_archive(
        archive(server, "/good"), root, lambda task, done, total: seen.append((task, done, total))
    )
    assert given == root
    assert [path.name for path in root.iterdir()] == ["tiny-bin"]
    for name, content in FILES.items():
        assert (root / name).read_bytes() == content
    assert seen[-1] == ("tiny", len(GOOD), len(GOOD))
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)


def test_what_is_there_is_not_fetched_again(server, tmp_path):
    for _ in range(2):
        fetch_archive(archive(server, "/good"), tmp_path)
    assert server.asked == ["/good"]


def test_a_wrong_hash_leaves_nothing_and_names_the_way_without_a_network(server, tmp_path):
    with pytest.raises(UserError) as caught:
        fetch_archive(archive(server, "/good", content=b"other"), tmp_path)
    message = str(caught.value)
    assert "the hash is wrong" in message
    assert "--data-root DIR" in message
    assert message.count("\n") <= 2
    assert_nothing_is_left(tmp_path)


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("/cut", "Connection broken|IncompleteRead"),
        ("/page", "sent a web page"),
        ("/no", "404"),
        ("/slow", "timed out"),
        ("/other", "the hash is wrong"),
        ("/empty", "the hash is wrong"),
    ],
)
def test_a_failed_download_leaves_nothing_and_says_why(server, tmp_path, page, reason, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    with pytest.raises(UserError, match=reason) as caught:
        fetch_archive(archive(server, page), tmp_path)
    assert "without a network, unpack the archive" in str(caught.value)
    assert str(caught.value).count("\n") <= 2
    assert_nothing_is_left(tmp_path)


def test_an_archive_of_unknown_length_is_taken_by_its_hash(server, tmp_path):
    fetch_archive(archive(server, "/bare"), tmp_path)
    assert (tmp_path / "tiny-bin/names.txt").read_bytes() == b"a\nb\n"


def test_an_unreachable_server_leaves_nothing(server, tmp_path):
    nowhere = Archive(name="tiny", urls=("http://127.0.0.1:9/x",), md5="", folder="tiny-bin")
    with pytest.raises(UserError, match="tiny could not be downloaded"):
        fetch_archive(nowhere, tmp_path)
    assert_nothing_is_left(tmp_path)


def test_the_next_mirror_is_tried(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", 0.3)
    bad = ["/cut", "/page", "/slow", "/other", "/empty", "/missing"]
    mirrors = archive(server, *bad, "/good", "/never")
    unreachable = "http://127.0.0.1:9/x"
    fetch_archive(replace(mirrors, urls=(unreachable, *mirrors.urls)), tmp_path)
    assert server.asked == [*bad, "/good"]
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-bin"]
    assert (tmp_path / "tiny-bin/names.txt").read_bytes() == b"a\nb\n"


@pytest.mark.parametrize(
    "content",
    [
        packed({**FILES, "../escaped": b"x"}),
        packed({**FILES, "tiny-bin/../../escaped": b"x"}),
        packed({**FILES, "/tmp/ruggedize-escaped": b"x"}),
        packed(FILES, {"tiny-bin/link": "/etc/passwd"}),
        packed(FILES, {"tiny-bin/link": "data_1.bin"}),
        packed(FILES, {"tiny-bin/link": "/etc/passwd"}, kind=tarfile.LNKTYPE),
        packed(FILES, {"tiny-bin/pipe": ""}, kind=tarfile.FIFOTYPE),
        packed(FILES, {"tiny-bin/device": ""}, kind=tarfile.CHRTYPE),
        packed({"other/file": b"x"}),
        b"no archive at all",
        GOOD[: len(GOOD) // 2],
    ],
    ids=[
        *("parent", "inner parent", "absolute", "link", "inner link", "hard link"),
        *("pipe", "device", "other", "text", "cut"),
    ],
)
def test_a_dangerous_or_broken_archive_is_not_unpacked(server, tmp_path, content):
    root = tmp_path / "deep/er"
    server.pages["/bad"] = content
    with pytest.raises(UserError, match=r"do not use this archive|fetch it again"):
        fetch_archive(archive(server, "/bad", content=content), root)
    assert_nothing_is_left(root)
    assert not (tmp_path / "deep/escaped").exists()
    assert not Path("/tmp/ruggedize-escaped").exists()


def test_an_interruption_leaves_nothing(server, tmp_path):
    def interrupt(task, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_archive(archive(server, "/good"), tmp_path, interrupt)
    assert_nothing_is_left(tmp_path)


def test_what_a_killed_download_left_goes_with_the_next_and_one_under_way_stays(server, tmp_path):
    left, young, at_work = (tmp_path / f".fetch-{name}" for name in ("left", "young", "work"))
    for folder in (left, young, at_work):
        folder.mkdir()
        (folder / "archive").write_bytes(GOOD[:99])
    with only_writer(at_work):
        for folder in (left, at_work):
            os.utime(folder, (1, 1))
        fetch_archive(archive(server, "/good"), tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"tiny-bin", ".fetch-young", ".fetch-work"}


def test_a_place_that_cannot_be_written_is_named(server, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written to .*\n.*--data-root DIR"):
        fetch_archive(archive(server, "/good"), tmp_path / "file")


def test_fetch_knows_its_names_and_places(server, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "ARCHIVES", (archive(server, "/good"),))
    monkeypatch.setenv("RUGGEDIZE_DATA", str(tmp_path / "by-variable"))
    assert fetch("tiny") == tmp_path / "by-variable"
    assert fetch("tiny", tmp_path / "by-argument") == tmp_path / "by-argument"
    with pytest.raises(UserError, match="use one of tiny"):
        fetch("digits")


def test_a_suite_comes_in_a_plain_archive_and_its_own_folder_is_named(
    server, tmp_path, monkeypatch
):
    server.pages["/plain.tar?download=1"] = content = packed(FILES, mode="w:")
    found = archive(server, "/plain.tar?download=1", content=content)
    monkeypatch.setattr(download, "ARCHIVES", (replace(found, option="--suite"),))
    assert fetch("tiny", tmp_path) == tmp_path / "tiny-bin"
    assert (tmp_path / "tiny-bin/names.txt").read_bytes() == b"a\nb\n"
    server.pages.clear()
    with pytest.raises(UserError, match="pass the folder tiny-bin with --suite DIR"):
        fetch("tiny", tmp_path / "again")


def test_the_suites_of_cifar_are_known():
    suites = {each.name: each for each in download.ARCHIVES if each.option == "--suite"}
    assert {name: each.folder for name, each in suites.items()} == {
        "cifar10-c": "CIFAR-10-C",
        "cifar100-c": "CIFAR-100-C",
    }


def test_load_data_downloads_only_when_asked_and_only_what_is_missing(
    server, tmp_path, monkeypatch
):
    server.pages["/cifar"] = content = packed({"cifar-10-batches-bin/test_batch.bin": b"short"})
    fake = replace(
        archive(server, "/cifar", content=content), name="cifar10", folder="cifar-10-batches-bin"
    )
    monkeypatch.setattr(download, "ARCHIVES", (fake,))
    with pytest.raises(UserError, match="ruggedize fetch cifar10"):
        load_data("cifar10", tmp_path)
    assert server.asked == []
    for root in (tmp_path, tmp_path, tmp_path / "cifar-10-batches-bin"):
        with pytest.raises(UserError, match=r"data_batch_1.bin is missing"):
            load_data("cifar10", root, download=True)
    assert server.asked == ["/cifar"]
