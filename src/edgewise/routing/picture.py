"""The trade-off as a picture: offload against quality, the promise as a band."""

from importlib.util import find_spec
from io import BytesIO
from typing import Any

from edgewise.errors import MissingExtraError
from edgewise.routing.tradeoff import NAMES, Kind, Tradeoff

__all__ = ["require_matplotlib", "tradeoff_png"]

# Colours that stay apart for every common kind of colour blindness (Okabe and Ito, 2008); shapes tell the marks apart without them.
_BAND, _CURVE, _OTHER = "#56B4E9", "#0072B2", "0.5"
_MARKS: dict[Kind, tuple[str, str, int]] = {
    "here": ("s", "0.35", 8), "upstream": ("D", "0.35", 8), "naive": ("X", "#CC79A7", 11), "oracle": ("o", "#009E73", 11),
    "chosen": ("*", "#D55E00", 17),
}  # fmt: skip
_DASHES = ("--", ":", "-.")
_INCHES, _DPI = (5.2, 6.4), 144  # tall and narrow: on a phone it fills the width, and its letters can be read


def require_matplotlib() -> None:
    """Raise MissingExtraError where no picture can be drawn: before upstream is asked for what is to be drawn."""
    if find_spec("matplotlib") is None:
        raise MissingExtraError(
            "the picture needs matplotlib", remedy="pip install 'edgewise[train]', or take --page, which needs nothing."
        )


def tradeoff_png(tradeoff: Tradeoff, title: str) -> bytes:
    """A PNG. What the marks are, with their numbers, stands below the axes: nothing in the picture can overlap.

    Raises MissingExtraError without matplotlib.
    """
    require_matplotlib()
    # Without pyplot: no window, no global state, no matter which backend the user has chosen.
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    _draw(axes, tradeoff)
    axes.set_title(title.replace("$", r"\$"), fontsize=11, loc="left", wrap=True)
    drawn, names = axes.get_legend_handles_labels()  # the marks come last, and the one that counts behind them
    figure.legend(drawn[::-1], names[::-1], loc="outside lower left", frameon=False, fontsize=9)
    picture = BytesIO()
    canvas.print_png(
        picture, metadata={"Software": "edgewise"}
    )  # without matplotlib's version: equal runs, equal bytes
    return picture.getvalue()


def _draw(axes: Any, tradeoff: Tradeoff) -> None:
    low, high = (100 * value for value in tradeoff.range())
    base, epsilon = 100 * tradeoff.base, 100 * tradeoff.epsilon
    axes.axhspan(
        base - epsilon,
        base,
        color=_BAND,
        alpha=0.3,
        linewidth=0,
        label=f"the promise: at most {epsilon:g} below upstream",
    )
    axes.axhline(base, color="0.4", linewidth=1, linestyle=":")
    for at, curve in reversed([*enumerate(tradeoff.curves)]):  # the chosen one's on top
        style = {"color": _CURVE, "linewidth": 2} if not at else {
            "color": _OTHER, "linewidth": 1.3, "linestyle": _DASHES[(at - 1) % len(_DASHES)]
        }  # fmt: skip
        name = curve.variant.replace("$", r"\$")
        across, up = ([100 * value for value in values] for values in (curve.offload, curve.quality))
        axes.plot(across, up, label=f"every threshold of {name}", **style)
    for mark in sorted(tradeoff.marks, key=lambda mark: [*_MARKS].index(mark.kind)):
        shape, colour, size = _MARKS[mark.kind]
        below, quality = 100 * mark.quality < low, max(low, 100 * mark.quality)
        axes.plot(
            [100 * mark.offload], [quality], linestyle="", marker="v" if below else shape, color=colour,
            markersize=size, markeredgecolor="white", clip_on=False, zorder=5,
            label=f"{NAMES[mark.kind]}: {100 * mark.offload:.1f} % passed on, {100 * mark.quality:.2f} %",
        )  # fmt: skip
    axes.set_xlim(-2, 102)
    axes.set_ylim(low, high)
    axes.set_xlabel("passed on upstream (%)")
    axes.set_ylabel(f"{tradeoff.metric} (%)")
    axes.grid(visible=True, alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
