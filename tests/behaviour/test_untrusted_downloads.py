"""A server that sends too much or nonsense: the download ends with an error and leaves nothing."""

import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ruggedize.core.errors import UserError
from ruggedize.corruptions import fetch_frost
from ruggedize.corruptions.frost_photographs import WHEEL
from ruggedize.data.download import CHUNK, Archive, fetch_archive
from tests.behaviour.untrusted import FORBIDDEN

ENDLESS = 400  # chunks


class Handler(BaseHTTPRequestHandler):
    """Sends pages that do not end, or headers that are not numbers."""

    sent = 0

    def do_GET(self) -> None:
        if self.path == "/wheel/imagecorruptions/":
            self.send_index()
            return
        self.send_response(200, "OK" if self.path != "/escape" else "\x1b[2J")
        if self.path == "/words":
            self.send_header("Content-Length", "abc")
        self.end_headers()
        try:
            for _ in range(ENDLESS if "endless" in self.path else 1):
                self.wfile.write(bytes(CHUNK))
                Handler.sent += 1
        except OSError:  # the other side has ended it
            self.close_connection = True

    def send_index(self) -> None:
        page = f'<!DOCTYPE html><a href="/endless/{WHEEL}">{WHEEL}</a>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: object) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Print nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    Handler.sent = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def archive(url: str) -> Archive:
    md5 = hashlib.md5(b"other").hexdigest()
    return Archive(name="tiny", urls=(url,), md5=md5, folder="tiny", max_bytes=4 * CHUNK)


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        ("/endless", "it sent more than 1,048,576 bytes"),
        ("/words", "invalid response|Content-Length"),
        ("/short", "the hash is wrong"),
        ("/escape", "the hash is wrong"),
    ],
)
def test_a_download_ends_and_leaves_nothing(
    tmp_path: Path, address: str, page: str, reason: str
) -> None:
    with pytest.raises(UserError, match=reason) as caught:
        fetch_archive(archive(address + page), tmp_path)
    assert Handler.sent < ENDLESS
    assert list(tmp_path.iterdir()) == []
    assert not set(FORBIDDEN) & set(str(caught.value))


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limits of this kind")
def test_what_pip_downloads_is_limited(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUGGEDIZE_FROST", str(tmp_path / "frost"))
    monkeypatch.setenv("PIP_INDEX_URL", f"{address}/wheel")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(UserError, match="File too large"):
        fetch_frost()
    assert 0 < Handler.sent < ENDLESS
    assert list(tmp_path.iterdir()) == []
