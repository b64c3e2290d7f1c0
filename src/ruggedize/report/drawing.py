"""A chart as a plotly description that the page draws, and the lines in it."""

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from ruggedize.report.record import RunRecord
from ruggedize.report.wording import escape

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLORS = (
    "#8b93a1",
    "#2f7fed",
    "#d97706",
    "#0f9d76",
)  # distinguishable in both themes and by the colour-blind
SYMBOLS = ("circle", "diamond", "square", "triangle-up")
HEIGHT = 330


class Drawing(NamedTuple):
    """A chart for the page; its JSON holds no `<`, so that nothing in it can end the script."""

    identity: str
    title: str
    caption: str
    height: int
    json: str


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


def places_of(record: RunRecord) -> dict[str, int]:
    """Return each model's place among the colours; grey is for the baseline of others."""
    names = list(record.assessment.models)
    return {name: place for place, name in enumerate(names, start=1 if len(names) == 1 else 0)}


def color(place: int) -> str:
    """Return a model's colour by its place among the models."""
    return COLORS[place % len(COLORS)]


def symbol(place: int, dash: str = "solid") -> str:
    """Return a model's marker, which shows the line style even for a single point.

    Models that share a colour have different markers.
    """
    own = SYMBOLS[(place + place // len(COLORS)) % len(SYMBOLS)]
    return {"solid": own, "dot": f"{own}-open", "dash": "x-open"}[dash]
