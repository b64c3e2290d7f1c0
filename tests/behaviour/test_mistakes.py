"""A user error prints at most three lines with the fix, and exits with status 2."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from ruggedize.models import save_model
from tests.behaviour.runs import command, env, ruggedize, tiny_demo
from tests.behaviour.test_bad_input import assert_rejected
from tests.tiny_stages import tiny_stage

CORRUPT = ("corrupt", "--data", "digits", "--out", "c")
MISTAKES = {
    "an unknown recipe": (["run", "demmo"], ["demmo", "demo"]),
    "an unknown command": (["runn"], ["unknown command runn; did you mean run?", "--help"]),
    "an option of no command": (["--foo"], ["--foo", "--help"]),
    "no command": ([], ["--help"]),
    "a misspelt flag": (["run", "demo", "--sed", "3"], ["--sed", "--seed"]),
    "an option of the recipe as a flag": (
        ["run", "demo", "--epochs", "3"],
        ["--epochs", "--set SECTION.OPTION=VALUE"],
    ),
    "an option of another command": (["run", "demo", "--severities", "5"], ["--set SECTION"]),
    "an option of a function": (
        ["corrupt", "--data", "digits", "--severity", "3", "--out", "c"],
        ["Unrecognized options: --severity, 3\nruggedize corrupt --help"],
    ),
    "an option that only other commands have": (
        ["corrupt", "--data", "digits", "--sets", "a=1", "--out", "c"],
        ["Unrecognized options: --sets, a=1\nruggedize corrupt --help"],
    ),
    "an option of models of other origin": (
        ["assess", "m:f", "--data", "digits", "--clases", "c.txt", "--out", "a.json"],
        ["did you mean --classes?"],
    ),
    "a file that is no report": (
        ["report", sys.executable],
        ["is not a run folder;\nuse a run folder or an assessment (.json)"],
    ),
    "a plural": (["run", "demo", "--seeds", "3"], ["did you mean --seed?"]),
    "a plural of --set": (["run", "demo", "--sets", "a=1"], ["did you mean --set?"]),
    "a key of the recipe as a flag": (
        ["run", "demo", "--student.epochs=3"],
        ["--set SECTION.OPTION=VALUE"],
    ),
    "a value of the wrong type": (["run", "demo", "--seed", "x"], ["--seed", "x"]),
    "a missing argument": (["run"], ["run", "--help"]),
    "an unknown key": (["run", "demo", "--set", "student.objective.temprature=3"], ["temperature"]),
    "a change without a value": (["run", "demo", "--set", "student"], ["section.key=value"]),
    "an unknown objective": (
        ["run", "demo", "--set", "student.objective=jds"],
        ["supervised, consistency, jsd, mean-teacher", "did you mean jsd?"],
    ),
    "severity 9": (
        ["assess", "model.safetensors", "--data", "digits", "--severities", "9", "--out", "a.json"],
        ["1-5", "9"],
    ),
    "a choice that there is not": (
        ["assess", "model.safetensors", "--option", "frost.textures=ice", "--out", "a.json"],
        ["frost.textures", "photographs or procedural", "ice"],
    ),
    "an option that there is not": (
        [*CORRUPT, "--option", "frost.ice=thin"],
        ["frost", "no option ice", "textures"],
    ),
    "an option of a corruption that has none": (
        [*CORRUPT, "--option", "fog.colour=grey"],
        ["fog", "no option colour", "has none"],
    ),
    "an option of a misspelt corruption": (
        [*CORRUPT, "--option", "forst.textures=procedural"],
        ["forst", "frost?"],
    ),
    "an option without a value": (
        [*CORRUPT, "--option", "procedural"],
        ["--option", "frost.textures=photographs|procedural", "got procedural"],
    ),
    "a misspelt corruption in a recipe": (
        ["run", "demo", "--set", "assess.corruptions=['fogg']"],
        ["assess", "fogg", "fog?"],
    ),
    "an option of a corruption in a recipe": (
        ["run", "demo", "--set", "assess.corruption_options.frost.textures=ice"],
        ["assess.corruption_options", "photographs or procedural", "ice"],
    ),
    "a corruption's options that are no table": (
        ["run", "demo", "--set", "assess.corruption_options.frost=procedural"],
        ["assess.corruption_options.frost", "a table of options", "procedural"],
    ),
    "an impossible size": (
        ["corrupt", "--data", "photos", "--image-size", "0", "--out", "X-C"],
        ["image_size", "greater than or equal to 4"],
    ),
    "a sheet that is no PNG": (
        ["corrupt", "--data", "digits", "--sheet", "sheet.jpg"],
        ["name it sheet.png"],
    ),
    "a missing model": (
        ["assess", "model.safetensors", "--data", "digits", "--out", "a.json"],
        ["model.safetensors"],
    ),
    "no such data": (
        ["views", "demo", "--set", "data.name=digitz", "--out", "v.png"],
        ["digitz", "digits"],
    ),
    "a run folder without a run": (["report", "nothing-here", "--out", "r.html"], ["nothing-here"]),
    "an image that is not there": (["predict", "model.safetensors", "a.png"], ["safetensors"]),
    "an unknown format": (
        ["export", "model.safetensors", "--format", "pickle", "--out", "m.onnx"],
        ["pickle", "state-dict"],
    ),
    "an export that is named like another one": (
        ["export", "model.safetensors", "--format", "onnx", "--out", "m.pt"],
        ["name it m.onnx"],
    ),
    "a card of no run": (["card", "nothing-here", "--out", "card"], ["nothing-here"]),
    "a push of no card": (["push", "nothing-here", "ann/x"], ["ruggedize card"]),
    "a model that is not in the Hub's cache": (
        ["predict", "hf:ann/not-there", "a.png"],
        ["hf download ann/not-there"],
    ),
    "an unknown download": (["fetch", "cifar11"], ["cifar11", "cifar10"]),
    "a misspelt corruption": (
        ["assess", "m.safetensors", "--data", "digits", "--corruptions", "fogg", "--out", "a.json"],
        ["fogg", "fog?"],
    ),
    "a suite that is nowhere": (
        ["run", "demo", "--set", "assess.suite=cifar10-c"],
        ["no suite cifar10-c", "ruggedize fetch cifar10-c"],
    ),
    "a seed for files": (
        ["assess", "m.safetensors", "--suite", "C", "--seed", "1", "--out", "a.json"],
        ["--seed", "remove --seed"],
    ),
    "ice without frost": (
        [*CORRUPT, "--corruptions", "fog", "--option", "frost.textures=procedural"],
        ["--option frost.textures", "without the corruption frost"],
    ),
    "nothing to write": (["corrupt", "--data", "digits"], ["--out DIR", "--sheet FILE"]),
    "an image without a sheet": (
        ["corrupt", "--data", "digits", "--out", "c", "--image", "3"],
        ["--image", "--sheet"],
    ),
    "an image that does not exist": (
        ["corrupt", "--data", "digits", "--sheet", "s.png", "--image", "500"],
        ["no image 500", "0..499"],
    ),
    "CIFAR-10 that is nowhere": (
        ["run", "cifar10-cpu", "--data-root", "empty"],
        ["ruggedize fetch cifar10", "--data-root"],
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_user_error_is_short_and_names_the_fix(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, words = MISTAKES[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ruggedize", *arguments])
    assert_rejected(capsys, words)
    assert not list(tmp_path.iterdir())


@pytest.mark.more
def test_a_smaller_student_is_rejected_unless_it_is_allowed(tmp_path: Path) -> None:
    changes = ["--set", "student.model.width=8", "--set", "teacher.epochs=1"]
    changes += ["--set", "teacher.model.width=16"]
    result = ruggedize("run", "demo", "--out", tmp_path / "run", *changes)
    assert result.returncode == 2
    assert "allow_smaller_student" in result.stderr


def test_a_model_file_that_is_a_pickle_is_rejected(tmp_path: Path) -> None:
    import torch

    path = tmp_path / "model.safetensors"
    torch.save({"weight": torch.zeros(2)}, path)
    result = ruggedize("assess", path, "--data", "digits", "--out", tmp_path / "a.json")
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) <= 3


@pytest.mark.more
def test_a_closed_pipe_is_not_an_error(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    save_model(tiny_stage(tmp_path).model, tmp_path / "model.safetensors")
    line = command("predict", tmp_path / "model.safetensors", tmp_path / "a.png", "--csv")
    process = subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env()
    )
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    assert process.stderr.read() == ""
    assert process.wait() == 128 + signal.SIGPIPE


@pytest.mark.more
def test_processes_that_cannot_connect_print_what_to_check(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(taken.getsockname()[1])}
        place = meeting | {
            "RANK": "0",
            "LOCAL_RANK": "0",
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2",
        }
        line = command(*tiny_demo(tmp_path / "run"))
        result = subprocess.run(
            line, capture_output=True, text=True, env=env() | place, timeout=120
        )
    assert result.returncode == 2, result.stderr
    said = [x for x in result.stderr.splitlines() if x.startswith("ruggedize: ")]
    assert "could not connect" in said[0]
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_an_error_in_python_is_a_user_error() -> None:
    import ruggedize as package

    with pytest.raises(package.UserError):
        package.load_recipe("nothing")
