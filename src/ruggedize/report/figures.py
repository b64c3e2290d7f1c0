"""The report's charts, as plotly descriptions that the page draws."""

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from ruggedize.report.calibration import Reliability
from ruggedize.report.compare import (
    CorruptionRow,
    severities_assessed,
    severity_profile,
    shown_severity,
)
from ruggedize.report.record import RunRecord
from ruggedize.report.wording import PERCENT_SIGN, escape

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLORS = (
    "#8b93a1",
    "#2f7fed",
    "#d97706",
    "#0f9d76",
)  # distinguishable in both themes and by the colour-blind
SYMBOLS = ("circle", "diamond", "square", "triangle-up")
STEPS = tuple(step * 10**power for power in range(9) for step in (1, 2, 5))
MOST_TICKS = 10
HEIGHT = 330
ROW_HEIGHT = 25
PERCENT = ".1f"


class Drawing(NamedTuple):
    """A chart for the page; its JSON holds no `<`, so that nothing in it can end the script."""

    identity: str
    title: str
    caption: str
    height: int
    json: str


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


Drawn = tuple["Figure", str, str]  # with title and caption


def drawing(figure: "Figure", title: str, caption: str, identity: str) -> Drawing:
    """Convert a figure to JSON for the page."""
    described = json.loads(str(figure.to_json()))
    text = json.dumps({"data": described["data"], "layout": described["layout"]})
    safe = text.replace("<", "\\u003c")
    return Drawing(identity, title, caption, int(figure.layout.height), safe)


def empty_figure(height: int, x_title: str, y_title: str = "") -> "Figure":
    """Build a figure with a transparent background, for both themes."""
    import plotly.graph_objects as go

    axis = {"zeroline": False, "automargin": True, "gridcolor": "rgba(128,128,128,0.22)"}
    title = {"font": {"size": 13}, "standoff": 10}
    layout: dict[str, Any] = {
        "template": "none",
        "height": height,
        "margin": {"l": 8, "r": 12, "t": 30, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "system-ui, sans-serif", "size": 13},
        "legend": {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "itemwidth": 30},
        "xaxis": axis | {"title": title | {"text": x_title}},
        "yaxis": axis | {"title": title | {"text": y_title}},
        "hovermode": "closest",
    }
    return go.Figure(layout=layout)


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
    for place, name in enumerate(record.assessment.models):
        figure.add_scatter(
            x=[row[place] for row in values],
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
    for place, (name, points) in enumerate(severity_profile(record.assessment).items()):
        severities, means = zip(*points, strict=True)
        add_line(figure, place, name, severities, [100 * mean for mean in means])
    figure.update_xaxes(dtick=1)
    num = len({cell.corruption for cell in next(iter(record.assessment.models.values())).cells})
    caption = f"Mean over the {num} corruptions assessed." if num > 1 else ""
    return figure, "Accuracy by severity", caption


def reliability_diagram(record: RunRecord, confidence: list[Reliability]) -> Drawn:
    """Draw accuracy by confidence: clean dotted, corrupted solid, the diagonal thin."""
    figure = empty_figure(HEIGHT, "mean confidence, %", "accuracy, %")
    line = {"color": "rgba(128,128,128,0.45)", "width": 2}
    ends = [0, 100]
    figure.add_scatter(x=ends, y=ends, mode="lines", line=line, hoverinfo="skip", showlegend=False)
    names = list(record.assessment.models)
    for found in confidence:
        add_line(
            figure,
            names.index(found.model),
            f"{found.model}, {found.images}",
            [100 * each.confidence for each in found.bins],
            [100 * each.accuracy for each in found.bins],
            "dot" if found.images == "clean" else "solid",
        )
    figure.update_xaxes(range=[0, 102])
    figure.update_yaxes(range=[0, 102])
    caption = (
        "Predictions in 15 bins of confidence. On the grey line, confidence equals accuracy; below "
        "it, the model is overconfident. Bins with few predictions are noisy."
    )
    return figure, "Reliability", caption


def epoch_figure(record: RunRecord, y_title: str) -> "Figure":
    """Build a figure over epochs, with ticks at whole ones."""
    last = max((row["epoch"] for rows in record.metrics.values() for row in rows), default=1)
    figure = empty_figure(HEIGHT, "epoch", y_title)
    figure.update_xaxes(tick0=0, dtick=next(step for step in STEPS if last <= MOST_TICKS * step))
    if last == 1:
        figure.update_xaxes(range=[0.5, 1.5])
    return figure


def accuracy_curves(record: RunRecord) -> Drawn | None:
    """Draw validation accuracy by epoch: raw weights dotted, their average solid."""
    figure = epoch_figure(record, "validation accuracy, %")
    for place, (name, rows) in enumerate(record.metrics.items()):
        for kind, dash in (("raw", "dot"), ("averaged", "solid")):
            kept = [row for row in rows if row["validation"][kind]]
            accuracies = [100 * row["validation"][kind]["accuracy"] for row in kept]
            title = f"{name}, {'average' if kind == 'averaged' else 'raw weights'}"
            add_line(figure, place, title, [row["epoch"] for row in kept], accuracies, dash)
    caption = "Dotted, open markers: raw weights. Solid: their average, if there is one."
    return (figure, "Validation accuracy", caption) if figure.data else None


def loss_curves(record: RunRecord) -> Drawn | None:
    """Draw the training loss and its terms."""
    figure = epoch_figure(record, "nats per image")
    parts = (("loss", "solid"), ("cross_entropy", "dash"), ("consistency", "dot"))
    for place, (name, rows) in enumerate(record.metrics.items()):
        has_parts = any("consistency" in row for row in rows)
        for key, dash in parts if has_parts else parts[:1]:
            add_metric(figure, place, f"{name}, {key.replace('_', ' ')}", (rows, key), dash)
    caption = ""
    if len(record.metrics) > 1:
        caption = (
            "Models with different objectives or views minimise different losses: their values "
            "cannot be compared."
        )
    return (figure, "Training loss", caption) if figure.data else None


def entropy_curves(record: RunRecord) -> Drawn | None:
    """Draw the entropy of predictions in training, which reveals a broken teacher.

    A teacher's entropy has the teacher's colour, whichever model it teaches.
    """
    figure = epoch_figure(record, "entropy, nats")
    names = list(record.metrics)
    for place, (name, rows) in enumerate(record.metrics.items()):
        add_metric(figure, place, name, (rows, "student_entropy"), "solid")
        teacher = record.teacher_of(name)
        title = f"{name}'s own teacher" if teacher is None else f"{teacher}, teaching {name}"
        teacher_place = place if teacher is None else names.index(teacher)
        add_metric(figure, teacher_place, title, (rows, "teacher_entropy"), "dot")
        add_metric(figure, place, f"{name}, unlabelled", (rows, "unlabelled_entropy"), "dash")
    caption = "Entropy of the predictions, each network on its own views."
    if any("teacher_entropy" in row for rows in record.metrics.values() for row in rows):
        caption += " Solid: a model's raw weights; dotted: its teacher."
    return (figure, "Entropy in training", caption) if figure.data else None


def agreement_curves(record: RunRecord) -> Drawn | None:
    """Draw accuracy on the training images and agreement with the teacher."""
    figure = epoch_figure(record, "training images, %")
    parts = (("accuracy", "accuracy", "solid"), ("agreement", "agreement with teacher", "dot"))
    for place, (name, rows) in enumerate(record.metrics.items()):
        for key, title, dash in parts:
            percents = [row | {key: 100 * row[key]} for row in rows if row.get(key) is not None]
            add_metric(figure, place, f"{name}, {title}", (percents, key), dash)
    caption = "On the training views."
    if len(record.metrics) > 1:
        caption += " Accuracy on noisy views cannot be compared with accuracy on clean ones."
    return (figure, "Training accuracy and agreement", caption) if figure.data else None


def pseudo_label_curves(record: RunRecord) -> Drawn | None:
    """Draw how many unlabelled images are learned from, and how good their pseudo-labels are."""
    figure = epoch_figure(record, "unlabelled images, %")
    parts = (
        ("confident", "above the threshold", "solid"),
        ("pseudo_label_accuracy", "pseudo-labels correct", "dash"),
        ("unlabelled_agreement", "agreement with them", "dot"),
    )
    for place, (name, rows) in enumerate(record.metrics.items()):
        for key, title, dash in parts:
            percents = [row | {key: 100 * row[key]} for row in rows if row.get(key) is not None]
            add_metric(figure, place, f"{name}, {title}", (percents, key), dash)
    caption = "Correct: of the images above the threshold whose true labels are known."
    return (figure, "Pseudo-labels", caption) if figure.data else None


TRAINING_CURVES = (
    *(accuracy_curves, loss_curves, agreement_curves),
    *(entropy_curves, pseudo_label_curves),
)


def add_metric(
    figure: "Figure", place: int, title: str, source: tuple[list[dict[str, Any]], str], dash: str
) -> None:
    """Add one metric by epoch as a line, at the epochs that have it."""
    rows, key = source
    kept = [row for row in rows if row.get(key) is not None]
    add_line(figure, place, title, [row["epoch"] for row in kept], [r[key] for r in kept], dash)


def add_line(
    figure: "Figure", place: int, name: str, x: Any, y: list[float], dash: str = "solid"
) -> None:
    """Add a line in a model's colour, if it has points."""
    if not y:
        return
    figure.add_scatter(
        x=list(x),
        y=y,
        mode="lines+markers" if len(y) <= 8 or place >= len(COLORS) else "lines",
        name=escape(name),
        line={"color": color(place), "width": 2.2, "dash": dash},
        marker={"size": 8, "symbol": symbol(place, dash)},
        hovertemplate=f"%{{x}}: %{{y:.2f}}<extra>{escape(name)}</extra>",
    )


def color(place: int) -> str:
    """Return a model's colour by its place among the models."""
    return COLORS[place % len(COLORS)]


def symbol(place: int, dash: str = "solid") -> str:
    """Return a model's marker, which shows the line style even for a single point.

    Models that share a colour have different markers.
    """
    own = SYMBOLS[(place + place // len(COLORS)) % len(SYMBOLS)]
    return {"solid": own, "dot": f"{own}-open", "dash": "x-open"}[dash]
