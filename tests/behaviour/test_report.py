"""The page about a run: it stands alone, shows what was measured, and says what it cannot."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from ruggedize.assess import AssessOptions, assess
from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.corruptions.names import ALL
from ruggedize.report import load_summary_rows, write_report
from ruggedize.report.compare import corruption_rows, summary_rows
from ruggedize.report.record import read_run
from tests.behaviour.pages import Page
from tests.tiny_assessment import TinySuite, tiny_images, tiny_models, tiny_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run(tmp_path_factory.mktemp("runs") / "tiny-seed0")


@pytest.fixture(scope="module")
def html(run: Path) -> str:
    write_report([run], run / "report.html")
    return (run / "report.html").read_text()


def test_the_page_needs_nothing_but_itself(html: str) -> None:
    links = Page(html).links
    assert links
    assert all(link.startswith(("data:image/png;base64,", "#")) for link in links)
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert "default-src 'none'" in html


def test_class_names_and_recipes_are_text_and_never_markup(html: str) -> None:
    page = Page(html)
    assert "<b>dark</b>" in page.text
    assert "<script>alert(1)</script>" in page.text
    assert "<b>dark</b>" not in html
    assert "alert(1)</script>" not in html


def test_every_figure_of_the_assessment_is_in_the_text(html: str, run: Path) -> None:
    text, record = Page(html).text, read_run(run)
    for name, model in record.assessment.models.items():
        assert f"{100 * model.clean.accuracy:.2f}" in text, name
    for row in corruption_rows(record):
        assert row.corruption.replace("_", " ") in text
        assert all(f"{100 * value:.2f}" in text for value in row.values.values())


def test_an_incomplete_summary_says_what_it_needs(html: str) -> None:
    text = Page(html).text
    needs = "not assessed (needs all 15 corruptions, 3 assessed; assess without --corruptions)"
    assert f"C15: 15 corruptions, severities 1\N{NON-BREAKING HYPHEN}5 {needs}" in text
    assert "severity 5, the 3 corruptions assessed" in text


def test_missing_severities_are_named_with_the_option() -> None:
    image_set = tiny_images()
    suite = TinySuite(image_set.images, corruptions=ALL)
    options = AssessOptions(precision="fp32", severities=(5,))
    rows = summary_rows(assess(tiny_models(), image_set, suite, options).assessment)
    reasons = {row.name: row.coverage for row in rows}
    needs = "not assessed (needs severities 1-5; assess with --severities 1-5)"
    assert reasons == {"clean": "", "severity5_top1": "", "c15": needs, "c19": needs}


def test_a_complete_suite_has_its_full_names_and_no_stand_ins() -> None:
    image_set = tiny_images()
    suite = TinySuite(image_set.images, corruptions=ALL)
    found = assess(tiny_models(), image_set, suite, AssessOptions(precision="fp32")).assessment
    rows = summary_rows(found)
    assert [row.name for row in rows] == ["clean", "severity5_top1", "c15", "c19"]
    assert not any(row.coverage for row in rows)
    assert all(row.comparisons["student"].resamples >= 2_000 for row in rows)


def test_severity_5_alone_is_not_shown_twice() -> None:
    image_set = tiny_images()
    options = AssessOptions(precision="fp32", severities=(5,))
    found = assess(tiny_models(), image_set, TinySuite(image_set.images), options).assessment
    shown = [row.name for row in summary_rows(found) if not row.coverage]
    assert shown == ["clean", "severity5_present"]


def test_one_run_says_that_its_interval_is_not_about_the_method(html: str) -> None:
    text = Page(html).text
    assert "One run, one seed" in text
    assert "not for the method" in text
    assert "one, so one seed" in text


def test_corruptions_that_overlap_the_training_noise_are_marked(html: str) -> None:
    text = Page(html).text
    assert "brightness †" in text
    assert "brightness (randaugment Brightness)" in text
    assert "contrast †" not in text


def test_provenance_is_in_the_page(html: str) -> None:
    text = Page(html).text
    for fact in ("preset tiny", "frost.textures none", "teacher fp32", "120 of 120", "torch"):
        assert fact in text


def test_the_same_files_give_the_same_page(run: Path, html: str, tmp_path: Path) -> None:
    write_report([run], tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text() == html


def test_a_bare_assessment_without_training_makes_a_page(run: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    for path in (run / "assessment.json", *(run / "predictions").iterdir()):
        files.write_atomically(bare / path.relative_to(run), path.read_bytes())
    write_report([bare], tmp_path / "report.html")
    text = Page((tmp_path / "report.html").read_text()).text
    assert "Summary" in text
    assert "Validation accuracy" not in text


def test_predictions_of_another_assessment_are_refused(run: Path, tmp_path: Path) -> None:
    stranger = tiny_run(tmp_path / "stranger", seed=5)
    student = "predictions/student.safetensors"
    files.write_atomically(stranger / student, (run / student).read_bytes())
    with pytest.raises(UserError, match="does not match the predictions"):
        write_report([stranger], tmp_path / "report.html")


def test_a_folder_without_an_assessment_is_named_with_its_cure(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="ruggedize assess"):
        write_report([tmp_path], tmp_path / "report.html")


def test_the_terminal_table_has_points_with_two_decimals(run: Path) -> None:
    columns, rows = load_summary_rows(run / "assessment.json")
    assert columns == ["accuracy, %", "teacher", "student", "student - teacher [95 % interval]"]
    assert [row[0] for row in rows] == [
        "clean",
        "severity 5, the 3 corruptions assessed",
        "all 15 cells assessed",
    ]
    assert all(re.fullmatch(r"[+-]\d+\.\d\d \[[+-]\d+\.\d\d, [+-]\d+\.\d\d\]", r[3]) for r in rows)
    titles = [row.title for row in summary_rows(read_run(run).assessment) if row.coverage]
    assert len(titles) == 3


def test_a_report_is_written_without_importing_torch(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    code = (
        "import sys; from pathlib import Path; from ruggedize.report import write_report; "
        f"write_report([Path({str(run)!r})], Path({str(out)!r})); "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert out.exists()
