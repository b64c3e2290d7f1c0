"""Tables for papers: Markdown, CSV and LaTeX. Imports no torch."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from ruggedize.core.errors import UserError
from ruggedize.report.compare import corruption_rows
from ruggedize.report.corruption_error import Normaliser, normaliser, what_counts
from ruggedize.report.intervals import accuracy_intervals
from ruggedize.report.joining import prepared
from ruggedize.report.record import RunRecord, read_record
from ruggedize.report.side_by_side import Row, Spread, Standings, standings

Format = Literal["md", "csv", "latex"]
FORMULA = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
)  # a cell that starts with one of these is a formula to a spreadsheet
PLUS_MINUS = "\N{PLUS-MINUS SIGN}"
NOTHING = "\N{EN DASH}"
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}
COLUMNS = (
    *("run", "model", "figure", "corruption", "severity", "seeds", "value", "low", "high"),
    *("deviation", "baseline", "difference", "difference_low", "difference_high"),
)
Table = tuple[str, list[str], list[list[str]]]  # caption, columns, rows


def paper_table(
    runs: Sequence[Path],
    kind: Format,
    *,
    baseline: str | None = None,
    mce_baseline: str | None = None,
) -> str:
    """Format the accuracies of all models as Markdown, CSV or LaTeX.

    Args:
        runs: run folders, or assessments (`.json`).
        kind: "md", "csv" or "latex"; CSV holds one row per figure.
        baseline: the model that differences refer to; default: the first.
        mce_baseline: the model that corruption errors are normalised by; default: `baseline`.
            Without either, no mCE is reported.

    Raises:
        UserError: an assessment is missing, or there is no model of that name.
    """
    records = load_records(runs, baseline)
    reference = normaliser(records, baseline, mce_baseline)
    found = standings(records, baseline, reference)
    if kind == "csv":
        return as_csv(records, found, reference)
    tables = [accuracy_table(found, reference)]
    tables += [difference_table(found)] if len(found.rows) > 1 else []
    tables += option_tables(found)
    tables += [
        corruption_table(record, len(records) > 1) for record in records if has_cells(record)
    ]
    write: Callable[[Table], str] = as_markdown if kind == "md" else as_latex
    return "\n\n".join(write(table) for table in tables) + "\n"


def load_records(runs: Sequence[Path], baseline: str | None) -> list[RunRecord]:
    """Load the inputs of a report and put its baseline first."""
    if not runs:
        raise UserError(
            "there is nothing to report on;\ngive a run folder or an assessment (.json)"
        )
    return prepared([read_record(Path(place)) for place in runs], baseline)


def has_cells(record: RunRecord) -> bool:
    """Return whether any corruption was assessed."""
    return bool(next(iter(record.assessment.models.values())).cells)


def accuracy_table(found: Standings, reference: Normaliser | None) -> Table:
    """Format one row per model: its accuracies and corruption errors."""
    columns = [*name_columns(found), *short_titles(found)]
    columns += [] if reference is None else ["mCE", "relative mCE"]
    rows = [
        [
            *names(found, row),
            *(spread_text(value) for value in row.values),
            *([] if reference is None else error_texts(row)),
        ]
        for row in found.rows
    ]
    text = "Top-1 accuracy in percent"
    if any(len(row.seeds) > 1 for row in found.rows):
        text += ", mean and standard deviation over seeds"
    text += f" ({'; '.join(title for title in found.titles if ':' in title)})"
    if reference is not None:
        text += f". mCE in percent, normalised by {reference.name}: {what_counts(reference.model)}"
    return text.replace(" ()", "") + ".", columns, rows


def difference_table(found: Standings) -> Table:
    """Format one row per model: its differences from the baseline."""
    kinds = ["paired bootstrap over images"]
    kinds += ["paired t-intervals over seeds"] * any(row.over_seeds for row in found.rows)
    base = found.baseline if is_several(found) else found.baseline[1:]
    text = f"Difference from {'/'.join(base)} in percentage points, with 95 % intervals"
    rows = [[*names(found, row), *map(interval_text, row.differences)] for row in found.rows]
    text = " ".join([f"{text} ({', '.join(kinds)}).", *found.sentences_on_missing])
    return text, [*name_columns(found), *short_titles(found)], rows


def option_tables(found: Standings) -> list[Table]:
    """Format the options that differ between runs, one column per run; empty if none differ."""
    runs = {row.run: row.options for row in found.rows if row.options}
    names = next(iter(runs.values()), {})
    rows = [[name, *(options[name] for options in runs.values())] for name in names]
    return [("Options that differ.", ["option", *runs], rows)] if rows else []


def short_titles(found: Standings) -> list[str]:
    """Shorten the titles that begin with a name: "C15: 15 corruptions ..." is C15."""
    return [title.partition(":")[0] for title in found.titles]


def is_several(found: Standings) -> bool:
    """Return whether the table covers several runs."""
    return len({row.run for row in found.rows}) > 1


def name_columns(found: Standings) -> list[str]:
    """Return the titles of the columns that name a row."""
    return ["run", "model"] if is_several(found) else ["model"]


def names(found: Standings, row: Row) -> list[str]:
    """Return the cells that name a row."""
    run = f"{row.run} ({len(row.seeds)} seeds)" if len(row.seeds) > 1 else row.run
    return [run, row.model] if is_several(found) else [row.model]


def corruption_table(record: RunRecord, several: bool) -> Table:
    """Format one row per corruption: means over the severities assessed, one column per model."""
    models = record.assessment.models
    rows = [
        [
            row.corruption.replace("_", " "),
            *(f"{100 * v:.2f}" for v in row.over_severities.values()),
        ]
        for row in corruption_rows(record)
    ]
    where = f"{record.name}. " * several
    text = f"{where}Top-1 accuracy in percent by corruption, mean over the severities assessed."
    return text, ["corruption", *models], rows


def spread_text(value: Spread | None) -> str:
    """Write an accuracy, with its standard deviation over seeds."""
    if value is None:
        return NOTHING
    text = f"{100 * value.mean:.2f}"
    return text if value.deviation is None else f"{text} {PLUS_MINUS} {100 * value.deviation:.2f}"


def interval_text(found: tuple[float, float, float] | None) -> str:
    """Write a difference with its interval."""
    if found is None:
        return NOTHING
    middle, low, high = (100 * value for value in found)
    return f"{middle:+.2f} [{low:+.2f}, {high:+.2f}]"


def error_texts(row: Row) -> list[str]:
    """Write mCE and relative mCE; undefined if the normalising model makes no errors.

    A model that was assessed on other images or cells than the normalising one has dashes.
    """
    if row.errors is None:
        return [NOTHING, NOTHING]
    return ["undefined" if value is None else f"{100 * value:.1f}" for value in row.errors]


def as_markdown(table: Table) -> str:
    """Write a table in Markdown."""
    text, columns, rows = table
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    lines = [[markdown_text(cell) if cell[:3] != "---" else cell for cell in row] for row in lines]
    return "\n".join([markdown_text(text), "", *(f"| {' | '.join(row)} |" for row in lines)])


def markdown_text(text: str) -> str:
    """Escape what Markdown would read as markup."""
    for sign in ("\\", "|", "*", "_", "`", "<"):
        text = text.replace(sign, f"\\{sign}")
    return " ".join(text.split())


def as_latex(table: Table) -> str:
    """Write a table in LaTeX, with booktabs."""
    text, columns, rows = table
    body = [" & ".join(map(latex_text, row)) + r" \\" for row in rows]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            rf"\caption{{{latex_text(text)}}}",
            rf"\begin{{tabular}}{{l{'r' * (len(columns) - 1)}}}",
            r"\toprule",
            " & ".join(map(latex_text, columns)) + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def latex_text(text: str) -> str:
    """Escape what LaTeX would read as a command."""
    text = "".join(LATEX.get(sign, sign) for sign in " ".join(text.split()))
    return text.replace(PLUS_MINUS, r"$\pm$").replace(NOTHING, "--")


def as_csv(records: list[RunRecord], found: Standings, reference: Normaliser | None) -> str:
    """Write one row per figure, as fractions of 1: summaries, cells, then corruption errors."""
    rows = csv_summaries(records, found)
    for record in records:
        for name, model in record.assessment.models.items():
            for cell in model.cells:
                where = {"corruption": cell.corruption, "severity": cell.severity}
                row = {"run": record.name, "model": name, "figure": "cell", "value": cell.accuracy}
                rows.append(row | where)
    for row in found.rows if reference else ():
        errors = zip(("mce", "relative_mce"), row.errors or (None, None), strict=True)
        for figure, value in errors:
            about = {"seeds": len(row.seeds) or None, "baseline": reference and reference.name}
            rows.append({"run": row.run, "model": row.model, "figure": figure, "value": value})
            rows[-1] |= about
    written = io.StringIO()
    writer = csv.DictWriter(written, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: inert(value) for key, value in row.items()} for row in rows)
    return written.getvalue()


def csv_summaries(records: list[RunRecord], found: Standings) -> list[dict[str, Any]]:
    """Format the summaries: intervals over images for single runs, deviations over seeds."""
    own = {id(record): accuracy_intervals(record, list(complete(record))) for record in records}
    rows = []
    for row in found.rows:
        columns = zip(found.columns, row.values, row.differences, strict=True)
        for column, value, difference in columns:
            if value is None:
                continue
            name = column.summary
            about = {"run": row.run, "model": row.model, "figure": name, "value": value.mean}
            about |= {"seeds": len(row.seeds) or None, "deviation": value.deviation}
            intervals = own[id(row.single)].get(name, {}) if row.single else {}
            if interval := intervals.get(row.model):
                about |= {"low": interval.low, "high": interval.high}
            if difference is not None:
                about["baseline"] = "/".join(found.baseline)
                about |= zip(COLUMNS[-3:], difference, strict=True)
            rows.append(about)
    return rows


def complete(record: RunRecord) -> dict[str, float]:
    """Return the summaries of the first model that have a value."""
    first = next(iter(record.assessment.models.values()))
    return {name: value for name, value in first.summary.items() if value is not None}


def inert(value: Any) -> Any:
    """Quote a text that a spreadsheet would read as a formula; numbers are unchanged."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
