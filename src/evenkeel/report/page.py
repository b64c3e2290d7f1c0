"""One self-contained HTML page about one or several runs."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from evenkeel import runs
from evenkeel.assess.assessment import Comparison
from evenkeel.assess.bootstrap import Interval
from evenkeel.report import compare
from evenkeel.report.figures import drawings
from evenkeel.report.record import Picture, RunRecord, read_run
from evenkeel.runs import UserError

TEMPLATE = Path(__file__).with_name("template.html.jinja")
MINUS = "\N{MINUS SIGN}"
PERCENT_SIGN = "\N{NO-BREAK SPACE}%"


class Answer(NamedTuple):
    """What one model said of an example."""

    model: str
    class_name: str
    confidence: float
    right: bool


class Example(NamedTuple):
    """A picture with its truth and the models' answers."""

    picture: Picture
    label: str
    answers: list[Answer]


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
    corruptions: list[compare.CorruptionRow]
    severity: int | None
    figures: dict[str, list[Any]]
    quality: list[compare.QualityRow]
    heat: Heat | None
    examples: dict[str, list[Example]]  # by which of the models is right
    disagreements: tuple[int, int]


def write_report(run_folders: Sequence[Path], out: Path) -> None:
    """Write one HTML page that works offline, from the files in the run folders alone.

    Args:
        run_folders: folders that hold `assessment.json`, its predictions and whatever else a run
            leaves; runs of one recipe under several seeds are also compared over seeds.
        out: the page.

    Raises:
        UserError: a folder holds no assessment.
    """
    if not run_folders:
        raise UserError("there is no run to report on; give at least one run folder")
    runs.refuse_unwritable_file(Path(out))
    records = [read_run(Path(folder)) for folder in run_folders]
    chapters = [chapter(record, f"run{place}") for place, record in enumerate(records)]
    page = render(chapters, compare.seed_rows(records))
    runs.write_atomically(Path(out), page.encode("utf-8"))


def render(chapters: list[Chapter], seeds: list[compare.SeedRow]) -> str:
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
        plotly=get_plotlyjs() if drawn else "",
        reach=reach,
    )


def chapter(record: RunRecord, identity: str) -> Chapter:
    """Gather what the page says of one run."""
    rows = compare.corruption_rows(record)
    return Chapter(
        record=record,
        identity=identity,
        names=list(record.assessment.models),
        summaries=compare.summary_rows(record.assessment),
        corruptions=rows,
        severity=compare.shown_severity(record.assessment),
        figures=drawings(record, rows, identity),
        quality=compare.quality_rows(record.assessment),
        heat=heat(record),
        examples=grouped_examples(record),
        disagreements=disagreements(record),
    )


def heat(record: RunRecord) -> Heat | None:
    """Take the difference, last model minus first, in every cell."""
    models = list(record.assessment.models.values())
    if len(models) < 2 or not models[0].cells:
        return None
    first, last = (
        {(cell.corruption, cell.severity): cell.accuracy for cell in model.cells}
        for model in (models[0], models[-1])
    )
    severities = sorted({severity for _, severity in first})
    rows = []
    for corruption in dict.fromkeys(corruption for corruption, _ in first):
        places = [(corruption, severity) for severity in severities]
        values = [last[place] - first[place] if place in first else None for place in places]
        rows.append((corruption, values))
    return Heat(severities, rows, max(abs(last[place] - first[place]) for place in first))


def grouped_examples(record: RunRecord) -> dict[str, list[Example]]:
    """Put the examples that speak for the last model before those that speak for the first."""
    names = list(record.predictions)
    found = [example(record, picture) for picture in record.examples if answered(record, picture)]
    return {
        f"Only {names[-1]} is right": [each for each in found if each.answers[-1].right],
        f"Only {names[0]} is right": [each for each in found if each.answers[0].right],
    }


def answered(record: RunRecord, picture: Picture) -> bool:
    """Tell whether the predictions hold this image in this cell: they may be of a later one."""
    return all(
        (picture.corruption, picture.severity) in predictions.cells
        and picture.index in predictions.index
        for predictions in record.predictions.values()
    )


def example(record: RunRecord, picture: Picture) -> Example:
    """Look up in the predictions what the models said of an example."""
    classes = record.assessment.images.classes
    first = next(iter(record.predictions.values()))
    row = int(np.searchsorted(first.index, picture.index))
    label = int(first.labels[row])
    answers = []
    for name, predictions in record.predictions.items():
        top = predictions.cells[picture.corruption, picture.severity]
        said, sure = int(top.classes[row, 0]), float(top.confidences[row, 0])
        answers.append(Answer(name, classes[said], sure, said == label))
    return Example(picture, classes[label], answers)


def disagreements(record: RunRecord) -> tuple[int, int]:
    """Count where only the last model is right and where only the first is, highest severity."""
    predictions = list(record.predictions.values())
    severity = compare.shown_severity(record.assessment)
    gained = lost = 0
    for cell in predictions[0].cells:
        if cell[1] == severity:
            first, last = predictions[0].correct(cell), predictions[-1].correct(cell)
            gained += int((last & ~first).sum())
            lost += int((first & ~last).sum())
    return gained, lost


def verdict(record: RunRecord, row: compare.SummaryRow) -> str:
    """Say one summary in a sentence that claims no more than its interval shows."""
    names = list(record.assessment.models)
    first, last = names[0], names[-1]
    if len(names) < 2:
        return f"{first} {percent(row.values[first])}{PERCENT_SIGN}."
    found = row.comparisons[last]
    shown = f"95{PERCENT_SIGN} interval {points(found.low)} to {points(found.high)}"
    if found.low <= 0.0 <= found.high:
        shown += ": no difference shown"
    distance = f"{100 * abs(found.difference):.2f} points"
    direction = "above" if found.difference >= 0 else "below"
    value = percent(row.values[last]) + PERCENT_SIGN
    return f"{last} {value}, {distance} {direction} {first} ({shown})."


def percent(value: float | None) -> str:
    """Write a fraction in percent."""
    return "" if value is None else f"{100 * value:.2f}"


def points(value: float) -> str:
    """Write a difference of fractions in percentage points, with its sign."""
    return f"{100 * value:+.2f}".replace("-", MINUS)


def spaced(name: str) -> str:
    """Write a name in words."""
    return name.replace("_", " ")


def data_uri(png: bytes) -> str:
    """Put a picture into the page itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def sign_of(found: Comparison | Interval) -> str:
    """Tell a gain from a loss, and both from what the interval leaves open."""
    return "gain" if found.low > 0 else "loss" if found.high < 0 else "open"


def reach(intervals: Sequence[Comparison | Interval | None]) -> float:
    """Give how far from zero a table's intervals reach, so that their bars share a scale."""
    ends = [abs(end) for found in intervals if found for end in (found.low, found.high)]
    return max([*ends, 1e-9])


FILTERS: dict[str, Callable[..., Any]] = {
    "percent": percent,
    "points": points,
    "spaced": spaced,
    "data_uri": data_uri,
    "sign_of": sign_of,
}
