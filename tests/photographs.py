"""Generated pictures with the sizes and the detail of photographs."""

from pathlib import Path

import numpy as np
from PIL import Image

ORIENTATION = 0x0112


def photograph(width: int, height: int, seed: int) -> Image.Image:
    """Return a picture with detail at every scale, as photographs have: 1/f noise and edges."""
    rng = np.random.default_rng(seed)
    canvas = np.zeros((height, width, 3), np.float32)
    size = 4
    while size < max(width, height):
        grain = rng.normal(0, 1, (max(1, size * height // width), size, 3)).astype(np.float32)
        shape = np.clip(grain * 40 + 128, 0, 255).astype(np.uint8)
        layer = Image.fromarray(shape).resize((width, height), Image.Resampling.BICUBIC)
        canvas += (np.asarray(layer, np.float32) - 128) * (1.6 / size**0.35)
        size *= 2
    y, x = np.mgrid[0:height, 0:width]
    for _ in range(4):
        cx, cy, radius = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0.1, 0.3)
        inside = (x - cx) ** 2 + (y - cy) ** 2 < (radius * min(width, height)) ** 2
        canvas[inside] += rng.uniform(-60, 60, 3)
    return Image.fromarray(np.clip(canvas + 128, 0, 255).astype(np.uint8))


def save_photographs(root: Path, sizes: list[tuple[int, int]], per_class: int) -> Path:
    """Write JPEG files of two classes in `train` and `test`; some lie on their side."""
    for part in ("train", "test"):
        for number_of_class, name in enumerate(("left", "right")):
            (root / part / name).mkdir(parents=True)
            for number in range(per_class):
                seed = 1000 * number_of_class + number + 500 * (part == "test")
                picture = photograph(*sizes[number % len(sizes)], seed)
                exif = Image.Exif()
                exif[ORIENTATION] = 6 if number % 5 == 3 else 1
                picture.save(root / part / name / f"{number:03}.jpg", quality=90, exif=exif)
    return root
