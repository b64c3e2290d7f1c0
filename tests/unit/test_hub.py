"""Models on the Hugging Face Hub: read from its cache, uploaded only where that is asked for."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ruggedize.core.errors import UserError
from ruggedize.models import CARD_FILES, load_model, model_file, push_folder, save_model
from tests.behaviour.test_supply import sockets_of
from tests.unit.test_model_files import tiny

REVISION = "0123456789abcdef0123456789abcdef01234567"
NOWHERE = "http://127.0.0.1:9"  # a port on which nothing answers


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lay out a local Hub cache that holds ann/shapes, as a download would."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--ann--shapes"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(REVISION)
    save_model(tiny(), repository / "snapshots" / REVISION / "model.safetensors")
    return repository


@pytest.fixture
def card(tmp_path: Path) -> Path:
    folder = tmp_path / "card"
    save_model(tiny(), folder / "model.safetensors")
    for name in CARD_FILES:
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("revision", ["", "@main", f"@{REVISION}"])
def test_a_model_is_read_from_the_cache(revision: str, cache: Path) -> None:
    name = f"hf:ann/shapes{revision}"
    assert model_file(name).parent.name == REVISION
    assert load_model(name).classes == tiny().classes
    assert load_model(Path(name)).classes == tiny().classes


@pytest.mark.parametrize("name", ["hf:ann/other", "hf:ann/shapes@v2"])
def test_what_is_not_in_the_cache_is_not_asked_for(name: str, cache: Path) -> None:
    with pytest.raises(UserError, match="hf download ann/") as caught:
        load_model(name)
    assert len(str(caught.value).splitlines()) == 2


OFFLINE = """
import sys
from pathlib import Path
from ruggedize import UserError, load_model
from ruggedize.models import push_folder

load_model("hf:ann/shapes")
try:
    load_model("hf:ann/other")
except UserError:
    push_folder(Path(sys.argv[1]), "ann/shapes", dry_run=True)
"""


@pytest.mark.more
def test_neither_the_cache_nor_a_dry_run_opens_a_socket(
    cache: Path, card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(cache.parent))
    monkeypatch.setenv("HF_ENDPOINT", NOWHERE)
    line = [sys.executable, "-c", OFFLINE, str(card)]
    assert sockets_of(line, tmp_path) == ""


@pytest.mark.parametrize("name", ["hf:shapes", "hf:", "hf:a/b/c", "hf:../../etc", "hf:a/b c"])
def test_a_name_that_is_none_is_rejected(name: str) -> None:
    with pytest.raises(UserError, match="ORG/NAME"):
        load_model(name)


def test_weights_of_others_are_rejected_with_a_reason(cache: Path) -> None:
    (cache / "snapshots" / REVISION / "model.safetensors").write_bytes(b"\x80\x04pickle")
    with pytest.raises(UserError, match="pickle"):
        load_model("hf:ann/shapes")


def test_download_is_for_the_hub_alone(card: Path) -> None:
    with pytest.raises(UserError, match="omit download"):
        load_model(card, download=True)


def test_a_folder_stands_for_its_model(card: Path, tmp_path: Path) -> None:
    assert load_model(card).classes == tiny().classes
    save_model(tiny(), tmp_path / "run" / "student" / "model.safetensors")
    assert model_file(tmp_path / "run") == tmp_path / "run" / "student" / "model.safetensors"
    assert model_file(tmp_path / "run" / "student") == model_file(tmp_path / "run")
    save_model(tiny(), tmp_path / "run" / "wise" / "model.safetensors")
    assessment = tmp_path / "run" / "assessment.json"
    assessment.write_text('{"models": {"teacher": {}, "student": {}, "wise": {}}}')
    assert model_file(tmp_path / "run") == tmp_path / "run" / "wise" / "model.safetensors"
    assessment.write_text('{"models": {"../../other": {}}}')
    with pytest.raises(UserError, match="leads out of the folder"):
        model_file(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"contains no model\.safetensors"):
        load_model(tmp_path / "empty")


def test_a_dry_run_checks_the_folder(card: Path) -> None:
    assert push_folder(card, "ann/shapes", dry_run=True).endswith("/ann/shapes")
    with pytest.raises(UserError, match="ORG/NAME"):
        push_folder(card, "shapes", dry_run=True)
    (card / "recipe.toml").unlink()
    with pytest.raises(UserError, match=r"lacks recipe\.toml"):
        push_folder(card, "ann/shapes", dry_run=True)


@pytest.mark.parametrize("dry", [True, False])
def test_only_a_real_push_uses_the_network(dry: bool, card: Path, tmp_path: Path) -> None:
    arguments = ["push", str(card), "ann/shapes", *(["--dry-run"] if dry else [])]
    env = os.environ | {"HF_ENDPOINT": NOWHERE, "HF_HOME": str(tmp_path), "HF_TOKEN": "hf_none"}
    line = [sys.executable, "-m", "ruggedize", *arguments]
    result = subprocess.run(line, capture_output=True, text=True, env=env)
    assert (result.returncode == 0) is dry, result.stderr
    if dry:
        assert all(name in result.stdout for name in CARD_FILES)
    else:
        assert "check the connection" in result.stderr
        assert len(result.stderr.splitlines()) <= 3


class PublicRepository(BaseHTTPRequestHandler):
    """Answers as the Hub does of a repository that exists and is public."""

    asked: list[str] = []

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append(f"{self.command} {self.path}")
        url = f"http://{self.headers['Host']}/ann/shapes"
        body = json.dumps({"url": url, "id": "ann/shapes", "private": False}).encode()
        self.send_response(200 if self.path.startswith(("/api/repos", "/api/models")) else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_HEAD = answer  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


@pytest.fixture
def public_repository() -> Iterator[str]:
    PublicRepository.asked.clear()
    server = HTTPServer(("127.0.0.1", 0), PublicRepository)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("private", [True, False])
def test_a_private_push_uploads_nothing_to_a_public_repository(
    private: bool, public_repository: str, card: Path, tmp_path: Path
) -> None:
    more = {"HF_ENDPOINT": public_repository, "HF_HOME": str(tmp_path), "HF_TOKEN": "hf_none"}
    line = [sys.executable, "-m", "ruggedize", "push", str(card), "ann/shapes"]
    line += ["--private"] if private else []
    result = subprocess.run(line, capture_output=True, text=True, env=os.environ | more)
    uploads = [
        request
        for request in PublicRepository.asked
        if request.startswith("POST") and request != "POST /api/repos/create"
    ]  # the first of them checks the card
    assert result.returncode == 2
    assert ("exists and is public" in result.stderr) is private, result.stderr
    assert bool(uploads) is not private, PublicRepository.asked
