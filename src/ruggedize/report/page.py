"""One self-contained HTML page about one or several runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ruggedize.assess import NUM_EXAMPLES
from ruggedize.core import files
from ruggedize.core.errors import UserError
from ruggedize.core.places import user_path
from ruggedize.report import compare
from ruggedize.report.disagreements import (
    Disagreements,
    Example,
    disagreements,
    grouped_examples,
)
from ruggedize.report.figures import drawings
from ruggedize.report.record import RunRecord, has_chosen_epoch, read_run
from ruggedize.report.seeds import OverSeeds, over_seeds
from ruggedize.report.wording import FILTERS, control_sentence, scale_of, verdict

TEMPLATE = Path(__file__).with_name("template.html.jinja")
STYLE = Path(__file__).with_name("style.css")


class Heat(NamedTuple):
    """The difference between last and first model in every cell; None where not assessed."""

    severities: list[int]
    rows: list[tuple[str, list[float | None]]]
    largest: float


@dataclass(frozen=True)
class Chapter:
    """All that the page says of one run."""

    record: RunRecord
    identity: str
    names: list[str]
    summaries: list[compare.SummaryRow]
    control: str  # what the last model gains over the control
    corruptions: list[compare.CorruptionRow]
    severities: list[int]
    figures: dict[str, list[Any]]
    quality: list[compare.QualityRow]
    heat: Heat | None
    examples: dict[str, list[Example]]  # by which of the models is right
    disagreements: Disagreements


def write_report(run_folders: Sequence[Path], out: Path) -> None:
    """Write one HTML page that works offline, from the files in the run folders alone.

    Args:
        run_folders: folders that hold `assessment.json`, its predictions and whatever else a run
            leaves; runs that differ by their seed alone are also compared over seeds.
        out: the page.

    Raises:
        UserError: a folder holds no assessment.
    """
    if not run_folders:
        raise UserError("there is no run to report on; give at least one run folder")
    out = user_path(out)
    files.reject_unwritable_file(out)
    records = [read_run(user_path(folder)) for folder in run_folders]
    chapters = [chapter(record, f"run{place}") for place, record in enumerate(records)]
    page = render(chapters, over_seeds(records))
    files.write_atomically(out, page.encode("utf-8"))


def render(chapters: list[Chapter], seeds: OverSeeds) -> str:
    """Fill the template; all text is escaped there."""
    from jinja2 import Environment, StrictUndefined
    from plotly.offline import get_plotlyjs

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= FILTERS
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    drawn = any(figures for each in chapters for figures in each.figures.values())
    return template.render(
        chapters=chapters,
        seeds=seeds,
        verdict=verdict,
        has_chosen_epoch=has_chosen_epoch,
        plotly=get_plotlyjs() if drawn else "",
        style=STYLE.read_text(encoding="utf-8"),
        scale_of=scale_of,
        num_examples_each_way=NUM_EXAMPLES // 2,
    )


def chapter(record: RunRecord, identity: str) -> Chapter:
    """Gather what the page says of one run."""
    rows = compare.corruption_rows(record)
    summaries = compare.summary_rows(record.assessment)
    return Chapter(
        record=record,
        identity=identity,
        names=list(record.assessment.models),
        summaries=summaries,
        control=control_sentence(record, summaries, compare.over_control(record, summaries)),
        corruptions=rows,
        severities=compare.severities_assessed(record.assessment),
        figures=drawings(record, rows, identity),
        quality=compare.quality_rows(record.assessment),
        heat=heat(record),
        examples=grouped_examples(record),
        disagreements=disagreements(record),
    )


def heat(record: RunRecord) -> Heat | None:
    """Compute the difference, last model minus first, in every cell; one severity has a table."""
    models = list(record.assessment.models.values())
    severities = compare.severities_assessed(record.assessment)
    if len(models) < 2 or len(severities) < 2:
        return None
    firsts, lasts = (
        {(cell.corruption, cell.severity): cell for cell in model.cells}
        for model in (models[0], models[-1])
    )
    gains = {
        place: (lasts[place].correct - cell.correct) / cell.n for place, cell in firsts.items()
    }
    rows = [
        (corruption, [gains.get((corruption, severity)) for severity in severities])
        for corruption in dict.fromkeys(corruption for corruption, _ in gains)
    ]
    return Heat(severities, rows, max(map(abs, gains.values())))
