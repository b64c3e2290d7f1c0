"""Figures and names as the page writes them: signs, units and what must not be torn apart."""

import base64
import html
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ruggedize.assess import Comparison, Interval
from ruggedize.core.errors import shown, shown_lines
from ruggedize.report.compare import SummaryRow
from ruggedize.report.record import RunRecord, is_control

MINUS = "\N{MINUS SIGN}"
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
PERCENT_SIGN = f"{NO_BREAK_SPACE}%"
SOURCE = "a digest of ruggedize's own source files"


class Scale(NamedTuple):
    """From where to where a table's bars go; zero is on it."""

    low: float
    high: float

    def place(self, value: float) -> str:
        """Return a value's place, 0 at the low end and 1 at the high one."""
        return f"{(value - self.low) / (self.high - self.low):.4f}"


def scale_of(intervals: Sequence[Comparison | Interval | None]) -> Scale:
    """Make the scale that all bars of a table share."""
    ends = [end for found in intervals if found for end in (found.low, found.high)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    return Scale(low, high) if low < high else Scale(-1e-9, 1e-9)


def verdict(record: RunRecord, row: SummaryRow) -> str:
    """Return one summary as a sentence that claims no more than its interval shows."""
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


def control_sentence(
    record: RunRecord, rows: list[SummaryRow], over_control: dict[str, Comparison]
) -> str:
    """Return what the last model gains over the control, or that there is none.

    Empty for a single model, and where the recipe does not show how the last one was trained.
    """
    last = list(record.assessment.models)[-1]
    options = record.stage(last)
    if len(record.assessment.models) < 2 or not options or is_control(options):
        return ""
    if not over_control:
        return (
            "No control was trained (noisy views, labels alone: --set control=true), so this run "
            f"does not separate what {last} owes to the noise from what it owes to its objective."
        )
    gains = (
        f"{unbroken(row.title)} {points(found.difference)} points "
        f"[{points(found.low)}, {points(found.high)}]"
        for row in rows
        if (found := over_control.get(row.name))
    )
    return (
        f"{last} {MINUS} {record.control}, the control (noisy views, labels alone), with "
        f"95{PERCENT_SIGN} intervals: {'; '.join(gains)}."
    )


def percent(value: float | None) -> str:
    """Write a fraction in percent."""
    return "" if value is None else f"{100 * value:.2f}"


def points(value: float) -> str:
    """Write a difference of fractions in percentage points, with its sign."""
    return f"{100 * value:+.2f}".replace("-", MINUS)


def spaced(name: str) -> str:
    """Write a name in words."""
    return name.replace("_", " ")


def unbroken(text: str) -> str:
    """Keep a range such as 1-5 on one line."""
    return text.replace("-", "\N{NON-BREAKING HYPHEN}")


def paired(difference: dict[str, Any]) -> str:
    """Write a paired difference of a metric with its standard error, as `delivered.json` has it."""
    metric, error = difference["metric"], difference["standard_error"]
    scale, unit = (100, " points") if metric == "accuracy" else (1, "")
    text = f"{metric}: {scale * difference['raw_minus_average']:+.4g}{unit}".replace("-", MINUS)
    return text if error is None else f"{text} (standard error {scale * error:.2g})"


def counted(number: int, singular: str, plural: str = "") -> str:
    """Write a number before what it counts."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def scale_end(value: float) -> str:
    """Write an end of a scale, in points."""
    return f"{100 * value:+.1f}".replace("-", MINUS) if abs(value) >= 0.0005 else "0"


def data_uri(png: bytes) -> str:
    """Encode a picture as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def sign_of(found: Comparison | Interval) -> str:
    """Return gain, loss, or open where the interval includes zero."""
    return "gain" if found.low > 0 else "loss" if found.high < 0 else "open"


def facts(environment: dict[str, Any]) -> dict[str, str]:
    """Return the machine and the packages that a run was made with, by name."""
    plain = {key: value for key, value in environment.items() if not isinstance(value, dict)}
    shown = {key: fact(value) for key, value in plain.items() if key != "source"}
    if "source" in plain:
        shown["source"] = f"{plain['source']} ({SOURCE})"
    packages = environment.get("packages", {}).items()
    return shown | {name: version for name, version in packages if version and name != "ruggedize"}


def fact(value: Any) -> str:
    """Write what there is of something, or that there is none."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "unknown" if value is None else str(value)


def escape(text: str) -> str:
    """Return foreign text for a figure, which draws markup: without it, and printable."""
    return html.escape(shown(text))


def printable(value: Any) -> Any:
    """Return text for the page without control characters and marks that change its direction.

    Called on every value that the template shows. Markup is the template's own.
    """
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return NO_BREAK_SPACE.join(map(shown_lines, value.split(NO_BREAK_SPACE)))


FILTERS: dict[str, Callable[..., Any]] = {
    "percent": percent,
    "points": points,
    "spaced": spaced,
    "unbroken": unbroken,
    "counted": counted,
    "paired": paired,
    "scale_end": scale_end,
    "data_uri": data_uri,
    "sign_of": sign_of,
    "facts": facts,
}
