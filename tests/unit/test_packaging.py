"""What is installed: the files of the wheel, and the oldest versions that are tested."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import ruggedize
from tests.oldest_versions import oldest_versions

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "ruggedize"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run([*command, "--directory", folder], cwd=ROOT, check=True, capture_output=True)
    (path,) = folder.iterdir()
    return zipfile.ZipFile(path)


def files_of_the_package() -> list[Path]:
    """List the package's files; in a checkout those that git does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", SOURCE]
    if (ROOT / ".git").exists() and shutil.which("git"):
        names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        return [ROOT / name for name in names.split("\0") if name and (ROOT / name).is_file()]
    return [path for path in SOURCE.rglob("*") if path.is_file() and path.suffix != ".pyc"]


def test_stray_files_that_git_ignores_are_no_part_of_the_package() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    stray = SOURCE / "__pycache__" / "stray.txt"
    stray.parent.mkdir(exist_ok=True)
    stray.write_text("")
    try:
        assert stray not in files_of_the_package()
        assert SOURCE / "pipeline.py" in files_of_the_package()
    finally:
        stray.unlink()


def test_the_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    expected = {str(path.relative_to(ROOT / "src")) for path in files_of_the_package()}
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == expected
    assert {"ruggedize/recipe/shipped/demo.toml", "ruggedize/report/style.css"} <= held


def test_the_version_has_one_source(wheel: zipfile.ZipFile) -> None:
    metadata = f"ruggedize-{ruggedize.__version__}.dist-info/METADATA"
    assert f"\nVersion: {ruggedize.__version__}\n" in wheel.read(metadata).decode()
    assert f'version: "{ruggedize.__version__}"' in (ROOT / "CITATION.cff").read_text()
    assert "version" not in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    requirements = ["numpy>=2.0", "pydantic>=2.10", "torch>=2.11"]
    pins = ["numpy==2.4.6", "torch==2.13.0", "pydantic_core==2.50.5", "pytest==9.2.0"]
    assert oldest_versions(requirements, pins) == [
        "numpy==2.0",
        "pydantic==2.10",
        "torch==2.13.0",
        "pytest==9.2.0",
    ]


def test_every_dependency_has_a_lower_bound_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for text in project["dependencies"]:
        name, bound = text.split(">=")
        assert name.replace("-", "").isalnum(), text
        assert bound.replace(".", "").isdigit(), text


def test_the_demo_resumes_and_deletes_nothing() -> None:
    command = ["make", "--dry-run", "--always-make", "--no-print-directory", "demo"]
    steps = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert steps.splitlines()[-1] == ".venv/bin/ruggedize run demo --out runs/demo-seed0"
    assert not re.search(r"\brm\b", steps)


def test_the_workflow_takes_the_steps_of_ci_run() -> None:
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    steps = re.findall(r"^make .*$", (ROOT / ".ci/run").read_text(), re.MULTILINE)
    assert {"make check", "make test", "make test-wheel"} <= set(steps)
    assert {f"      - run: {step}" for step in steps} <= set(workflow.splitlines())
