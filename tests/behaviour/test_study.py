"""A study as its command runs it: resumed, with teachers shared, compared over seeds."""

import json
import shutil
import signal
from pathlib import Path

import pytest

from ruggedize.core.errors import UserError
from ruggedize.study import (
    arm_rows,
    difference_text,
    load_study,
    load_summaries,
    plan,
    reject_changed_study,
)
from tests.behaviour.runs import ruggedize, saving_often, steps_saved, wait_until
from tests.tiny_study import tiny_study

pytestmark = pytest.mark.more  # each of its runs has a process of its own
RUNS = [f"{arm}-seed{seed}" for seed in (0, 1) for arm in ("noise-only", "taught", "taught-cool")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the study: kill it within its second run, resume it."""
    root = tmp_path_factory.mktemp("study")
    path, out = tiny_study(root), root / "runs"
    process = saving_often("study", path, "--out", out, "--only", "taught-seed0")
    wait_until(process, lambda: max(steps_saved(out / "taught-seed0" / "student"), default=0) >= 4)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    result = ruggedize("study", path, "--out", out)
    assert result.returncode == 0, result.stderr
    (root / "output.txt").write_text(result.stdout)
    (root / "messages.txt").write_text(result.stderr)
    return root


def test_every_run_of_a_study_ends_with_a_summary(finished: Path) -> None:
    summaries = load_summaries(finished / "runs" / "results")
    assert sorted(each.name for each in summaries) == sorted(RUNS)
    for each in summaries:
        assert each.images == {"training": 192, "validation": 40, "test": 40}
        assert 0 < each.result.clean <= 1
        assert each.result.c15 is None  # two corruptions at severity 5 are not the benchmark
        assert each.result.severity5.keys() == {"brightness", "contrast"}
        extras = {"speckle_noise", "gaussian_blur", "spatter", "saturate"}
        assert each.validation.corruptions.keys() == extras
        assert each.validation.extras == pytest.approx(
            sum(each.validation.corruptions.values()) / 4, abs=1e-5
        )
        assert each.environment["packages"]["torch"]
        assert each.seconds > 0
    size = max(path.stat().st_size for path in (finished / "runs" / "results").iterdir())
    assert size < 12_000


def test_all_arms_have_the_arithmetic_of_the_budget(finished: Path) -> None:
    runs = {run.name: run for run in plan(load_study(finished / "tiny.toml"))}
    for each in load_summaries(finished / "runs" / "results"):
        assert each.pflop == pytest.approx(runs[each.name].pflop, rel=1e-5)
        assert sum(stage.pflop for stage in each.stages.values()) == pytest.approx(each.pflop)


def test_equal_teachers_are_trained_once(finished: Path) -> None:
    models = {
        each.name: each.stages["teacher"].model
        for each in load_summaries(finished / "runs" / "results")
        if "teacher" in each.stages
    }
    assert models["taught-seed0"] == models["taught-cool-seed0"] != models["taught-seed1"]
    messages = (finished / "messages.txt").read_text()
    assert "taught-cool-seed0: the teacher is that of taught-seed0" in messages
    assert not (finished / "runs" / "taught-cool-seed0" / "teacher" / "state").exists()
    assert (finished / "runs" / "taught-seed0" / "teacher" / "state").exists()
    assert not (finished / "runs" / "noise-only-seed0" / "teacher").exists()


def test_a_killed_run_of_a_study_ends_the_same(finished: Path, tmp_path: Path) -> None:
    path = tiny_study(tmp_path)
    result = ruggedize("study", path, "--out", tmp_path / "runs", "--only", "taught-seed0")
    assert result.returncode == 0, result.stderr
    whole, resumed = (root / "runs" / "taught-seed0" for root in (tmp_path, finished))
    for name in ("student/model.safetensors", "assessment.json", "validation.json"):
        assert (whole / name).read_bytes() == (resumed / name).read_bytes(), name


def test_the_command_shows_states_and_arms(finished: Path) -> None:
    printed = (finished / "output.txt").read_text()
    assert printed.count("finished") == len(RUNS)
    assert "difference from noise-only" in printed
    assert "highest on the validation extras, over the seeds that all arms have: " in printed
    assert "mean of the chosen corruptions" in printed
    assert "C15" not in printed


def test_a_finished_study_does_nothing_again(finished: Path) -> None:
    model = finished / "runs" / "taught-seed1" / "student" / "model.safetensors"
    before = model.stat().st_mtime_ns
    result = ruggedize("study", finished / "tiny.toml", "--out", finished / "runs")
    assert result.returncode == 0, result.stderr
    assert "(1 of" not in result.stdout
    assert model.stat().st_mtime_ns == before


def test_the_status_of_a_study_is_shown_without_starting_it(tmp_path: Path) -> None:
    result = ruggedize("study", tiny_study(tmp_path), "--out", tmp_path / "runs", "--status")
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("waiting") == len(RUNS)
    assert not (tmp_path / "runs").exists()


def test_a_study_that_has_changed_is_rejected(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    shutil.copytree(finished / "runs", out)
    changed = load_study(tiny_study(tmp_path, ("temperature = 1.0", "temperature = 2.0")))
    with pytest.raises(UserError, match=r"taught-cool-seed0.*student\.objective\.temperature"):
        reject_changed_study(changed, plan(changed), out)
    shutil.rmtree(out / "taught-cool-seed0")  # its summary is left
    with pytest.raises(UserError, match=r"result of taught-cool-seed0 with another recipe"):
        reject_changed_study(changed, plan(changed), out)
    more = load_study(tiny_study(tmp_path, ("seeds = [0, 1]", "seeds = [0, 1, 2]")))
    reject_changed_study(more, plan(more), out)  # seeds and arms may be added


def test_differences_are_paired_by_seed(finished: Path) -> None:
    summaries = load_summaries(finished / "runs" / "results")
    rows = {row.arm: row for row in arm_rows(summaries, "noise-only", ["noise-only", "taught"])}
    assert list(rows) == ["noise-only", "taught", "taught-cool"]  # also what is not in the study
    assert rows["noise-only"].differences["clean"] is None
    by_seed = {(each.arm, each.seed): each.result.clean for each in summaries}
    expected = [by_seed["taught", seed] - by_seed["noise-only", seed] for seed in (0, 1)]
    found = rows["taught"].differences["clean"]
    assert found is not None
    assert found.mean == pytest.approx(sum(expected) / 2)
    assert found.interval is not None
    assert found.interval.low <= found.mean <= found.interval.high
    alone = [each for each in summaries if (each.arm, each.seed) != ("noise-only", 1)]
    [row] = [row for row in arm_rows(alone, "noise-only", []) if row.arm == "taught"]
    single = row.differences["clean"]
    assert single == (pytest.approx(expected[0]), None, 1)  # one pair has no interval
    assert difference_text(single, 2) == f"{100 * expected[0]:+.2f}, 1 of 2 seeds"


def test_a_report_of_the_folder_shows_all_arms(finished: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    result = ruggedize(
        "report", finished / "runs", "--out", page, "--baseline", "noise-only-seed0/student"
    )
    assert result.returncode == 0, result.stderr
    text = page.read_text()
    assert "6 runs" in text
    assert text.count("2 seeds") >= 3
    assert "paired t-intervals" in text


def test_a_failed_run_is_named_after_the_others_have_run(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    shutil.copytree(finished / "runs", out)
    for name in ("noise-only-seed1", "taught-seed1"):
        (out / "results" / f"{name}.json").unlink()
    (out / "noise-only-seed1" / "student" / "model.safetensors").write_bytes(b"damaged")
    result = ruggedize("study", finished / "tiny.toml", "--out", out)
    assert result.returncode == 2
    assert "1 of 2 runs failed: noise-only-seed1 (its error is above)" in result.stderr
    assert (out / "results" / "taught-seed1.json").exists()


def test_an_arm_may_end_with_interpolated_weights(tmp_path: Path) -> None:
    """Its result is that of the interpolation; the training before it is reused."""
    wise = """[arms.taught-wise]
stages = { wise = { interpolate = "student", start = "teacher", alphas = [0.0, 0.5, 1.0] } }
"""
    path, out = tiny_study(tmp_path, ("seeds = [0, 1]", "seeds = [0]")), tmp_path / "runs"
    path.write_text(path.read_text() + "\n" + wise)
    for arm in ("taught", "taught-wise"):
        result = ruggedize("study", path, "--out", out, "--only", f"{arm}-seed0")
        assert result.returncode == 0, result.stderr
    assert "taught-wise-seed0: the student is that of taught-seed0" in result.stderr
    before, after = load_summaries(out / "results")
    assert before.stages["student"] == after.stages["student"]
    assert (after.stages["wise"].epochs, after.stages["wise"].pflop) == (0, 0.0)
    assert after.result == after.models["wise"]
    assert after.pflop == before.pflop


def test_an_unknown_run_is_named_with_those_there_are(tmp_path: Path) -> None:
    result = ruggedize("study", tiny_study(tmp_path), "--out", tmp_path, "--only", "taught-seed7")
    assert result.returncode == 2
    assert "has no run taught-seed7" in result.stderr
    assert "noise-only-seed0" in result.stderr


def test_summaries_are_plain_json_without_paths(finished: Path) -> None:
    for path in (finished / "runs" / "results").iterdir():
        content = json.loads(path.read_text())
        assert str(finished) not in path.read_text()
        assert content["schema_version"] == 1


def test_a_stopped_study_prints_one_command_that_resumes(tmp_path: Path) -> None:
    path, out = tiny_study(tmp_path), tmp_path / "runs"
    process = saving_often("study", path, "--out", out)
    wait_until(process, (out / "noise-only-seed0" / ".lock").exists)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 143, said
    assert said.count("resume with") == 1
    assert said.splitlines()[-1] == f"ruggedize study {path} --out {out}"
