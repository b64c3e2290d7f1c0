"""The report's charts of the trainings: metrics by epoch, and accuracy between two networks."""

import math
import statistics
from typing import TYPE_CHECKING, Any

from ruggedize.report.drawing import (
    HEIGHT,
    Drawn,
    add_line,
    color,
    empty_figure,
    places_of,
    symbol,
)
from ruggedize.report.record import RunRecord
from ruggedize.report.wording import escape

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

STEPS = tuple(step * 10**power for power in range(9) for step in (1, 2, 5))
MOST_TICKS = 10
TEXT_POSITIONS = ("top center", "bottom center")  # alternating, so that close points stay legible


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
    for place, name, rows in curves_of(record):
        for kind, dash in (("raw", "dot"), ("averaged", "solid")):
            kept = [row for row in rows if row["validation"][kind]]
            accuracies = [100 * row["validation"][kind]["accuracy"] for row in kept]
            title = f"{name}, {'average' if kind == 'averaged' else 'raw weights'}"
            add_line(figure, place, title, [row["epoch"] for row in kept], accuracies, dash)
    caption = "Dotted: raw weights. Solid: their average, if there is one."
    return (figure, "Validation accuracy", caption) if figure.data else None


def loss_curves(record: RunRecord) -> Drawn | None:
    """Draw the training loss and its terms."""
    figure = epoch_figure(record, "nats per image")
    parts = (("loss", "solid"), ("cross_entropy", "dash"), ("consistency", "dot"))
    for place, name, rows in curves_of(record):
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
    places = places_of(record)
    for place, name, rows in curves_of(record):
        add_metric(figure, place, name, (rows, "student_entropy"), "solid")
        teacher = record.teacher_of(name)
        title = f"{name}'s own teacher" if teacher is None else f"{teacher}, teaching {name}"
        teacher_place = place if teacher is None else places[teacher]
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
    for place, name, rows in curves_of(record):
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
    for place, name, rows in curves_of(record):
        for key, title, dash in parts:
            percents = [row | {key: 100 * row[key]} for row in rows if row.get(key) is not None]
            add_metric(figure, place, f"{name}, {title}", (percents, key), dash)
    is_known = any(
        row.get("pseudo_label_accuracy") is not None
        for _, _, rows in curves_of(record)
        for row in rows
    )
    caption = (
        "Correct: of the images above the threshold whose true labels are known."
        if is_known
        else "True labels are unknown, so it is unknown how many pseudo-labels are correct."
    )
    return (figure, "Pseudo-labels", caption) if figure.data else None


def interpolation_curves(record: RunRecord) -> Drawn | None:
    """Draw clean against corrupted validation accuracy over alpha; the chosen one is marked."""
    figure = empty_figure(HEIGHT, "clean validation accuracy, %", "corrupted, %")
    places = places_of(record)
    for name, points in record.curves.items():
        chosen = record.delivered[name].get("alpha")
        if not points:
            continue
        figure.add_scatter(
            x=[100 * point["clean"] for point in points],
            y=[100 * point["corrupted"] for point in points],
            text=[f"{point['alpha']:g}" for point in points],
            mode="lines+markers+text",
            textposition=[TEXT_POSITIONS[at % 2] for at in range(len(points))],
            name=escape(name),
            line={"color": color(places[name]), "width": 2.2},
            marker={
                "size": [14 if point["alpha"] == chosen else 7 for point in points],
                "symbol": symbol(places[name]),
            },
            hovertemplate="alpha %{text}: clean %{x:.2f}, corrupted %{y:.2f}"
            f"<extra>{escape(name)}</extra>",
        )
    caption = (
        "Validation images, clean and under the four extra corruptions (mean over severities). "
        "Numbers are alpha: 0 at the start, 1 at the end; the large marker is the one delivered."
        f"{error_of_curves(record)}"
    )
    return (figure, "Between start and end", caption) if figure.data else None


def error_of_curves(record: RunRecord) -> str:
    """Return a sentence on the standard error of the clean accuracies of interpolations."""
    errors = {
        (number, round(100 * math.sqrt(share * (1 - share) / number), 1))
        for name, points in record.curves.items()
        if points and (number := num_compared(record.delivered[name]))
        for share in [statistics.fmean(point["clean"] for point in points)]
    }
    return "".join(
        f" On {number:,} images, a clean accuracy has a standard error of {error:.1f} points."
        for number, error in sorted(errors)
    )


def num_compared(delivered: dict[str, Any]) -> int:
    """Return how many validation images an interpolation was measured on; 0 if not recorded."""
    return delivered.get("training", {}).get("images", {}).get("validation") or 0


TRAINING_CURVES = (
    accuracy_curves,
    loss_curves,
    agreement_curves,
    pseudo_label_curves,
    entropy_curves,
    interpolation_curves,
)


def add_metric(
    figure: "Figure", place: int, title: str, source: tuple[list[dict[str, Any]], str], dash: str
) -> None:
    """Add one metric by epoch as a line, at the epochs that have it."""
    rows, key = source
    kept = [row for row in rows if row.get(key) is not None]
    add_line(figure, place, title, [row["epoch"] for row in kept], [r[key] for r in kept], dash)


def curves_of(record: RunRecord) -> list[tuple[int, str, list[dict[str, Any]]]]:
    """Return each model's place among the colours, its name and its epochs."""
    return [(place, name, record.metrics[name]) for name, place in places_of(record).items()]
