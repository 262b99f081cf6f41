"""The learning curve as a picture: loss and metric over the epochs, with the best one marked."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from edgewise.errors import DataError, MissingExtraError
from edgewise.measure.metric import Metric
from edgewise.store.files import write_bytes
from edgewise.training.run.history import EpochRecord

__all__ = ["curve_png", "write_curve"]

# Two colours that stay apart for every common kind of colour blindness (Okabe and Ito, 2008), and in grey.
_LOSS, _METRIC = "#0072B2", "#D55E00"
_INCHES, _DPI = (7.0, 4.2), 144


def write_curve(
    history: Sequence[EpochRecord], path: Path, title: str = "", best_epoch: int | None = None, before: Metric | None = None
) -> None:  # fmt: skip
    """Keep ``curve_png`` at ``path``. Raises StorageError where that is not possible, and what ``curve_png`` raises."""
    write_bytes(path, curve_png(history, title, best_epoch, before))


def curve_png(
    history: Sequence[EpochRecord], title: str = "", best_epoch: int | None = None, before: Metric | None = None
) -> bytes:
    """A PNG of the training loss (left axis) and the metric on held-out data with its interval (right axis) by epoch.

    best_epoch: is marked. before: the metric of the model as it came, a level line.
    Raises MissingExtraError without matplotlib, DataError for a history without an epoch.
    """
    if not history:
        raise DataError("there is no curve before the first epoch has ended", remedy="Train for at least one epoch.")
    try:
        # Without pyplot: no window, no global state, no matter which backend the user has chosen.
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415  (an optional extra)
        from matplotlib.figure import Figure  # noqa: PLC0415
        from matplotlib.ticker import MaxNLocator  # noqa: PLC0415
    except ImportError as error:
        raise MissingExtraError(
            f"a learning curve needs {error.name or 'matplotlib'}", remedy="pip install 'edgewise[train]'"
        ) from None
    figure = Figure(figsize=_INCHES, dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    epochs = [record.epoch for record in history]
    # A dot where one epoch makes no line.
    axes.plot(
        epochs, [record.loss for record in history], color=_LOSS, marker="o" if len(history) < 25 else "", markersize=4
    )
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss", color=_LOSS)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(visible=True, alpha=0.25)
    axes.spines["top"].set_visible(False)
    _draw_metric(axes, history, best_epoch, before)
    if title:
        axes.set_title(title)
    picture = BytesIO()
    canvas.print_png(
        picture, metadata={"Software": "edgewise"}
    )  # without matplotlib's version: equal runs, equal bytes
    return picture.getvalue()


def _draw_metric(axes: Any, history: Sequence[EpochRecord], best_epoch: int | None, before: Metric | None) -> None:
    measured = [(record.epoch, record.metric) for record in history if record.metric is not None]
    if not measured:
        return
    right = axes.twinx()
    right.spines["top"].set_visible(False)
    epochs, metrics = [epoch for epoch, _ in measured], [metric for _, metric in measured]
    right.fill_between(
        epochs, [metric.low for metric in metrics], [metric.high for metric in metrics], color=_METRIC, alpha=0.15, linewidth=0
    )  # fmt: skip
    right.plot(
        epochs, [metric.value for metric in metrics], color=_METRIC, linestyle="--",
        marker="s" if len(metrics) < 25 else "", markersize=4,
    )  # fmt: skip
    right.set_ylabel(f"{metrics[0].name} (held out)", color=_METRIC)
    if before is not None:
        right.axhline(before.value, color=_METRIC, linewidth=1, linestyle="-.")
        right.annotate(
            f"as it came: {before.value:.4g}", (0.5, before.value), xycoords=right.get_yaxis_transform(),
            textcoords="offset points", xytext=(0, 4), ha="center", va="bottom", color=_METRIC,
        )  # fmt: skip
    best = dict(measured).get(best_epoch or 0)
    if best is not None and best_epoch is not None:
        axes.axvline(best_epoch, color="0.45", linewidth=1, linestyle=":")
        right.plot(
            [best_epoch], [best.value], marker="*", markersize=14, color=_METRIC, markeredgecolor="black", linestyle=""
        )
        late = best_epoch > (epochs[0] + epochs[-1]) / 2
        # Half-way up: by the time that it is worth marking, the loss is below and the metric above.
        right.annotate(
            f"best: {best.value:.4g} (epoch {best_epoch})", (best_epoch, 0.5), xycoords=right.get_xaxis_transform(),
            textcoords="offset points", xytext=(-8 if late else 8, 0), ha="right" if late else "left", va="center",
        )  # fmt: skip
