"""Several runs on one page: compared over seeds only where nothing else differs."""

import json
import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ruggedize.core import files
from ruggedize.report import write_report
from ruggedize.report.record import read_run
from ruggedize.report.seeds import OverSeeds, over_seeds, t_interval
from tests.behaviour.pages import Page
from tests.tiny_assessment import FP32, tiny_run

TRAIN = {"images": 90, "labels": "0a", "content": "1b"}


def trained_on(place: str, train: dict[str, Any], training: int = 80) -> dict[str, Any]:
    """Return the facts of a training on images that lie somewhere."""
    images = {"training": training, "validation": 10, "size": 8}
    return {"images": images, "data": {"place": place, "parts": {"train": train}}}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make three runs, with seeds 0 to 2."""
    root = tmp_path_factory.mktemp("made")
    for seed in range(3):
        folder = tiny_run(root / f"tiny-seed{seed}", seed)
        data = {"place": f"/{seed}", "parts": {"train": TRAIN, "test": TRAIN}}
        facts = {"models": {"student": f"hash {seed}"}, "data": data}
        change(folder / "assessment.json", facts=facts)
        for name in ("teacher", "student"):
            note = {"weights": "ema", "epoch": 4, "validation": {"accuracy": 0.9}}
            note |= {"precision": "fp32", "device": "cpu", "processes": 1, "microbatches": 1}
            note["training"] = trained_on(f"/{seed}", TRAIN)
            files.write_json(folder / name / "delivered.json", note)
    return root


@pytest.fixture
def folders(made: Path, tmp_path: Path) -> list[Path]:
    shutil.copytree(made, tmp_path / "runs")
    return sorted((tmp_path / "runs").iterdir())


def change(path: Path, **values: Any) -> None:
    """Change keys of a JSON object; a table is laid over the one that is there."""
    content = json.loads(path.read_text())
    for key, value in values.items():
        both = isinstance(value, dict) and isinstance(content.get(key), dict)
        content[key] = content[key] | value if both else value
    files.write_json(path, content)


def compared(folders: list[Path]) -> OverSeeds:
    return over_seeds([read_run(folder) for folder in folders])


def text_of(folders: list[Path]) -> str:
    out = folders[0].parent / "report.html"
    write_report(folders, out)
    html = out.read_text()
    return Page(html[: html.index("</main>")]).text


def test_runs_that_differ_by_seed_alone_are_compared(folders: list[Path]) -> None:
    found = compared(folders)
    assert found.obstacles == []
    assert [len(row.differences) for row in found.rows] == [3] * len(found.rows)
    assert found.rows[0].title == "clean"
    assert len(set(found.rows[-1].differences)) == 3
    text = text_of(folders)
    assert "t-intervals of the paired differences over 3 seeds" in text
    assert "one per seed" in text


def test_the_page_says_what_the_t_interval_covers(folders: list[Path]) -> None:
    text = text_of(folders)
    assert "All seeds share one test set" in text
    assert "cover the randomness of the training only, not the choice of the test images" in text
    for seed, folder in enumerate(folders):
        change(folder / "assessment.json", suite_facts={"seed": str(seed)})
    assert "of the training and of the corruptions only" in text_of(folders)


def in_recipe(folder: Path) -> None:
    path = folder / "recipe.toml"
    files.write_atomically(path, path.read_bytes() + b"validation = 5\n")


def in_environment(**values: Any) -> Callable[[Path], None]:
    return lambda folder: change(folder / "environment.json", **values)


def in_delivered(**values: Any) -> Callable[[Path], None]:
    return lambda folder: change(folder / "student" / "delivered.json", **values)


def in_assessment(**values: Any) -> Callable[[Path], None]:
    return lambda folder: change(folder / "assessment.json", **values)


OTHER = {
    "data.validation (none, 5)": in_recipe,
    "version of numpy": in_environment(packages={"numpy": "1.0"}),
    "digest of the source": in_environment(source="other"),
    "student: precision in training (fp32, bf16)": in_delivered(precision="bf16"),
    "student: device in training (cpu, cuda)": in_delivered(device="cuda"),
    "student: processes in training (1, 2)": in_delivered(processes=2),
    "student: microbatches in training (1, 4)": in_delivered(microbatches=4),
    "student: number of training images (80, 70)": in_delivered(
        training=trained_on("/0", TRAIN, training=70)
    ),
    "student: digest of the train data": in_delivered(
        training=trained_on("/0", TRAIN | {"content": "2c"})
    ),
    "test data: labels (0a, 3d)": in_assessment(
        facts={"data": {"place": "/0", "parts": {"train": TRAIN, "test": TRAIN | {"labels": "3d"}}}}
    ),
    "train data: number of images (90, none)": in_assessment(facts={"data": None}),
    "teacher: precision in the assessment (fp32, bf16)": in_assessment(
        precision={"teacher": "bf16"}
    ),
    "version of ruggedize in the assessment": in_assessment(ruggedize="0.0"),
    "suite (tiny, CIFAR-10-C)": in_assessment(suite="CIFAR-10-C"),
    "suite: frost.textures (none, procedural)": in_assessment(
        suite_facts={"frost.textures": "procedural"}
    ),
    "number of test images available (120, 500)": in_assessment(images={"available": 500}),
    "classes": in_assessment(images={"classes": ["a", "b", "c", "d"]}),
}


@pytest.mark.parametrize("name", OTHER)
def test_whatever_else_differs_is_named(folders: list[Path], name: str) -> None:
    OTHER[name](folders[1])
    found = compared(folders)
    assert found.rows == []
    assert len(found.obstacles) == 1
    assert f"differ in more than their seed: {name}" in found.obstacles[0]


def test_other_cells_and_other_images_are_named(tmp_path: Path) -> None:
    whole = tiny_run(tmp_path / "whole", 0)
    fewer = tiny_run(tmp_path / "fewer", 1, options=FP32.model_copy(update={"severities": (5,)}))
    obstacle = compared([whole, fewer]).obstacles[0]
    assert "corruptions and severities" in obstacle
    assert "images" not in obstacle
    some = tiny_run(tmp_path / "some", 1, options=FP32.model_copy(update={"num_images": 60}))
    obstacle = compared([whole, some]).obstacles[0]
    assert "number of test images (120, 60), which test images, labels" in obstacle
    assert "severities" not in obstacle


def test_what_differs_stands_on_the_page(folders: list[Path]) -> None:
    OTHER["student: precision in training (fp32, bf16)"](folders[1])
    text = text_of(folders[:2])
    assert "Not compared over seeds" in text
    assert "student: precision in training (fp32, bf16)" in text
    assert "student: precision in trainingfp32bf16" in text
    assert "t-interval" not in text
    assert "one per seed" not in text


def test_where_the_data_lies_and_how_it_is_read_makes_no_difference(folders: list[Path]) -> None:
    path = folders[1] / "recipe.toml"
    files.write_atomically(path, path.read_bytes() + b"workers = 7\nstreaming = true\n")
    assert compared(folders).obstacles == []


def moved(folder: Path, root: str) -> None:
    """Record that the data and the suite of a run were in folders below `root`."""
    path = folder / "recipe.toml"
    seed = tomllib.loads(path.read_text())["seed"]
    places = f'[data]\nname = "{root}/photos"\nunlabelled = "{root}/others"\n'
    suite = f'[assess]\nsuite = "{root}/photos-c"\n'
    files.write_atomically(path, f"seed = {seed}\n{places}{suite}".encode())


def test_folders_of_another_machine_are_told_apart_by_their_digests(folders: list[Path]) -> None:
    for folder in folders:
        moved(folder, f"/home/{folder.name}")
    assert compared(folders).obstacles == []
    for folder in folders:  # without digests, the paths are compared
        change(folder / "assessment.json", facts={"data": None})
    (obstacle,) = compared(folders).obstacles
    assert "data.name" in obstacle
    assert "data.unlabelled" in obstacle
    assert "suite" not in obstacle


def test_one_run_given_twice_is_no_comparison(folders: list[Path]) -> None:
    found = compared([folders[0], folders[0]])
    assert found == ([], ["tiny-seed0 and tiny-seed0 are the same run."], False)
    text = text_of([folders[0], folders[0]])
    assert "are the same run" in text
    assert "differ in more than their seed" not in text
    assert "t-interval" not in text


def test_a_run_given_again_among_others_is_named(folders: list[Path]) -> None:
    assert compared([*folders, folders[1]]).obstacles == [
        "tiny-seed1 and tiny-seed1 are the same run."
    ]


def test_runs_of_one_model_are_no_comparison(folders: list[Path]) -> None:
    change(folders[1] / "assessment.json", facts={"models": {"student": "hash 0"}})
    obstacles = compared(folders).obstacles
    assert obstacles == ["tiny-seed0 and tiny-seed1 contain the same student."]


def test_runs_of_one_seed_are_no_comparison(folders: list[Path]) -> None:
    recipe = folders[1] / "recipe.toml"
    files.write_atomically(recipe, recipe.read_bytes().replace(b"seed = 1", b"seed = 0"))
    assert compared(folders).obstacles == ["tiny-seed0 and tiny-seed1 have the same seed, 0."]


def test_runs_with_a_single_model_share_a_row_without_a_difference(tmp_path: Path) -> None:
    alone = [tiny_run(tmp_path / f"run{seed}", seed, models=("student",)) for seed in range(2)]
    text = text_of(alone)
    assert "2 seeds" in text
    assert "\N{PLUS-MINUS SIGN}" in text
    assert "Over seeds" not in text
    assert "differ in more than their seed" not in text


def test_a_run_without_a_recipe_has_no_known_seed(folders: list[Path]) -> None:
    (folders[2] / "recipe.toml").unlink()
    assert "The seed of tiny-seed2 is unknown" in compared(folders).obstacles[0]


def test_the_t_interval_is_that_of_the_text_books() -> None:
    # The gains of the Keras example's author over three runs: mean 1.2, half width 6.0.
    found = t_interval([3.11, 1.97, -1.53])
    assert found.difference == pytest.approx(1.183, abs=1e-3)
    assert found.high - found.difference == pytest.approx(6.0, abs=0.05)
