"""Format numbers and names for the page."""

import base64
import html
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ruggedize.assess import Comparison, InputFacts, Interval
from ruggedize.core.errors import shown, shown_lines
from ruggedize.report.compare import SummaryRow
from ruggedize.report.record import RunRecord, is_control

MINUS = "\N{MINUS SIGN}"
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"
PERCENT_SIGN = f"{NO_BREAK_SPACE}%"
SOURCE = "a digest of ruggedize's own source files"


class Scale(NamedTuple):
    """The range of a table's bars, zero included."""

    low: float
    high: float

    def place(self, value: float) -> str:
        """Return a value's place, from 0 at the low end to 1 at the high end."""
        return f"{(value - self.low) / (self.high - self.low):.4f}"


def scale_of(intervals: Sequence[Comparison | Interval | None]) -> Scale:
    """Compute the scale that all bars of a table share."""
    ends = [end for found in intervals if found for end in (found.low, found.high)]
    low, high = min([0.0, *ends]), max([0.0, *ends])
    return Scale(low, high) if low < high else Scale(-1e-9, 1e-9)


def verdict(record: RunRecord, row: SummaryRow, interval: Interval | None = None) -> str:
    """Return one summary as a sentence that claims no more than its interval supports."""
    first, *others = record.assessment.models
    if not others:
        value = percent(row.values[first])
        own = "" if interval is None else f" (95{PERCENT_SIGN} interval {between(interval)})"
        return f"{first} {value}{PERCENT_SIGN}{own}."
    subjects = others[-1:] if record.recipe else others
    return " ".join(difference_sentence(row, first, name) for name in subjects)


def difference_sentence(row: SummaryRow, first: str, last: str) -> str:
    """Return the difference of a model from the first as a sentence."""
    found = row.comparisons[last]
    shown = f"95{PERCENT_SIGN} interval {points(found.low)} to {points(found.high)}"
    if found.low <= 0.0 <= found.high:
        shown += ", which includes zero"
    distance = f"{100 * abs(found.difference):.2f} points"
    direction = "above" if found.difference >= 0 else "below"
    value = percent(row.values[last]) + PERCENT_SIGN
    return f"{last} {value}, {distance} {direction} {first} ({shown})."


def control_sentence(
    record: RunRecord, rows: list[SummaryRow], over_control: dict[str, Comparison]
) -> str:
    """Return the last model's gain over the control, or that there is no control.

    Empty for a single model, and if the last one was trained on clean views or in an unknown way.
    """
    last = list(record.assessment.models)[-1]
    options = record.stage(last)
    is_clean = options.get("views") == "clean"
    if len(record.assessment.models) < 2 or not options or is_control(options) or is_clean:
        return ""
    if not over_control:
        return (
            f"No control was trained (noisy views, labels only: --set control=true), so it is "
            f"unknown how much of {last}'s gain is due to the noise and how much to the objective."
        )
    gains = (
        f"{unbroken(row.title)} {points(found.difference)} points "
        f"[{points(found.low)}, {points(found.high)}]"
        for row in rows
        if (found := over_control.get(row.name))
    )
    return (
        f"{last} {MINUS} {record.control}, the control (noisy views, labels only), with "
        f"95{PERCENT_SIGN} intervals: {'; '.join(gains)}."
    )


def percent(value: float | None) -> str:
    """Format a fraction in percent."""
    return "" if value is None else f"{100 * value:.2f}"


def points(value: float) -> str:
    """Format a difference of fractions in percentage points, with its sign."""
    return f"{100 * value:+.2f}".replace("-", MINUS)


def spaced(name: str) -> str:
    """Replace the underscores of a name by spaces."""
    return name.replace("_", " ")


def unbroken(text: str) -> str:
    """Replace hyphens by ones that do not break, as in 1-5."""
    return text.replace("-", "\N{NON-BREAKING HYPHEN}")


def paired(difference: dict[str, Any]) -> str:
    """Format a paired difference from `delivered.json` with its standard error."""
    metric, error = difference["metric"], difference["standard_error"]
    scale, unit = (100, " points") if metric == "accuracy" else (1, "")
    text = f"{metric}: {scale * difference['raw_minus_average']:+.4g}{unit}".replace("-", MINUS)
    return text if error is None else f"{text} (standard error {scale * error:.2g})"


def counted(number: int, singular: str, plural: str = "") -> str:
    """Format a number with its noun."""
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def scale_end(value: float) -> str:
    """Format an end of a scale, in points."""
    return f"{100 * value:+.1f}".replace("-", MINUS) if abs(value) >= 0.0005 else "0"


def data_uri(png: bytes) -> str:
    """Encode a picture as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def sign_of(found: Comparison | Interval) -> str:
    """Return gain or loss, or open if the interval includes zero."""
    return "gain" if found.low > 0 else "loss" if found.high < 0 else "open"


def facts(environment: dict[str, Any]) -> dict[str, str]:
    """Return the machine and the package versions of a run, by name."""
    plain = {key: value for key, value in environment.items() if not isinstance(value, dict)}
    shown = {key: fact(value) for key, value in plain.items() if key != "source"}
    if "source" in plain:
        shown["source"] = f"{plain['source']} ({SOURCE})"
    packages = environment.get("packages", {}).items()
    return shown | {name: version for name, version in packages if version and name != "ruggedize"}


def input_text(facts: InputFacts, image_size: int | None) -> str:
    """Return how a model takes stored images, in words."""
    size = facts.input_size or image_size
    parts = [f"takes {'images as stored' if size is None else f'{size} pixels'}"]
    if facts.resize and facts.resize != size:
        parts.append(f"cut out of images resized to {facts.resize}")
    elif size != image_size:
        parts.append(f"resized from {image_size}")
    if facts.mean and facts.std:
        mean, std = (", ".join(f"{value:g}" for value in each) for each in (facts.mean, facts.std))
        parts.append(f"mean {mean}; std {std}")
    return " · ".join(parts)


def last_part(place: str) -> str:
    """Return a source without the folders of this machine."""
    return Path(place).name if place.startswith(("/", "~", ".")) else place


def fact(value: Any) -> str:
    """Format a fact; an empty list is none, a missing value unknown."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "unknown" if value is None else str(value)


def between(found: Interval) -> str:
    """Format the ends of an accuracy's interval, in percent."""
    return f"{percent(found.low)} to {percent(found.high)}"


def ranged(found: Interval) -> str:
    """Format the ends of an accuracy's interval for a table."""
    return f"[{percent(found.low)}, {percent(found.high)}]"


def short_points(value: float) -> str:
    """Format a difference in points with one decimal."""
    return f"{100 * value:+.1f}".replace("-", MINUS)


def tenth(value: float | None) -> str:
    """Format a corruption error in percent with one decimal; None is undefined."""
    return "undefined" if value is None else f"{100 * value:.1f}".replace("-", MINUS)


def code(text: str) -> Any:
    """Escape a text and format its parts in backquotes as code."""
    from markupsafe import Markup, escape

    parts = (escape(part) for part in text.split("`"))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part
        for place, part in enumerate(parts)
    )


def escape(text: str) -> str:
    """Escape text for a figure, since plotly renders markup, and make it printable."""
    return html.escape(shown(text))


def printable(value: Any) -> Any:
    """Return text for the page without control characters and bidirectional marks.

    Called on every value that the template shows. Markup is the template's own.
    """
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return NO_BREAK_SPACE.join(map(shown_lines, value.split(NO_BREAK_SPACE)))


FILTERS: dict[str, Callable[..., Any]] = {
    "percent": percent,
    "points": points,
    "code": code,
    "tenth": tenth,
    "short_points": short_points,
    "ranged": ranged,
    "spaced": spaced,
    "unbroken": unbroken,
    "counted": counted,
    "paired": paired,
    "scale_end": scale_end,
    "data_uri": data_uri,
    "sign_of": sign_of,
    "facts": facts,
    "last_part": last_part,
}


def ends_of(record: RunRecord, name: str) -> str:
    """Return the start and the end of an interpolation in words."""
    options = record.stage(name)
    end = options.get("interpolate") or "its end"
    return f"{options.get('start') or f'the start of {end}'} (0) and {end} (1)"


def started_from(record: RunRecord, name: str) -> str:
    """Return the sentence on where a model's initial weights are from; "" if random."""
    start = record.delivered[name].get("training", {}).get("start")
    if not start:
        return ""
    license = f", licence {start['license']}" if start.get("license") else ""
    head = ", with a new head" if start.get("head") == "new" else ""
    return f"It started from {start['source']} (SHA-256 {start['sha256'][:12]}{license}){head}."
