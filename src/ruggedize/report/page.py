"""The report: one self-contained HTML page about runs or assessments without a run."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ruggedize.assess import CLEAN, NUM_EXAMPLES, Guessing, Interval, training_doubt
from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.core.places import user_path
from ruggedize.report import compare
from ruggedize.report.advice import advice
from ruggedize.report.calibration import Reliability, reliabilities
from ruggedize.report.chosen import has_chosen_epoch
from ruggedize.report.classes import ClassTable, class_table, guess_of
from ruggedize.report.corruption_error import normaliser, what_counts
from ruggedize.report.disagreements import (
    Disagreements,
    Example,
    disagreements,
    grouped_examples,
)
from ruggedize.report.figures import drawings
from ruggedize.report.heat import Heat, WorstCell, heats, worst_cells
from ruggedize.report.intervals import accuracy_intervals
from ruggedize.report.paper import load_records
from ruggedize.report.record import RunRecord
from ruggedize.report.seeds import OverSeeds, groups_of, over_seeds
from ruggedize.report.side_by_side import labels, standings
from ruggedize.report.support import Support, detectable_beside, supports
from ruggedize.report.wording import (
    FILTERS,
    control_sentence,
    ends_of,
    input_text,
    printable,
    scale_of,
    started_from,
    verdict,
)

if TYPE_CHECKING:
    from jinja2 import Template

FOLDER = Path(__file__).parent
TEMPLATE = "template.html.jinja"
STYLE = FOLDER / "style.css"


@dataclass(frozen=True)
class Chapter:
    """Everything on the page about one run, or about assessments of the same images."""

    record: RunRecord
    identity: str
    names: list[str]
    summaries: list[compare.SummaryRow]
    intervals: dict[str, dict[str, Interval]]  # of accuracies, by summary and model
    control: str  # the last model's gain over the control
    skipped: list[str]  # stages that were not trained, and why
    corruptions: list[compare.CorruptionRow]
    severities: list[int]
    figures: dict[str, list[Any]]
    quality: list[compare.QualityRow]
    heats: list[Heat]
    worst: dict[str, list[WorstCell]]  # by model
    guessing: Guessing
    doubt: str  # whether models may have been trained on the images
    by_class: ClassTable | None
    reliabilities: list[Reliability]
    supports: list[Support]
    advice: list[str]
    examples: dict[str, list[Example]]  # by title
    disagreements: Disagreements


def write_report(
    runs: Sequence[Path],
    out: Path,
    *,
    baseline: str | None = None,
    mce_baseline: str | None = None,
) -> None:
    """Write one HTML page that works offline, from files alone.

    Args:
        runs: run folders, and assessments (`.json`) with their predictions next to them.
            Assessments of the same images without a run folder are compared like the models of one
            run; runs that differ only in the seed share a row.
        out: the HTML file to write.
        baseline: the model that differences refer to: MODEL, RUN/MODEL, or the name of an
            assessment of one model; default: the first.
        mce_baseline: the model that corruption errors are normalised by; default: `baseline`.
            Without either, no mCE is reported.

    Raises:
        UserError: an assessment is missing or damaged, or there is no model of that name.
    """
    if not runs:
        raise UserError("there is nothing to report on;\ngive at least one run or assessment")
    out = user_path(out)
    files.reject_unwritable_file(out)
    places = [user_path(run) for run in runs]
    files.write_atomically(out, page_of(places, baseline, mce_baseline).encode("utf-8"))


def page_of(
    runs: Sequence[Path], baseline: str | None = None, mce_baseline: str | None = None
) -> str:
    """Return the page that `write_report` writes."""
    records = load_records(runs, baseline)
    reference = normaliser(records, baseline, mce_baseline)
    chapters = [chapter(record, f"run{place}") for place, record in enumerate(records)]
    table = standings(records, baseline, reference)
    return render(
        chapters,
        standings=table,
        mce=None if reference is None else (reference.name, what_counts(reference.model)),
        seeds=seed_tables(records),
        obstacles=obstacles_of(records),
    )


def seed_tables(records: list[RunRecord]) -> list[tuple[str, list[RunRecord], OverSeeds]]:
    """Compare last and first model in each group of runs that differ only in the seed."""
    groups = groups_of(records)
    named = zip(labels(groups), groups, strict=True)
    found = [(name, group, over_seeds(group)) for name, group in named]
    return [each for each in found if each[2].rows]


def obstacles_of(records: list[RunRecord]) -> list[str]:
    """List the reasons why no runs can be compared over seeds; empty if some can."""
    runs = [record for record in records if record.recipe]
    if len(runs) < 2 or len(groups_of(records)) < len(records):
        return []
    return over_seeds(runs).obstacles


def render(chapters: list[Chapter], **values: Any) -> str:
    """Fill the template; all text is escaped there."""
    from plotly.offline import get_plotlyjs

    drawn = any(figures for each in chapters for figures in each.figures.values())
    return page_template().render(
        chapters=chapters,
        plotly=get_plotlyjs() if drawn else "",
        style=STYLE.read_text(encoding="utf-8"),
        **values,
    )


@cache
def page_template() -> "Template":
    """Return the template, compiled once in a process."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=printable,
    )
    environment.filters |= FILTERS
    environment.globals |= {
        "verdict": verdict,
        "ends_of": ends_of,
        "started_from": started_from,
        "has_chosen_epoch": has_chosen_epoch,
        "scale_of": scale_of,
        "input_text": input_text,
        "detectable_beside": detectable_beside,
        "num_examples_each_way": NUM_EXAMPLES // 2,
    }
    return environment.get_template(TEMPLATE)


def chapter(record: RunRecord, identity: str) -> Chapter:
    """Compute everything on the page about one record."""
    names = list(record.assessment.models)
    rows = compare.corruption_rows(record)
    summaries = compare.summary_rows(record.assessment)
    whole = [row.name for row in summaries if not row.coverage]
    intervals = accuracy_intervals(record, whole)
    confidence = reliabilities(record)
    num_cells = len(next(iter(record.predictions.values())).labels)
    num_clean = record.assessment.models[names[0]].clean.n
    sizes = {name: num_clean if name == CLEAN else num_cells for name in whole}
    supported = supports(summaries, intervals, sizes)
    guess, by_class = guess_of(record), class_table(record)
    subjects = names[-1:] if record.recipe else names  # of a run, the last model is the subject
    return Chapter(
        record=record,
        identity=identity,
        names=names,
        summaries=summaries,
        intervals=intervals,
        control=control_sentence(record, summaries, compare.over_control(record, summaries)),
        skipped=[f"{name} was skipped: {why}." for name, why in record.skipped.items()],
        corruptions=rows,
        severities=compare.severities_assessed(record.assessment),
        figures=drawings(record, rows, confidence, identity),
        quality=compare.quality_rows(record.assessment),
        heats=heats(record),
        worst={name: worst_cells(record, name) for name in subjects},
        guessing=guess,
        doubt="" if record.recipe else training_doubt(record.assessment),
        by_class=by_class,
        reliabilities=confidence,
        supports=supported,
        advice=advice(
            record,
            subjects,
            (guess, by_class),
            (confidence, supported),
        ),
        examples=grouped_examples(record),
        disagreements=disagreements(record),
    )
