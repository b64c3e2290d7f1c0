"""Small files that ask for much memory: sizes are compared before memory is allocated."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ruggedize.core.errors import UserError
from ruggedize.corruptions import stored_suite
from ruggedize.data import ImageSet
from tests.behaviour.runs import env

MEASURE = """
import resource, sys
from pathlib import Path
from ruggedize.data import FileList, Stored, decode_all
paths = [word.encode() for word in sys.argv[2:]]
decode_all(FileList([sys.argv[1].encode()]), Stored(16))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
images, bad = decode_all(FileList(paths), Stored(16))
assert not bad, bad
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
MEBIBYTES = 1100  # of one image of 100 megapixels in 16 bits, whatever the number of threads


def bomb(path: Path, width: int, height: int) -> Path:
    """Write a 16-bit PNG that is small on disk."""
    data = io.BytesIO()
    Image.fromarray(np.full((height, width), 40_000, np.uint16)).save(data, "PNG")
    path.write_bytes(data.getvalue())
    return path


@pytest.mark.more
def test_threads_do_not_decode_large_images_at_once(tmp_path: Path) -> None:
    first = bomb(tmp_path / "first.png", 20, 20)
    large = [bomb(tmp_path / f"{number}.png", 10_000, 10_000) for number in range(4)]
    assert large[0].stat().st_size < 1 << 20
    line = [sys.executable, "-c", MEASURE, str(first), *map(str, large)]
    threads = {"NUMBA_NUM_THREADS": "4"}
    done = subprocess.run(line, capture_output=True, text=True, env=env() | threads)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < MEBIBYTES


def test_labels_with_holes_are_compared_with_the_arrays_first(tmp_path: Path) -> None:
    images = ImageSet(
        torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
        torch.tensor([0, 1]),
        ("a", "b"),
        torch.arange(2),
    )
    header = io.BytesIO()
    num_labels = 5 << 40
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<i8", "fortran_order": False, "shape": (num_labels // 8,)}
    )
    with (tmp_path / "labels.npy").open("wb") as file:
        file.write(header.getvalue())
        file.truncate(len(header.getvalue()) + num_labels)
    np.save(tmp_path / "fog.npy", np.zeros((10, 8, 8, 3), np.uint8))
    with pytest.raises(UserError, match=r"labels.npy has .* labels for 10 images"):
        stored_suite(tmp_path, images)
