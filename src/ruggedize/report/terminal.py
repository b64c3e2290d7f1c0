"""The table that the command line prints after an assessment. Imports no torch."""

from pathlib import Path

from ruggedize.assess import Comparison, Interval
from ruggedize.report.compare import SummaryRow, summary_rows
from ruggedize.report.intervals import accuracy_intervals
from ruggedize.report.record import RunRecord, read_record

LONGEST_BESIDE = 12  # characters of a model's name for two models side by side


def load_summary_rows(path: Path) -> tuple[list[str], list[list[str]]]:
    """Format an assessment for the terminal: columns and rows, in percentage points.

    The table fits 80 columns: more than two models, or long names, are listed below each other.
    """
    record = read_record(path)
    names = list(record.assessment.models)
    rows = [row for row in summary_rows(record.assessment) if not row.coverage]
    if len(names) == 1:
        return alone(record, names[0], rows)
    if len(names) > 2 or max(map(len, names)) > LONGEST_BESIDE:
        return below_each_other(names, rows)
    columns = ["accuracy, %", *names, f"{names[1]} - {names[0]} [95 % interval]"]
    return columns, [
        [row.title, *(accuracy(row, name) for name in names), difference(row, names[1])]
        for row in rows
    ]


def alone(
    record: RunRecord, name: str, rows: list[SummaryRow]
) -> tuple[list[str], list[list[str]]]:
    """Format one model's summaries with their intervals."""
    found = accuracy_intervals(record, [row.name for row in rows])
    texts = []
    for row in rows:
        interval = found[row.name][name]
        low, high = f"{100 * interval.low:.2f}", f"{100 * interval.high:.2f}"
        texts.append([row.title, accuracy(row, name), f"[{low}, {high}]"])
    return ["accuracy, %", name, "95 % interval"], texts


def below_each_other(names: list[str], rows: list[SummaryRow]) -> tuple[list[str], list[list[str]]]:
    """Format each summary as a heading with one line per model."""
    texts = []
    for row in rows:
        texts.append([row.title, "", ""])
        texts += [[f"  {name}", accuracy(row, name), difference(row, name)] for name in names]
    return ["accuracy", "%", f"minus {names[0]} [95 % interval]"], texts


def accuracy(row: SummaryRow, name: str) -> str:
    """Write an accuracy in percent."""
    value = row.values[name]
    return "" if value is None else f"{100 * value:.2f}"


def difference(row: SummaryRow, name: str) -> str:
    """Write a model's difference from the baseline with its interval; the baseline has none."""
    found = row.comparisons.get(name)
    return "" if found is None else difference_text(found)


def difference_text(found: Comparison | Interval) -> str:
    """Write a difference with its interval, in percentage points."""
    middle, low, high = (100 * value for value in (found.difference, found.low, found.high))
    return f"{middle:+.2f} [{low:+.2f}, {high:+.2f}]"
