"""What the page says of a run holds for that run, however little was assessed."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ruggedize.assess import AssessOptions
from ruggedize.assess.example_choice import choose_examples
from ruggedize.core import files
from ruggedize.report import compare, load_summary_rows, write_report
from ruggedize.report.chosen import has_chosen_epoch
from ruggedize.report.disagreements import grouped_examples
from ruggedize.report.heat import heats
from ruggedize.report.record import read_run
from ruggedize.report.wording import facts, points, scale_of
from tests.behaviour.pages import Page
from tests.tiny_assessment import tiny_run

ONE_SEVERITY = AssessOptions(precision="fp32", severities=(4,))
ONE_CELL = AssessOptions(precision="fp32", severities=(4,), corruptions=("contrast",))
ONE_CORRUPTION = AssessOptions(precision="fp32", corruptions=("contrast",))


def page_of(folder: Path) -> str:
    write_report([folder], folder / "report.html")
    html = (folder / "report.html").read_text()
    return html[: html.index("</main>")]


def text_of(folder: Path) -> str:
    return Page(page_of(folder)).text


def figures_of(html: str) -> list[dict[str, Any]]:
    parts = re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', html, re.DOTALL)
    return [json.loads(part) for part in parts]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("runs") / "tiny-seed0")


@pytest.fixture(scope="module")
def html(run: Path) -> str:
    return page_of(run)


def test_examples_come_in_the_order_in_which_they_were_chosen(run: Path, html: str) -> None:
    record = read_run(run)
    first, last = record.predictions["teacher"], record.predictions["student"]
    chosen = [
        (each.corruption, int(first.index[each.row])) for each in choose_examples(first, last)
    ]
    groups = grouped_examples(record)
    shown = [each.picture for group in groups.values() for each in group]
    assert [(picture.corruption, picture.index) for picture in shown] == chosen
    assert len(groups["Only student is right"]) > 3
    assert shown != sorted(shown, key=lambda picture: (picture.corruption, str(picture.index)))
    assert "the most confident disagreements come first" in html
    assert "at most 8 are shown each way" in html


def test_only_pictures_of_this_assessment_are_shown(tmp_path: Path) -> None:
    folder = tiny_run(tmp_path / "run")
    record = read_run(folder)
    first, last = record.predictions["teacher"], record.predictions["student"]
    differ = first.correct(("contrast", 1)) != last.correct(("contrast", 1))
    stray = f"contrast-1-{first.index[differ][0]}.png"  # answered, but not chosen
    files.write_atomically(folder / "examples" / stray, record.examples[0].png)
    assert read_run(folder).examples == record.examples
    about = json.loads((folder / "assessment.json").read_text())
    del about["facts"]["examples"]  # as an earlier version wrote it
    files.write_json(folder / "assessment.json", about)
    assert len(read_run(folder).examples) == len(record.examples) + 1


def test_disagreements_have_their_denominator(html: str) -> None:
    text = Page(html).text
    assert (
        "of 360 pairs (120 images \N{MULTIPLICATION SIGN} 3 corruptions), only student is right on "
        in text
    )


def test_curves_that_cannot_be_compared_are_not_ranked(html: str) -> None:
    assert "noisy views cannot be compared with accuracy on clean" in html
    assert "lies lower" not in html


@pytest.mark.parametrize("epochs", [1, 4, 60])
def test_ticks_stand_at_whole_epochs(tmp_path: Path, epochs: int) -> None:
    axes = [
        figure["layout"]["xaxis"]
        for figure in figures_of(page_of(tiny_run(tmp_path / "run", epochs=epochs)))
        if figure["layout"]["xaxis"]["title"]["text"] == "epoch"
    ]
    assert len(axes) == 4
    assert all(
        axis["tick0"] == 0 and axis["dtick"] == {1: 1, 4: 1, 60: 10}[epochs] for axis in axes
    )


def test_lines_of_one_epoch_are_told_apart(tmp_path: Path) -> None:
    figures = figures_of(page_of(tiny_run(tmp_path / "run", epochs=1)))
    curves = [f for f in figures if f["layout"]["xaxis"]["title"]["text"] == "epoch"]
    assert len(curves) == 4
    for figure in curves:
        lines = [(line["line"]["color"], line["marker"]["symbol"]) for line in figure["data"]]
        assert len(set(lines)) == len(lines) > 1


def test_one_severity_is_shown_once(tmp_path: Path, html: str) -> None:
    one = page_of(tiny_run(tmp_path / "run", options=ONE_SEVERITY))
    minus = "Every cell: student \N{MINUS SIGN} teacher"
    for part in ("Accuracy by severity", "student, mean", "mean over the severities", minus):
        assert part in html
        assert part not in one
    assert "Accuracy in percent at severity\N{NO-BREAK SPACE}4" in one.replace("&nbsp;", "\xa0")


def test_only_what_was_assessed_is_said_to_overlap_the_training_noise(tmp_path: Path) -> None:
    text = text_of(tiny_run(tmp_path / "run", options=ONE_CELL))
    assert "This corruption does not overlap the training noise." in text
    assert "brightness" not in text


def test_one_of_something_is_said_in_the_singular(tmp_path: Path) -> None:
    cell = tiny_run(tmp_path / "cell", options=ONE_CELL)
    text = text_of(cell)
    assert "The one cell assessed" in text
    assert "About one in twenty 95 % intervals misses the true value by chance." in text
    _, rows = load_summary_rows(cell / "assessment.json")
    assert [row[0] for row in rows] == ["clean", "the one cell assessed"]
    text += text_of(tiny_run(tmp_path / "corruption", options=ONE_CORRUPTION))
    assert "Accuracy by severity" in text
    assert not re.findall(r"\b1 (?:cells|corruptions|intervals|images|pairs)", text)


def test_a_difference_is_one_figure_wherever_it_stands(run: Path) -> None:
    record = read_run(run)
    found = heats(record)[0]
    cells = zip(*(model.cells for model in record.assessment.models.values()), strict=True)
    gains = [(student.correct - teacher.correct) / student.n for teacher, student in cells]
    assert [cell.difference for _, row in found.rows for cell in row if cell] == gains
    by_corruption = {row.corruption: row.interval for row in compare.corruption_rows(record)}
    for corruption, row in found.rows:
        assert row[-1]
        assert by_corruption[corruption] == row[-1]
        assert points(row[-1].difference) in page_of(run)


def test_a_clean_image_is_not_compared_with_itself(run: Path, html: str) -> None:
    rows = compare.quality_rows(read_run(run).assessment)
    assert [row.same_as_clean is None for row in rows] == [True, False] * 2
    assert "same class as on the clean image,&nbsp;%" in html
    assert "agreement," not in html


def test_one_model_is_not_compared(tmp_path: Path) -> None:
    text = text_of(tiny_run(tmp_path / "run", models=("teacher",)))
    for claim in (
        "Where they differ",
        "\N{MINUS SIGN} teacher",
        "one seed",
        "Each line joins",
        "disagree",
        " gain",
    ):
        assert claim not in text
    assert "Under corruption" in text


def test_ranges_and_units_do_not_break(html: str) -> None:
    assert "severities 1\N{NON-BREAKING HYPHEN}5" in html
    assert "severities 1-5<" not in html
    assert not re.findall(r"\d %", html)
    assert "contrast&nbsp;5" in html


def test_the_machine_is_described_in_words() -> None:
    found = facts({"gpus": [], "cores": 2, "source": "f3fe", "packages": {"torch": "2.13"}})
    assert found["gpus"] == "none"
    assert found["source"] == "f3fe (a digest of ruggedize's own source files)"
    assert (found["cores"], found["torch"]) == ("2", "2.13")
    assert facts({"gpus": ["H100", "H100"]}) == {"gpus": "H100, H100"}


def test_bars_have_a_scale_from_the_lowest_to_the_highest_end(run: Path, html: str) -> None:
    intervals = [row.interval for row in compare.corruption_rows(read_run(run))]
    scale = scale_of(intervals)
    ends = [end for found in intervals if found for end in (found.low, found.high)]
    assert (scale.low, scale.high) == (min(0, *ends), max(0, *ends))
    assert (scale.place(scale.low), scale.place(scale.high)) == ("0.0000", "1.0000")
    assert f"<span>{100 * scale.high:+.1f}</span></span></th>" in html


def test_small_differences_show_beside_large_ones(run: Path, html: str) -> None:
    found = heats(read_run(run))[0]
    values = [cell.difference for _, row in found.rows for cell in row if cell is not None]
    html = html[: html.index("change from clean, every cell")]
    shares = [float(share) for share in re.findall(r"--share:([\d.]+)", html)]
    assert shares == pytest.approx([(abs(v) / found.largest) ** 0.5 for v in values], abs=1e-3)


def test_narrow_pages_abbreviate_and_show_that_a_table_goes_on(html: str) -> None:
    assert '<abbr title="negative log likelihood">NLL</abbr>' in html
    style = html[html.index("<style>") : html.index("</style>")]
    assert re.search(r"max-width: 900px\) \{\s*\.bar \{ display: none", style)
    assert "no-repeat local" in style


def test_the_report_shows_what_was_delivered_beside_what_was_not_and_why(tmp_path: Path) -> None:
    folder = tiny_run(tmp_path / "run", models=("teacher",))
    difference = {"metric": "accuracy", "raw_minus_average": 0.0764, "num_images": 1000}
    delivered = {
        "weights": "raw",
        "epoch": 3,
        "validation": {"loss": 0.4, "accuracy": 0.9},
        "chosen_by": "accuracy",
        "at_epoch": {
            "raw": {"loss": 0.4, "accuracy": 0.9},
            "averaged": {"loss": 0.61, "accuracy": 0.8236},
            "difference": difference | {"standard_error": 0.0113},
        },
        "reason": "the raw weights are clearly better",
    }
    files.write_json(folder / "teacher" / "delivered.json", delivered)
    text = text_of(folder)
    assert "the raw weights of epoch 3 delivered, 90.00 % on the validation split" in text
    assert "the epoch was chosen by validation accuracy" in text
    assert "raw weights had 90.00 % (loss 0.4000), their average 82.36 % (0.6100)" in text
    assert "+7.64 points (standard error 1.1), over 1,000 validation images" in text
    assert "Reason: the raw weights are clearly better" in text
    lower = difference | {"metric": "loss", "raw_minus_average": -0.21, "standard_error": None}
    delivered["at_epoch"] |= {"difference": lower}
    delivered |= {"weights": "ema", "chosen_by": None}
    files.write_json(folder / "teacher" / "delivered.json", delivered)
    text = text_of(folder)
    assert "the average of the weights (ema) of epoch 3 delivered" in text
    assert "\N{MINUS SIGN}0.21, over 1,000 validation images" in text
    assert "the epoch was chosen" not in text


@pytest.mark.parametrize("weights", ["raw", "ema"])
def test_a_note_without_a_comparison_claims_none(tmp_path: Path, weights: str) -> None:
    folder = tiny_run(tmp_path / "run", models=("teacher",))
    delivered = {"weights": weights, "epoch": 3, "validation": {"loss": 0.4, "accuracy": 0.9}}
    files.write_json(folder / "teacher" / "delivered.json", delivered)
    text = text_of(folder)
    assert "of epoch 3 delivered, 90.00 % on the validation split." in text
    assert "average of the weights" in text or weights == "raw"
    for claim in ("the epoch was chosen", "minus average", "Reason"):
        assert claim not in text


def without_averages(folder: Path, early_stopping: bool) -> None:
    """Make a run that delivers raw weights, under early stopping or of its last epoch."""
    rows = files.read_lines(folder / "teacher" / "metrics.jsonl")
    for row in rows:
        row["validation"]["averaged"] = None
    files.write_lines(folder / "teacher" / "metrics.jsonl", rows)
    section = b"\n[teacher.early_stopping]\npatience = 10\n" if early_stopping else b""
    recipe = folder / "recipe.toml"
    files.write_atomically(recipe, recipe.read_bytes() + section)
    delivered = {"weights": "raw", "epoch": 4, "validation": {"loss": 0.4, "accuracy": 0.9}}
    delivered["chosen_by"] = "accuracy" if early_stopping else None
    files.write_json(folder / "teacher" / "delivered.json", delivered)


@pytest.mark.parametrize(
    ("early_stopping", "epochs", "chosen"), [(True, 4, True), (True, 1, False), (False, 4, False)]
)
def test_an_epoch_was_chosen_only_where_epochs_were_compared(
    tmp_path: Path, early_stopping: bool, epochs: int, chosen: bool
) -> None:
    folder = tiny_run(tmp_path / "run", models=("teacher",), epochs=epochs)
    without_averages(folder, early_stopping)
    text = text_of(folder)
    assert "90.00 % on the validation split" in text
    assert ("the epoch was chosen" in text) == chosen


def test_a_single_average_was_not_chosen_among_epochs(tmp_path: Path) -> None:
    folder = tiny_run(tmp_path / "run", models=("teacher",), epochs=2)  # the second has an average
    assert not has_chosen_epoch(read_run(folder), "teacher")
    more = tiny_run(tmp_path / "more", models=("teacher",), epochs=3)
    assert has_chosen_epoch(read_run(more), "teacher")


def test_an_epoch_was_chosen_if_there_were_several_candidates(tmp_path: Path) -> None:
    folder = tiny_run(tmp_path / "run", models=("teacher",), epochs=2)
    without_averages(folder, early_stopping=True)
    delivered = folder / "teacher" / "delivered.json"
    for number in (1, 2):
        files.write_json(delivered, json.loads(delivered.read_text()) | {"num_candidates": number})
        assert has_chosen_epoch(read_run(folder), "teacher") == (number > 1)
