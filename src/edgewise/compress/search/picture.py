"""What was tried as a picture: bytes and time against accuracy, what is worth having joined by a line."""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from io import BytesIO
from typing import Any

from edgewise.compress.search.gate import score_of
from edgewise.compress.search.result import Found, Row
from edgewise.errors import MissingExtraError

__all__ = ["pareto_png", "require_matplotlib"]

# Colours that stay apart for every common kind of colour blindness (Okabe and Ito, 2008), and in grey.
_CHOSEN, _FRONT, _OTHER = "#D55E00", "#0072B2", "0.55"
_SHOWN = 6.0  # points below the original; what lost more stands at the edge as a triangle
_INCHES, _DPI = (5.2, 7.0), 144  # tall and narrow: on a phone it fills the width, and its letters can be read


def require_matplotlib() -> None:
    """Raise MissingExtraError where no picture can be drawn: before an hour is spent on what is to be drawn."""
    if find_spec("matplotlib") is None:
        raise MissingExtraError("the picture needs matplotlib", remedy="pip install 'edgewise[train]'")


def pareto_png(found: Found) -> bytes:
    """A PNG with two panels: bytes, and latency in parts of the original's, each against the points gained on the
    comparing samples.

    Raises MissingExtraError without matplotlib.
    """
    require_matplotlib()
    # Without pyplot: no window, no global state, no matter which backend the user has chosen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    rows = [row for row in found.rows if row.compared is not None and row.timed is not None and not row.failed]
    upper, lower = figure.subplots(2, 1, sharey=True)
    _panel(upper, rows, found, lambda row: row.size / 1000, "bytes (KB)")
    _panel(lower, rows, found, _ratio, "time of one sample, in parts of the original's")
    figure.legend(*upper.get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    picture = BytesIO()
    canvas.print_png(
        picture, metadata={"Software": "edgewise"}
    )  # without matplotlib's version: equal runs, equal bytes
    return picture.getvalue()


def _ratio(row: Row) -> float:
    return row.timed.ratio if row.timed is not None else 0.0


def _panel(axes: Any, rows: Sequence[Row], found: Found, place: Callable[[Row], float], name: str) -> None:
    best, first = found.chosen.get("best", ""), found.original
    floor = -_SHOWN
    low = min((max(floor, _gained(row, found)) for row in rows), default=floor)
    groups = (
        (
            "tried",
            _OTHER,
            "o",
            5,
            [row for row in rows if row.name not in found.front and _gained(row, found) >= floor],
        ),
        ("worth having", _FRONT, "s", 7, [row for row in rows if row.name in found.front and row.name != best]),
        ("chosen", _CHOSEN, "*", 15, [row for row in rows if row.name == best]),
    )
    for label, colour, marker, size, members in groups:
        axes.plot(
            [place(row) for row in members], [_gained(row, found) for row in members], linestyle="", marker=marker, color=colour,
            markersize=size, label=label, markeredgecolor="black" if label == "chosen" else colour,
        )  # fmt: skip
    below = [row for row in rows if _gained(row, found) < floor]
    axes.plot([place(row) for row in below], [floor] * len(below), linestyle="", marker="v", color=_OTHER, markersize=5)
    # One that was not touched is hidden by the star where it is chosen itself.
    axes.axhline(0, color="0.6", linewidth=1, linestyle=":")
    axes.annotate(
        first.name, (1, 0), xycoords=axes.get_yaxis_transform(), textcoords="offset points", xytext=(0, 3),
        ha="right", va="bottom", color="0.35",
    )  # fmt: skip
    _scales(axes, [place(row) for row in rows], low, max((_gained(row, found) for row in rows), default=0.0))
    axes.set_xlabel(name)
    axes.set_ylabel(f"points of {first.compared.name if first.compared else ''}")
    axes.grid(visible=True, alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _scales(axes: Any, places: Sequence[float], low: float, high: float) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter, NullLocator, ScalarFormatter  # noqa: PLC0415

    axes.set_xscale("log")
    # At least from half to twice what there is, so that noise does not fill the picture.
    axes.set_xlim(min(places) / 1.5, max(places) * 1.5)
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    room = max(0.4, 0.12 * (high - low))
    axes.set_ylim(low - room, high + room)


def _gained(row: Row, found: Found) -> float:
    """Points gained against the original on the comparing samples; of an error, percent by which it shrank."""
    first = found.original.compared
    if first is None or row.compared is None:
        return 0.0
    return 100 * (score_of(row.compared, first) - score_of(first, first))
