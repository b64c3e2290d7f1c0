"""The report's charts, as plotly descriptions that the page draws."""

from ruggedize.report.calibration import Reliability
from ruggedize.report.compare import (
    CorruptionRow,
    severities_assessed,
    severity_profile,
    shown_severity,
)
from ruggedize.report.drawing import (
    HEIGHT,
    Drawing,
    Drawn,
    add_line,
    color,
    drawing,
    empty_figure,
    places_of,
    symbol,
)
from ruggedize.report.record import RunRecord
from ruggedize.report.training_figures import TRAINING_CURVES
from ruggedize.report.wording import PERCENT_SIGN, escape

ROW_HEIGHT = 25
PERCENT = ".1f"


def drawings(
    record: RunRecord, rows: list[CorruptionRow], confidence: list[Reliability], prefix: str
) -> dict[str, list[Drawing]]:
    """Draw the charts that the record has data for: robustness, calibration and training."""
    robustness = [by_corruption(record, rows)] if rows else []
    if len(severities_assessed(record.assessment)) > 1:
        robustness.append(by_severity(record))
    training = [figure for figure in (curves(record) for curves in TRAINING_CURVES) if figure]
    calibration = [reliability_diagram(record, confidence)]
    parts = {"robustness": robustness, "calibration": calibration, "training": training}
    return {
        part: [drawing(*found, f"{prefix}-{part}-{place}") for place, found in enumerate(figures)]
        for part, figures in parts.items()
    }


def by_corruption(record: RunRecord, rows: list[CorruptionRow]) -> Drawn:
    """Draw each corruption as a line between the models' accuracies."""
    severity = shown_severity(record.assessment)
    figure = empty_figure(max(HEIGHT, 70 + ROW_HEIGHT * len(rows)), "accuracy, %")
    labels = [
        escape(row.corruption.replace("_", " ")) + (" †" if row.overlapping else "")
        for row in reversed(rows)
    ]
    values = [[100 * value for value in row.values.values()] for row in reversed(rows)]
    bars_x = [x for row in values for x in (min(row), max(row), None)]
    bars_y = [y for label in labels for y in (label, label, None)]
    line = {"color": "rgba(128,128,128,0.45)", "width": 3}
    figure.add_scatter(
        x=bars_x, y=bars_y, mode="lines", line=line, hoverinfo="skip", showlegend=False
    )
    for number, (name, place) in enumerate(places_of(record).items()):
        figure.add_scatter(
            x=[row[number] for row in values],
            y=labels,
            mode="markers",
            name=escape(name),
            marker={"size": 10, "color": color(place), "symbol": symbol(place)},
            hovertemplate=f"%{{y}}: %{{x:{PERCENT}}}{PERCENT_SIGN}<extra>{escape(name)}</extra>",
        )
    shown = [value for row in values for value in row]
    spread = max(shown) - min(shown)
    figure.update_xaxes(dtick=20 if spread > 50 else 10 if spread > 15 else 5)
    figure.update_yaxes(showgrid=False, range=[-0.6, len(rows) - 0.4])
    notes = ["Each line joins the models' accuracies on one corruption."] * (len(values[0]) > 1)
    notes += ["† Overlaps the training noise."] * any(row.overlapping for row in rows)
    return figure, f"Accuracy by corruption, severity\N{NO-BREAK SPACE}{severity}", " ".join(notes)


def by_severity(record: RunRecord) -> Drawn:
    """Draw accuracy by severity."""
    figure = empty_figure(HEIGHT, "severity (0 = clean)", "accuracy, %")
    places = places_of(record)
    for name, points in severity_profile(record.assessment).items():
        severities, means = zip(*points, strict=True)
        add_line(figure, places[name], name, severities, [100 * mean for mean in means])
    figure.update_xaxes(dtick=1)
    num = len({cell.corruption for cell in next(iter(record.assessment.models.values())).cells})
    caption = f"Mean over the {num} corruptions assessed." if num > 1 else ""
    return figure, "Accuracy by severity", caption


def reliability_diagram(record: RunRecord, confidence: list[Reliability]) -> Drawn:
    """Draw accuracy by confidence: clean dotted, corrupted solid, the diagonal thin and dashed."""
    figure = empty_figure(HEIGHT, "mean confidence, %", "accuracy, %")
    line = {"color": "rgba(128,128,128,0.8)", "width": 1, "dash": "longdash"}
    ends = [0, 100]
    figure.add_scatter(x=ends, y=ends, mode="lines", line=line, hoverinfo="skip", showlegend=False)
    places = places_of(record)
    for found in confidence:
        add_line(
            figure,
            places[found.model],
            f"{found.model}, {found.images}",
            [100 * each.confidence for each in found.bins],
            [100 * each.accuracy for each in found.bins],
            "dot" if found.images == "clean" else "solid",
        )
    figure.update_xaxes(range=[0, 102])
    figure.update_yaxes(range=[0, 102])
    caption = (
        "Predictions in 15 bins of confidence. On the dashed diagonal, confidence equals accuracy; "
        "below it, the model is overconfident. Bins with few predictions are noisy."
    )
    return figure, "Reliability", caption
