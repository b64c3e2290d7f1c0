"""Draw README's picture of a report: `python -m docs.picture RUN`.

Needs chromium. The committed picture shows `runs/demo-seed0`, made by `make demo`.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

PICTURE = Path(__file__).parent / "images" / "report.png"
WIDTH, HEIGHT, SCALE = 1100, 1500, 1.0
COLOURS = 96  # of the stored palette: a quarter of the size, no visible loss
SECONDS_TO_DRAW = 10


def draw_report(run: Path) -> None:
    """Draw the top of a run's report and store it as a small PNG."""
    browser = shutil.which("chromium") or shutil.which("google-chrome") or "chromium"
    page = (run / "report.html").resolve().as_uri()
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "report.png"
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
        command += [f"--screenshot={shot}", f"--window-size={WIDTH},{HEIGHT}"]
        command += [f"--force-device-scale-factor={SCALE}"]
        command += [f"--virtual-time-budget={1000 * SECONDS_TO_DRAW}", page]
        subprocess.run(command, check=True, capture_output=True)
        PICTURE.parent.mkdir(exist_ok=True)
        Image.open(shot).convert("RGB").quantize(COLOURS).save(PICTURE, optimize=True)


if __name__ == "__main__":
    draw_report(Path(sys.argv[1]))
