"""Tables for papers and the terminal: corruption errors, escaping, widths."""

import csv
import io
from pathlib import Path

import pytest
from rich.console import Console

from ruggedize.assess import AssessOptions, Cell, ModelAssessment, assess, save_assessment
from ruggedize.assess.assessment import summarised
from ruggedize.cli.assessing import report
from ruggedize.cli.display import table
from ruggedize.core.errors import UserError
from ruggedize.corruptions.names import ALL
from ruggedize.report import load_summary_rows, paper_table
from ruggedize.report.corruption_error import corruption_error, what_counts
from ruggedize.report.paper import inert, latex_text, markdown_text
from ruggedize.report.record import read_record
from tests.tiny_assessment import FP32, TinyClassifier, TinySuite, tiny_images


def counted(clean: int, cells: dict[tuple[str, int], int]) -> ModelAssessment:
    """Make a model's assessment from its correct answers among 100 images."""

    def cell(corruption: str, severity: int, correct: int) -> Cell:
        about = {"top3_correct": 100, "agreeing": 0, "negative_log_likelihood_sum": 0.0}
        shared = {"n": 100, "calibration_error": 0.0} | about
        return Cell(corruption=corruption, severity=severity, correct=correct, **shared)

    found = tuple(cell(*place, correct) for place, correct in cells.items())
    own = cell("clean", 0, clean)
    summary, coverage = summarised(own, found)
    return ModelAssessment(summary=summary, coverage=coverage, clean=own, cells=found)


PLACES = [("fog", 1), ("fog", 5), ("snow", 1), ("snow", 5)]
REFERENCE = counted(80, dict(zip(PLACES, (70, 30, 60, 60), strict=True)))
MODEL = counted(90, dict(zip(PLACES, (80, 60, 70, 60), strict=True)))


def test_the_mean_corruption_error_is_that_of_a_hand_calculation() -> None:
    """Errors of fog: 20 + 40 over 30 + 70; of snow: 30 + 40 over 40 + 40.

    Less the clean errors, 10 and 20 per cell: 40 over 60, 50 over 40.
    """
    found = corruption_error(MODEL, REFERENCE)
    assert found.mean == pytest.approx((60 / 100 + 70 / 80) / 2)
    assert found.relative == pytest.approx((40 / 60 + 50 / 40) / 2)
    assert corruption_error(REFERENCE, REFERENCE) == pytest.approx((1.0, 1.0))
    assert "2 corruptions assessed" in what_counts(MODEL)
    assert "not comparable" in what_counts(MODEL)


def test_a_reference_without_loss_leaves_the_relative_error_undefined() -> None:
    robust = counted(60, dict.fromkeys(PLACES, 60))
    found = corruption_error(MODEL, robust)
    assert found.relative is None
    assert found.mean == pytest.approx((60 / 80 + 70 / 80) / 2)


def test_only_the_benchmark_s_fifteen_count_where_they_are_complete() -> None:
    cells = {(name, severity): 50 for name in ALL for severity in range(1, 6)}
    worse = cells | {("saturate", severity): 0 for severity in range(1, 6)}
    found = corruption_error(counted(90, worse), counted(90, cells))
    assert found == pytest.approx((1.0, 1.0))
    fog = cells | {("fog", severity): 0 for severity in range(1, 6)}
    assert corruption_error(counted(90, fog), counted(90, cells)).mean == pytest.approx(16 / 15)


NAMES = ("=1+2", "a_b|c", "x & y", "a-much-longer-name.of_a_model")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = tiny_images()
    models = {name: TinyClassifier(bias=0.02 * n) for n, name in enumerate(NAMES)}
    result = assess(models, images, TinySuite(images.images, corruptions=ALL), FP32)
    return save_assessment(result, tmp_path_factory.mktemp("four") / "four.json")


def test_the_terminal_s_table_of_four_models_fits_80_columns(place: Path) -> None:
    columns, rows = load_summary_rows(place)
    console = Console(width=80, file=io.StringIO(), markup=False)
    console.print(table("assessment", columns, rows))
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    for name, model in read_record(place).assessment.models.items():
        assert f"  {name} " in text
        assert f"{100 * model.clean.accuracy:.2f}" in text
    assert len([row for row in rows if "[" in row[-1]]) == 3 * 4


def test_without_a_named_model_there_is_no_corruption_error(place: Path) -> None:
    assert "mCE" not in paper_table([place], "md")
    assert "mCE" in paper_table([place], "md", mce_baseline="x & y")
    assert "normalised by x & y" in paper_table([place], "md", baseline="x & y")
    with pytest.raises(UserError, match="--mce-baseline"):
        paper_table([place], "md", mce_baseline="unknown")


def test_corruption_errors_of_other_cells_are_an_error(place: Path, tmp_path: Path) -> None:
    images = tiny_images()
    options = AssessOptions(precision="fp32", severities=(5,))
    result = assess({"other": TinyClassifier()}, images, TinySuite(images.images), options)
    other = save_assessment(result, tmp_path / "other.json")
    with pytest.raises(UserError, match="not assessed on the images, suite and cells of x & y"):
        paper_table([place, other], "csv", mce_baseline="x & y")
    assert "other" in paper_table([place, other], "csv", baseline="x & y")


def test_csv_holds_every_figure_and_no_formula(place: Path) -> None:
    text = paper_table([place], "csv", mce_baseline="x & y")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert {row["model"] for row in rows} == {"'=1+2", *NAMES[1:]}
    cells = [row for row in rows if row["figure"] == "cell"]
    assert len(cells) == 4 * 95
    assessment = read_record(place).assessment
    by_model = {name: found.cells for name, found in assessment.models.items()}
    for row in cells:
        found = by_model[row["model"].removeprefix("'")]
        where = (row["corruption"], row["severity"])
        cell = next(c for c in found if (c.corruption, str(c.severity)) == where)
        assert float(row["value"]) == cell.accuracy
    compared = {(c.model, c.summary): c.difference for c in assessment.comparisons}
    differences = {(r["model"], r["figure"]): r["difference"] for r in rows if r["difference"]}
    assert len(differences) == 3 * 4
    assert all(float(value) == compared[place] for place, value in differences.items())
    errors = [row for row in rows if (row["model"], row["figure"]) == ("x & y", "mce")]
    assert [float(row["value"]) for row in errors] == [1.0]


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\tx"])
def test_a_text_that_begins_like_a_formula_is_quoted(text: str) -> None:
    assert inert(text) == f"'{text}"


def test_numbers_and_other_texts_are_not_quoted() -> None:
    assert (inert(-0.5), inert("a=1"), inert("")) == (-0.5, "a=1", "")


def test_markup_of_latex_and_markdown_is_escaped(place: Path) -> None:
    assert latex_text("a_b & 5 % {x} \\y #1") == r"a\_b \& 5 \% \{x\} \textbackslash{}y \#1"
    assert markdown_text("a_b|c") == r"a\_b\|c"
    assert r"a\_b\|c" in paper_table([place], "md")
    latex = paper_table([place], "latex")
    assert r"x \& y &" in latex
    rows = [line for line in latex.splitlines() if line.endswith(r"\\")]
    assert len({line.replace(r"\&", "").count("&") for line in rows[:5]}) == 1


def test_a_table_goes_to_the_terminal_or_to_a_file(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report((place,), format="csv")
    printed = capsys.readouterr().out
    assert printed == paper_table([place], "csv")
    report((place,), format="csv", out=tmp_path / "table.csv")
    assert (tmp_path / "table.csv").read_text() == printed
    with pytest.raises(UserError, match="give --format csv"):
        report((place,), out=tmp_path / "table.csv")
