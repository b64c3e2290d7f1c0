"""The README's Python runs as it stands there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

README = Path(__file__).resolve().parents[2] / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
SHORTER = """
import ruggedize.recipe
whole = ruggedize.recipe.load_recipe
small = ("teacher.epochs=1", "student.epochs=1", "teacher.model.width=8", "student.model.width=8")
ruggedize.recipe.load_recipe = lambda name: whole(name, small)
"""


@pytest.mark.more
def test_the_example_trains_assesses_and_predicts(tmp_path: Path) -> None:
    example = next(block for block in BLOCKS if "train_student" in block)
    assert len([line for line in example.splitlines() if line and "import" not in line]) <= 14
    command = [sys.executable, "-c", SHORTER + example]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "severity5_present" in result.stdout
    assert (tmp_path / "runs/mine/student/model.safetensors").exists()


@pytest.mark.parametrize("block", [b for b in BLOCKS if "randaugment(images" in b])
def test_the_parts_work_alone(block: str, small_images: torch.Tensor) -> None:
    names = {"images": small_images}
    exec(block, names)
    assert names["noisy"].shape == names["grainy"].shape == small_images.shape
    assert not torch.equal(names["noisy"], small_images)
