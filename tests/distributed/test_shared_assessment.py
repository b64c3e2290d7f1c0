"""Two processes share an assessment: every image counts once, and the figures are those of one."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ruggedize.assess import load_assessment, load_predictions
from ruggedize.models import ResNet9Options, create_model, save_model
from tests.distributed.launching import ROOT, environment, launched
from tests.foreign import colour_folder, colour_onnx

pytestmark = pytest.mark.more

CELLS = ("--corruptions", "gaussian_noise,fog", "--severities", "1,5")


def compared(one: Path, two: Path) -> None:
    """Check that two assessments have equal counts, and scores within 1e-4."""
    alone, shared = load_assessment(one), load_assessment(two)
    assert alone.images == shared.images
    assert [*alone.models] == [*shared.models]
    for name, model in alone.models.items():
        for ours, theirs in zip(
            (model.clean, *model.cells),
            (shared.models[name].clean, *shared.models[name].cells),
            strict=True,
        ):
            assert ours.n == theirs.n == alone.images.num_images
            for count in ("corruption", "severity", "correct", "top3_correct", "agreeing"):
                assert getattr(ours, count) == getattr(theirs, count)
            for score in ("negative_log_likelihood", "calibration_error"):
                assert getattr(ours, score) == pytest.approx(getattr(theirs, score), abs=1e-4)
        kept = [
            load_predictions(path.with_name(f"{path.stem}-predictions") / f"{name}.safetensors")
            for path in (one, two)
        ]
        assert np.array_equal(kept[0].index, kept[1].index)
        assert len(set(kept[1].index.tolist())) == alone.images.num_images
        for cell, top in kept[0].cells.items():
            assert np.array_equal(top.classes, kept[1].cells[cell].classes)
            np.testing.assert_allclose(
                top.confidences, kept[1].cells[cell].confidences, rtol=0, atol=1e-4
            )
    assert {(c.model, c.summary): c.difference for c in alone.comparisons} == {
        (c.model, c.summary): c.difference for c in shared.comparisons
    }


def assessed(out: Path, arguments: list[str], num_processes: int, kind: str = "torch") -> str:
    """Assess in so many processes; return what was printed."""
    command = ["assess", *arguments, *CELLS, "--out", str(out)]
    if num_processes == 1:
        line = [sys.executable, "-m", "ruggedize", *command]
        result = subprocess.run(
            line, capture_output=True, text=True, cwd=ROOT, env=environment(), check=False
        )
    else:
        result = launched("ruggedize", *command, num_processes=num_processes, kind=kind)
    assert result.returncode == 0, result.stderr[-3000:]
    return result.stdout


@pytest.mark.parametrize("kind", ["torch", pytest.param("accelerate", marks=pytest.mark.long)])
def test_two_processes_give_what_one_gives(tmp_path: Path, kind: str) -> None:
    files = []
    for seed in (0, 1):
        model = create_model(ResNet9Options(width=8), tuple("0123456789"), 32, 32, seed)
        files.append(str(tmp_path / f"seed{seed}.safetensors"))
        save_model(model, files[-1], {})
    arguments = [*files, "--data", "digits", "--num-images", "101"]
    assessed(tmp_path / "one.json", arguments, 1)
    said = assessed(tmp_path / "two.json", arguments, 2, kind)
    compared(tmp_path / "one.json", tmp_path / "two.json")
    assert said.count("assessment:") == 1  # of two processes one speaks


@pytest.mark.parametrize("n", [3, *(pytest.param(n, marks=pytest.mark.long) for n in (1, 25))])
def test_models_of_other_origin_are_shared_as_well(tmp_path: Path, n: int) -> None:
    file = colour_onnx(tmp_path / "mine.onnx", ["n", 3, 16, 16], kind="uint8")
    folder = colour_folder(tmp_path / "photos", ("",), n=30)
    arguments = [str(file), "--data", str(folder), "--image-size", "24", "--num-images", str(n)]
    assessed(tmp_path / "one.json", arguments, 1)
    assessed(tmp_path / "two.json", arguments, 2)
    compared(tmp_path / "one.json", tmp_path / "two.json")
