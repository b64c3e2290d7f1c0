"""Reports of assessments without a run folder: alone, together, and beside runs."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ruggedize.assess import AssessmentFacts, AssessOptions, assess, save_assessment
from ruggedize.cli.assessing import report
from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.corruptions import SEVERITIES
from ruggedize.data import DataDigest
from ruggedize.data.digest import PartDigest
from ruggedize.report import paper_table, write_report
from ruggedize.report.joining import find_model, prepared
from ruggedize.report.record import RunRecord, read_record
from ruggedize.report.side_by_side import standings
from tests.behaviour.pages import Page
from tests.tiny_assessment import FP32, TinyClassifier, TinySuite, tiny_images, tiny_run

MODELS = {"near": TinyClassifier(bias=0.02), "far": TinyClassifier(bias=0.06)}
MINUS = "\N{MINUS SIGN}"


def assessed(
    path: Path, *names: str, num: int = 120, seed: int = 0, options: AssessOptions = FP32
) -> Path:
    """Assess models as `ruggedize assess` does, into a JSON file with predictions beside it."""
    images = tiny_images(num, seed)
    models = {name: MODELS[name] for name in names}
    return save_assessment(assess(models, images, TinySuite(images.images), options), path)


def text_of(places: list[Path], out: Path, **options: str) -> str:
    write_report(places, out, **options)
    html = out.read_text()
    return Page(html[: html.index("</main>")]).text


@pytest.fixture
def near(tmp_path: Path) -> Path:
    return assessed(tmp_path / "a" / "near.json", "near")


@pytest.fixture
def far(tmp_path: Path) -> Path:
    return assessed(tmp_path / "b" / "far.json", "far")


def test_one_assessment_alone_makes_a_page_beside_it(near: Path) -> None:
    report((near,))
    html = near.with_suffix(".html").read_text()
    text = Page(html[: html.index("</main>")]).text
    clean = read_record(near).assessment.models["near"].clean
    assert f"near {100 * clean.accuracy:.2f} % (95 % interval " in text
    for part in (
        "Chance level 25.00 %",
        "always predicting the largest class",
        "only if near was trained on none of the 120 test images",
        "near, change from clean, percentage points, with 95 % intervals",
        "Lowest accuracy",
        "Reliability table",
        "What these images support",
        "images needed for ±1 point",
        "What to try next",
        "Assess a second model on the same images",
    ):
        assert part in text, part
    assert "seed" not in text[: text.index("What was run")]


def test_a_run_folder_has_its_page_beside_it(tmp_path: Path) -> None:
    report((tiny_run(tmp_path / "tiny"),))
    assert "trained on none of" not in (tmp_path / "tiny.html").read_text()


def test_assessments_of_the_same_images_compare_like_the_models_of_a_run(
    near: Path, far: Path, tmp_path: Path
) -> None:
    both = read_record(assessed(tmp_path / "both.json", "near", "far"))
    (joined,) = prepared([read_record(near), read_record(far)], None)
    assert joined.assessment.comparisons == both.assessment.comparisons
    assert joined.assessment.models == both.assessment.models
    assert joined.assessment.inputs == both.assessment.inputs
    text = text_of([near, far], tmp_path / "page.html")
    assert f"far {MINUS} near" in text
    assert "paired bootstrap over images" in text
    assert "only if near and far were trained on none" in text


@pytest.mark.parametrize(
    ("seed", "severities", "what"),
    [(1, SEVERITIES, "other test images"), (0, (5,), "other corruptions or severities")],
)
def test_assessments_of_other_images_stay_apart(
    near: Path, tmp_path: Path, seed: int, severities: tuple[int, ...], what: str
) -> None:
    options = FP32.model_copy(update={"severities": severities})
    other = assessed(tmp_path / "other.json", "far", seed=seed, options=options)
    assert len(prepared([read_record(near), read_record(other)], None)) == 2
    text = text_of([near, other], tmp_path / "page.html")
    assert "Side by side" in text
    assert f"other has no differences, because it was assessed on {what}." in text
    assert f"far {MINUS} near" not in text
    found = standings([read_record(near), read_record(other)], None, None)
    assert [set(row.differences) for row in found.rows] == [{None}, {None}]


def test_images_of_two_folders_stay_apart(near: Path, far: Path) -> None:
    one, other = read_record(near), read_record(far)
    digests = [PartDigest(images=120, labels="0", content=content) for content in "ab"]

    def in_folder(record: RunRecord, part: PartDigest) -> RunRecord:
        facts = AssessmentFacts(data=DataDigest(place="photos", parts={"all": part}))
        assessment = record.assessment.model_copy(update={"facts": facts})
        return replace(record, assessment=assessment)

    first = in_folder(one, digests[0])
    assert len(prepared([first, in_folder(other, digests[1])], None)) == 2
    assert len(prepared([first, in_folder(other, digests[0])], None)) == 1


def test_models_of_one_name_are_told_apart(near: Path, tmp_path: Path) -> None:
    other = assessed(tmp_path / "c" / "again.json", "far")
    renamed = other.read_text().replace('"far"', '"near"')
    files.write_atomically(other, renamed.encode())
    predictions = tmp_path / "c" / "again-predictions"
    (predictions / "far.safetensors").rename(predictions / "near.safetensors")
    (joined,) = prepared([read_record(near), read_record(other)], None)
    assert list(joined.assessment.models) == ["near-near", "again-near"]


def test_differences_refer_to_the_baseline_in_any_order(
    near: Path, far: Path, tmp_path: Path
) -> None:
    orders = [[near, far], [far, near]]
    found = [prepared([read_record(place) for place in order], "far")[0] for order in orders]
    assert found[0].assessment.comparisons == found[1].assessment.comparisons
    assert {c.baseline for c in found[0].assessment.comparisons} == {"far"}
    by_default = prepared([read_record(near), read_record(far)], None)[0]
    assert {c.baseline for c in by_default.assessment.comparisons} == {"near"}
    text = text_of([near, far], tmp_path / "page.html", baseline="far")
    assert f"near {MINUS} far" in text


def test_the_baseline_of_a_run_can_be_its_student(tmp_path: Path) -> None:
    text = text_of([tiny_run(tmp_path / "run")], tmp_path / "page.html", baseline="student")
    assert f"teacher {MINUS} student" in text
    assert f"student {MINUS} teacher" not in text


def test_an_unknown_baseline_is_an_error_that_lists_the_models(near: Path, far: Path) -> None:
    records = [read_record(near), read_record(far)]
    with pytest.raises(UserError, match=r"no model fat .* near, far.*\n.*--baseline"):
        prepared(records, "fat")
    assert find_model(records, "far/far", "--baseline") == (records[1], "far")


def test_runs_and_assessments_share_a_table(near: Path, tmp_path: Path) -> None:
    run = tiny_run(tmp_path / "run", 0)
    text = text_of([run, near], tmp_path / "page.html")
    assert "2 assessments" in text
    assert "run / teacher" in text
    rows = standings(prepared([read_record(run), read_record(near)], None), None, None).rows
    assert [(row.run, row.model) for row in rows] == [
        ("run", "teacher"),
        ("run", "student"),
        ("near", "near"),
    ]
    assert rows[2].differences[0] is not None  # the same images: paired


def test_runs_that_differ_in_a_recipe_name_the_option(tmp_path: Path) -> None:
    runs = [tiny_run(tmp_path / f"tiny-seed{seed}", seed) for seed in range(2)]
    other = tiny_run(tmp_path / "other", 0)
    recipe = other / "recipe.toml"
    files.write_atomically(recipe, recipe.read_bytes() + b"validation = 5\n")
    records = [read_record(place) for place in (*runs, other)]
    found = standings(records, None, None)
    assert [row.options for row in found.rows[::2]] == [
        {"data.validation": "none"},
        {"data.validation": "5"},
    ]
    assert not found.hidden
    text = text_of([*runs, other], tmp_path / "page.html")
    assert "Options that differ optiontinyother data.validationnone5" in text
    assert "tiny 2 seeds" in text
    markdown = paper_table([*runs, other], "md")
    assert "| data.validation | none | 5 |" in markdown
    assert "| tiny (2 seeds) | teacher | " in markdown


def test_means_over_other_cells_have_columns_of_their_own(near: Path, tmp_path: Path) -> None:
    fewer = FP32.model_copy(update={"severities": (4, 5)})
    other = assessed(tmp_path / "fewer.json", "far", options=fewer)
    found = standings([read_record(near), read_record(other)], None, None)
    columns = [column for column in found.columns if column.summary == "present_mean"]
    assert [column.title for column in columns] == ["all 15 cells assessed", "all 6 cells assessed"]
    place = found.columns.index(columns[0])
    assert found.rows[0].values[place]
    assert found.rows[1].values[place] is None


def test_pictures_of_one_model_are_shown_where_they_are(near: Path, tmp_path: Path) -> None:
    picture = read_record(tiny_run(tmp_path / "run")).examples[0].png
    index = int(read_record(near).predictions["near"].index[0])
    assert "Examples" not in text_of([near], tmp_path / "page.html")
    files.write_atomically(near.parent / "near-examples" / f"contrast-5-{index}.png", picture)
    text = text_of([near], tmp_path / "page.html")
    assert "Examples" in text
    assert re.search(r"near is (right|wrong)", text)


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    runs = [tiny_run(tmp_path / place / "run", seed) for seed, place in enumerate("ab")]
    names = [record.name for record in prepared([read_record(run) for run in runs], None)]
    assert names == ["run", "run (2)"]
