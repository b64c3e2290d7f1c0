"""Names of files and classes are shown as they are: no markup, no control characters, no HTML."""

import csv
import io
import os
from pathlib import Path

import pytest
from PIL import Image

from ruggedize.data import shown
from tests.behaviour.runs import ruggedize

CLASSES = (b"[red]<q>", b"<q><script>alert(1)<", b"two\nlines<q>", b"\xff\xfe<q>", b"a <q> b")
SETTINGS = (
    "data.image_size=16",
    "data.validation=10",
    "views.pad=0",
    "teacher.epochs=1",
    "student.epochs=1",
    "teacher.model.width=8",
    "student.model.width=8",
    "assess.corruptions=['contrast']",
    "assess.severities=[5]",
)


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run on photographs with strange names, in a folder with a strange name."""
    root = tmp_path_factory.mktemp("strange")
    for part in ("train", "test"):
        for number, name in enumerate(CLASSES):
            for copy in range(4):
                path = Path(os.fsdecode(os.fsencode(root / "photos" / part) + b"/" + name))
                path.mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (16, 16), (50 * number, 60 * copy, 0)).save(
                    path / f"{copy} [bold]\x1b[31m\n.png"
                )
    (path / "bad <q>.png").write_bytes(b"damaged")
    changes = [word for change in SETTINGS for word in ("--set", change)]
    out = ("--out", root / "[link] run")
    photos = ("--set", f"data.name={root / 'photos'}")
    result = ruggedize("run", "demo", *photos, *changes, *out, "--skip-bad-images")
    assert result.returncode == 0, result.stderr
    assert "[link] run/report.html" in result.stdout
    return root


@pytest.mark.more
def test_classes_are_text_in_the_page(strange: Path) -> None:
    page = (strange / "[link] run" / "report.html").read_text()
    assert "&lt;q&gt;" in page
    assert "<q>" not in page
    assert "<script>alert" not in page


@pytest.mark.more
def test_files_that_were_left_out_are_told(strange: Path) -> None:
    page = (strange / "[link] run" / "report.html").read_text()
    told = page.partition("<dt>skipped</dt>")[2].partition("</dd>")[0]
    assert "1 file that could not be decoded: test/a &lt;q&gt; b/bad &lt;q&gt;.png" in told


@pytest.mark.more
def test_files_and_classes_are_text_in_the_console(strange: Path) -> None:
    asked = ("predict", strange / "[link] run", strange / "photos" / "test", "--skip-bad-images")
    result = ruggedize(*asked)
    assert result.returncode == 0, result.stderr
    assert "[link] run" in result.stdout
    assert "\x1b" not in result.stdout
    assert r"[bold]\x1b[31m\n.png" in result.stdout.replace("\n", "")
    table = ruggedize(*asked, "--csv").stdout
    rows = list(csv.DictReader(io.StringIO(table)))
    assert len(rows) == 4 * len(CLASSES)
    assert {row["class"] for row in rows} <= {shown(os.fsdecode(n)) for n in CLASSES}


def test_a_name_stays_on_its_line_and_text_stays_as_it_is() -> None:
    assert shown(os.fsdecode(b"a\nb\x1b[0m\xff")) == r"a\nb\x1b[0m\xff"
    assert shown("Äpfel und Birnen.png") == "Äpfel und Birnen.png"
