"""The page in a real browser, offline: wide and narrow, light and dark."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ruggedize.assess import assess, save_assessment
from ruggedize.corruptions.names import ALL
from ruggedize.report import write_report
from tests.conftest import missing
from tests.tiny_assessment import FP32, TinyClassifier, TinySuite, tiny_images, tiny_run

pytestmark = pytest.mark.more
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
WIDTHS = {"wide": 1280, "middling": 800, "narrow": 390}
SCHEMES = {"light": 1, "dark": 0}  # Chromium's own numbers
PROBE = """<script>
addEventListener("load", () => setTimeout(() => {
  const root = document.documentElement;
  const found = { overflow: root.scrollWidth - root.clientWidth, errors: window.failures,
    figures: document.querySelectorAll(".plot svg.main-svg").length,
    cut: [...document.querySelectorAll(".scroll")].filter(
      (each) => each.scrollWidth > each.clientWidth).length,
    places: document.querySelectorAll(".plot").length };
  parent.postMessage(JSON.stringify(found), "*");
}, 500));
</script>"""
CATCHER = """<script>window.failures = 0;
addEventListener("error", () => window.failures++);
addEventListener("securitypolicyviolation", () => window.failures++);</script>"""
FRAME = """<!doctype html><style>body {{ margin: 0 }} iframe {{ border: 0 }}</style>
<iframe src="{page}" width="{width}" height="{height}"></iframe><pre id="found"></pre>
<script>addEventListener("message", (e) => {{ found.textContent = e.data; }});</script>"""


@pytest.fixture(scope="session")
def browser() -> str:
    for name in NAMES:
        if path := shutil.which(name):
            return path
    raise missing("no Chromium; install it: apt-get install chromium")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    return probed([tiny_run(folder / "tiny-seed0")], folder)


@pytest.fixture(scope="module")
def page_of_several(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a page of runs and of four models with long names."""
    folder = tmp_path_factory.mktemp("several")
    runs = [tiny_run(folder / f"a-rather-long-name-seed{seed}", seed) for seed in range(3)]
    images = tiny_images()
    models = {f"a_rather_long_name.of_a_model_{n}": TinyClassifier(bias=n / 50) for n in range(4)}
    result = assess(models, images, TinySuite(images.images, corruptions=ALL), FP32)
    return probed([*runs, save_assessment(result, folder / "four.json")], folder)


def probed(places: list[Path], folder: Path) -> Path:
    """Write a report that tells what a browser made of it."""
    write_report(places, folder / "report.html")
    html = (folder / "report.html").read_text()
    html = html.replace("<body>", f"<body>{CATCHER}", 1).replace("</body>", f"{PROBE}</body>")
    (folder / "probed.html").write_text(html)
    return folder / "probed.html"


def browse(browser: str, page: Path, width: int, *options: str) -> str:
    """Open the page in a frame of this width; a window cannot be narrower than 500 pixels."""
    frame = page.with_name(f"frame-{width}.html")
    frame.write_text(FRAME.format(page=page.name, width=width, height=1400))
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    command += ["--virtual-time-budget=8000", f"--user-data-dir={page.parent / 'profile'}"]
    command += [f"--window-size={max(width, 500)},1400", *options, frame.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def findings(browser: str, page: Path, width: int) -> dict[str, int]:
    """Return what the page reports of itself at a width."""
    dom = browse(browser, page, width, "--dump-dom")
    found = dict(re.findall(r'"(\w+)":(-?\d+)', dom[dom.index('id="found"') :]))
    assert found, dom[-500:]
    return {name: int(value) for name, value in found.items()}


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_every_figure_is_drawn_and_nothing_overflows(browser: str, page: Path, width: int) -> None:
    found = findings(browser, page, width)
    assert found["places"] >= 6
    assert found["figures"] >= found["places"]
    assert found["overflow"] <= 0
    assert found["errors"] == 0
    assert found["cut"] == 0 or width < 800


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_wide_tables_scroll_and_the_page_does_not(
    browser: str, page_of_several: Path, width: int
) -> None:
    found = findings(browser, page_of_several, width)
    assert found["cut"] > 0
    assert found["overflow"] <= 0
    assert found["errors"] == 0


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_the_page_follows_the_theme(
    browser: str, page: Path, width: int, scheme: str, tmp_path: Path
) -> None:
    shot = tmp_path / "shot.png"
    setting = f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}"
    browse(browser, page, width, setting, f"--screenshot={shot}")
    pixels = np.asarray(Image.open(shot).convert("RGB"))[:, :width]
    background = pixels[0, 0].mean()
    assert (background > 200) if scheme == "light" else (background < 60)
    ink = np.abs(pixels.astype(int) - pixels[0, 0]).max(2) > 80
    assert 0.005 < ink.mean() < 0.6
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100
