"""docs/results.md and the tables of the README are those of the committed summaries."""

import re
from pathlib import Path

import pytest
from docs import results

from ruggedize.recipe import load_recipe
from ruggedize.study import RunSummary, load_study, load_summaries
from ruggedize.study.running import with_new_options
from ruggedize.study.summary import (
    ModelSummary,
    StageSummary,
    ValidationSummary,
    load_summary,
    portable_recipe,
    write_summary,
)
from tests.tiny_study import tiny_study

NAMES = ("gaussian_noise", "fog")
STAGE = {"epochs": 5, "seconds": 12.0, "pflop": 0.25, "model": "ab" * 32}


def summary(arm: str, seed: int, c15: float) -> RunSummary:
    """Return the summary of a run that nobody trained."""
    model = ModelSummary(
        clean=0.9,
        severity5_top1=0.7,
        c15=c15,
        c19=c15,
        corruptions=dict.fromkeys(NAMES, c15),
        severity5=dict.fromkeys(NAMES, 0.7),
    )
    return RunSummary(
        study="tiny",
        arm=arm,
        seed=seed,
        budget="15 forward-epochs",
        recipe={"seed": seed, "assess": {"severities": [1, 5]}},
        data={"test": {"images": 40, "labels": "0a", "content": "1b"}},
        images={"training": 192, "validation": 40, "test": 40},
        stages={
            "student": StageSummary.model_validate(STAGE | {"precision": "fp32"} if seed else STAGE)
        },
        seconds=12.0 + 1990 * seed,
        pflop=0.25,
        models={"student": model},
        validation=ValidationSummary(clean=0.9, extras=c15 - 0.1, corruptions={"saturate": 0.5}),
        environment={
            "processor": "CPU",
            "cores": 2,
            **({"instructions": "AVX2"} if seed else {}),
            "gpus": [],
            "packages": {"torch": "2.13.0"},
        },
    )


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the repository's studies by one with four finished runs."""
    path = tiny_study(
        tmp_path, ('baseline = "noise-only"', 'baseline = "noise-only"\nresults = "done"')
    )
    for seed, (alone, taught) in enumerate([(0.80, 0.81), (0.82, 0.85)]):
        write_summary(tmp_path / "done", summary("noise-only", seed, alone))
        write_summary(tmp_path / "done", summary("taught", seed, taught))
    monkeypatch.setattr(results, "STUDIES", tmp_path)
    teachers = [("tiny", arm, "noise-only") for arm in ("taught", "taught-cool")]
    monkeypatch.setattr(results, "TEACHERS", teachers)
    return path


def test_the_page_of_results_is_that_of_the_summaries() -> None:
    assert results.PAGE.read_text() == results.page(), "run `make results` and commit the page"


def test_the_tables_of_the_readme_are_those_of_the_summaries() -> None:
    text = results.README.read_text()
    assert results.MARKED.search(text)
    assert text == results.filled(text), "run `make results` and commit README.md"


def test_every_summary_belongs_to_a_study() -> None:
    for folder in (results.ROOT / "benchmarks" / "results" / "studies").glob("*"):
        study = load_study(results.STUDIES / f"{folder.name}.toml")
        assert load_summaries(folder)
        assert all(each.study == study.name for each in load_summaries(folder))


def test_the_page_shows_means_deviations_and_paired_intervals(studies: Path) -> None:
    page = results.page()
    assert "4 of 6 runs are finished; 15 forward-epochs per run." in page
    row = next(line for line in page.splitlines() if line.startswith("| **taught** "))
    assert "| 83.00 ± 2.83 |" in row  # C15 of 81 and 85
    assert "| +2.00 [-10.71, +14.71] |" in row  # of 1 and 3 points, with one degree of freedom
    assert row.endswith("| 0.25 | 1,007 (12-2,002) |")
    differences = "+0.00 [+0.00, +0.00] | +0.00 [+0.00, +0.00] | +2.00 [-10.71, +14.71] |"
    assert f"| [tiny](#tiny) | taught | noise-only | 2 | {differences}" in page
    assert "taught-cool | noise-only" not in page  # has no finished runs
    assert "| fog | 81.00 | 83.00 |" in page
    assert "2 cores of CPU, torch 2.13.0: 2 runs." in page
    assert "2 cores of CPU, AVX2, fp32, torch 2.13.0: 2 runs." in page


def test_a_changed_summary_changes_page_and_readme(studies: Path) -> None:
    readme = "before\n<!-- results: tiny -->\nold\n<!-- end -->\nafter\n"
    page, table = results.page(), results.filled(readme)
    assert "old" not in table
    assert re.match(
        r"before\n<!-- results: tiny -->\n`tiny`.*<!-- end -->\nafter\n", table, re.DOTALL
    )
    write_summary(studies.parent / "done", summary("taught", 1, 0.86))
    assert results.page() != page
    assert results.filled(readme) != table != readme
    assert results.filled(table) == results.filled(readme)


def test_a_single_pair_has_a_difference_and_no_interval(studies: Path) -> None:
    (studies.parent / "done" / "noise-only-seed1.json").unlink()
    page = results.page()
    assert "| [tiny](#tiny) | taught | noise-only | 1 | +0.00 | +0.00 | +1.00 |" in page
    row = next(line for line in page.splitlines() if line.startswith("| **taught** "))
    assert "| +1.00, 1 of 2 seeds |" in row


def test_the_best_arm_is_that_of_the_seeds_that_all_arms_have(studies: Path) -> None:
    write_summary(studies.parent / "done", summary("noise-only", 2, 0.99))
    page = results.page()
    assert "| **taught** " in page  # 81 and 85, against 80 and 82
    assert "| noise-only | 3 | 77.00 ± " in page  # 70, 72 and 89 under the extra corruptions


def test_columns_are_those_that_were_assessed(studies: Path) -> None:
    benchmark = "validation, extras | clean | severity 5 | C15 | C19"
    assert f"| arm | seeds | {benchmark} | C15 - noise-only |" in results.page()
    for path in (studies.parent / "done").glob("*.json"):
        run = load_summary(path)
        partial = {"severity5_top1": None, "c15": None, "c19": None}
        student = run.result.model_copy(update=partial)
        write_summary(path.parent, run.model_copy(update={"models": {"student": student}}))
    page, mean = results.page(), "mean of the chosen corruptions"
    assert f"| arm | seeds | validation, extras | clean | {mean} | {mean} - noise-only |" in page
    row = next(line for line in page.splitlines() if line.startswith("| **taught** "))
    assert "| 90.00 ± 0.00 | 83.00 ± 2.83 | +2.00 [-10.71, +14.71] |" in row
    other = run.result.model_copy(update=partial | {"corruptions": {"fog": 0.5}})
    write_summary(path.parent, run.model_copy(update={"models": {"student": other}}))
    assert "| arm | seeds | validation, extras | clean | clean - noise-only |" in results.page()


def test_a_table_without_results_stays_as_it_is(studies: Path) -> None:
    for path in (studies.parent / "done").glob("*.json"):
        path.unlink()
    readme = "<!-- results: tiny -->\nold\n<!-- end -->\n"
    assert results.filled(readme) == readme
    page = results.page()
    assert "## tiny" not in page
    row = "A study that takes seconds | 6 | 15 forward-epochs |"
    assert f"| [tiny](../benchmarks/studies/tiny.toml): {row}" in page


def test_what_the_study_file_says_about_its_results_follows_the_table(studies: Path) -> None:
    assert "The student gains." not in results.page()
    head, rest = studies.read_text().split("\n", 1)
    studies.write_text(f"{head}\n#\n# Findings: The student\n# gains.\n{rest}")
    lines = results.page().splitlines()
    assert (
        lines.index("The student gains.")
        == lines.index("| corruption, severities 1, 5 | noise-only | taught |") - 2
    )


def test_a_summary_of_an_arm_that_was_removed_is_still_shown(studies: Path) -> None:
    tiny_study(
        studies.parent, ('"noise-only"', '"noise-only"\nresults = "done"'), ("[arms.taught]\n", "")
    )
    assert "| **taught** " in results.page()


def test_a_damaged_summary_is_named(studies: Path) -> None:
    path = studies.parent / "done" / "taught-seed0.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": "x"', 1))
    with pytest.raises(Exception, match=r"taught-seed0\.json is damaged at seed"):
        load_summaries(path.parent)


def test_options_that_were_added_since_a_run_have_their_defaults() -> None:
    recipe = load_recipe("demo", ("student.objective=mean-teacher", "teacher.epochs=3"))
    saved = portable_recipe(recipe)
    for name in ("threshold", "temperature_squared"):
        del saved["student"]["objective"][name]
    assert with_new_options(saved) == portable_recipe(recipe)
    saved["student"]["removed"] = 1
    assert with_new_options(saved) == saved
