"""Paths of data, models and outputs work as people write them, from wherever they call."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from ruggedize.core.errors import UserError
from ruggedize.core.places import cache_folder
from ruggedize.pipeline import run
from ruggedize.recipe import Recipe, load_recipe
from tests.behaviour.runs import TINY, command, env, ruggedize
from tests.behaviour.test_changed_data import make_photos

pytestmark = pytest.mark.more

RECIPE = """base = "demo"
[data]
name = "photos"
image_size = 16
validation = 8
"""
LESS = (*TINY, "teacher.batch_size=16", "student.batch_size=16")
NOBODY = 54321  # a user without an entry in /etc/passwd
AS_NOBODY = (  # who may read everything, as the interpreter may lie in the home of another
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
)
WITHOUT_RIGHTS = """
import os, sys
from ruggedize.cli.main import main
from ruggedize.corruptions import export_suite, generated_suite
from ruggedize.data import load_data
load_data(sys.argv.pop(), image_size=16)  # imports all that is needed
os.setgroups([])
os.setgid({NOBODY})
os.setuid({NOBODY})
main()
""".replace("{NOBODY}", str(NOBODY))
needs_root = pytest.mark.skipif(
    not hasattr(os, "getuid") or os.getuid() != 0 or shutil.which("setpriv") is None,
    reason="only root may become another user, with setpriv",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with photos, a recipe beside them, and a finished run."""
    project = tmp_path_factory.mktemp("project")
    make_photos(project / "photos")
    (project / "photos.toml").write_text(RECIPE)
    run(recipe_of(project), project / "runs/x")
    return project


def recipe_of(project: Path) -> Recipe:
    return load_recipe(project / "photos.toml", LESS)


def open_to_all(folder: Path) -> None:
    """Make a folder of pytest's accessible to every user; `os.access` heeds no capability."""
    for place in (folder, *folder.parents[:-1]):
        place.chmod(place.stat().st_mode | 0o055)


def as_nobody(
    *arguments: str | Path, cwd: Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command as a user without a name, a home folder or an environment."""
    known = {key: env()[key] for key in ("PYTHONPATH", "OMP_NUM_THREADS") if key in env()}
    line = [*AS_NOBODY, *command(*arguments)]
    return subprocess.run(
        line, capture_output=True, text=True, cwd=cwd, env={**known, "COLUMNS": "120", **variables}
    )


def test_a_run_knows_the_absolute_place_of_its_data(project: Path, tmp_path: Path) -> None:
    written = tomllib.loads((project / "runs/x/recipe.toml").read_text())
    assert written["data"]["name"] == str(project / "photos")
    place = os.path.relpath(project / "runs/x", tmp_path)
    only = ("--corruptions", "contrast", "--severities", "5", "--num-images", "4")
    found = ruggedize("assess", place, *only, "--out", "a.json", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "a.json").is_file()


def test_moved_data_is_recognised_and_the_run_learns_its_place(project: Path) -> None:
    moved = project.parent / "moved"
    shutil.copytree(project, moved)
    (moved / "photos.toml").write_text(RECIPE.replace('"photos"', '"pictures"'))
    (moved / "photos").rename(moved / "pictures")
    before = (moved / "runs/x/report.html").stat().st_mtime_ns
    run(recipe_of(moved), moved / "runs/x")
    assert (moved / "runs/x/report.html").stat().st_mtime_ns == before  # it was finished
    (moved / "runs/x/report.html").unlink()
    run(recipe_of(moved), moved / "runs/x")
    written = tomllib.loads((moved / "runs/x/recipe.toml").read_text())
    assert written["data"]["name"] == str(moved / "pictures")
    (moved / "pictures/train/red/0.png").unlink()
    with pytest.raises(UserError, match="has changed"):
        run(recipe_of(moved), moved / "runs/x")


@needs_root
def test_a_finished_run_on_a_read_only_disk_is_finished(project: Path) -> None:
    changes = [word for change in LESS for word in ("--set", change)]
    again = ("run", "photos.toml", "--out", "runs/x", *changes)
    found = as_nobody(*again, cwd=project)
    assert found.returncode == 0, found.stderr
    assert "was already finished" in found.stdout
    other = as_nobody(*again, "--set", "teacher.epochs=3", cwd=project)
    assert other.returncode == 2
    assert "differs in teacher.epochs" in other.stderr
    new = as_nobody("run", "photos.toml", "--out", "runs/new", *changes, cwd=project)
    assert new.returncode == 2
    assert "is not writable" in new.stderr


@needs_root
@pytest.mark.more  # compiles the kernels in every process
def test_a_user_without_name_and_home_can_do_everything(project: Path, tmp_path: Path) -> None:
    open_to_all(tmp_path)
    tmp_path.chmod(0o777)
    changes = [word for change in TINY for word in ("--set", change)]
    found = as_nobody("run", "demo", "--out", "mine", *changes, cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert [place.name for place in tmp_path.iterdir()] == ["mine"]  # no folder named ~
    classified = as_nobody("predict", "mine", project / "photos/test/red/0.png", cwd=tmp_path)
    assert classified.returncode == 0, classified.stderr
    assert classified.stderr.count("set NUMBA_CACHE_DIR") <= 1


@needs_root
def test_without_a_home_one_line_names_the_variable_to_set(tmp_path: Path) -> None:
    missing = as_nobody("run", "cifar10-cpu", "--out", "/tmp/none", cwd=tmp_path)
    assert missing.returncode == 2
    assert "RUGGEDIZE_DATA=DIR" in missing.stderr
    assert "Traceback" not in missing.stderr
    home = as_nobody("predict", "x", "--csv", "~/pictures", cwd=tmp_path)
    assert home.returncode == 2
    assert "set HOME" in home.stderr


@needs_root
def test_an_unreadable_folder_is_named_as_text(project: Path, tmp_path: Path) -> None:
    open_to_all(tmp_path)
    photos = shutil.copytree(project / "photos", tmp_path / "photos")
    arguments = ("corrupt", "--image-size", "16", "--sheet", "/tmp/none.png", "--data", photos)

    def found() -> str:
        line = [sys.executable, "-c", WITHOUT_RIGHTS, *map(str, arguments), project / "photos"]
        result = subprocess.run(line, capture_output=True, text=True, env=env())
        assert result.returncode == 2, result.stderr
        return result.stderr

    (photos / "train/red").chmod(0o700)
    assert f"ruggedize: {photos}/train/red/: Permission denied" in found()
    (photos / "train/red").chmod(0o755)
    photos.chmod(0o600)
    assert f"{photos}" in (message := found())
    assert "Permission denied" in message


def test_home_is_expanded_in_every_argument(project: Path) -> None:
    kernels = str((cache_folder() or project) / "kernels")
    home = {**env(), "HOME": str(project), "NUMBA_CACHE_DIR": kernels}
    arguments = command("views", "~/photos.toml", "--out=~/deep/views.png")
    found = subprocess.run(arguments, capture_output=True, text=True, env=home, cwd="/")
    assert found.returncode == 0, found.stderr
    assert (project / "deep/views.png").is_file()
    model, picture = "~/runs/x/student/model.safetensors", "~/photos/test/red/0.png"
    found = subprocess.run(
        command("predict", model, picture, "--csv"), capture_output=True, text=True, env=home
    )
    assert found.stdout.startswith(f"image,class,confidence\n{project}/photos/test/red/0.png,")
