"""What is passed on against what comes out right: every threshold of each task, and where the rules put theirs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.routing_pool import Pool

_MARKS = {
    "oracle": ("o", "black"),
    "naive": ("v", "tab:red"),
    "ours": ("s", "tab:blue"),
    "fixed 0.9": ("D", "tab:gray"),
}


def draw(pools: Sequence[Pool], points: Mapping[str, Mapping[str, float]], epsilon: float, file: Path) -> None:
    """points: task -> name of ``_MARKS`` -> mean share passed on, of the promise of agreement at ``epsilon``."""
    figure = Figure(figsize=(11, 3), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, pool in zip(figure.subplots(1, len(pools)), pools, strict=True):
        order = np.argsort(-pool.score(), kind="stable")
        right, above = pool.right()[order].astype(float), pool.upstream_right[order].astype(float)
        kept = np.arange(len(pool) + 1) / len(pool)
        accuracy = (
            np.concatenate([[0], np.cumsum(right)]) + above.sum() - np.concatenate([[0], np.cumsum(above)])
        ) / len(pool)
        axes.plot(100 * (1 - kept), 100 * accuracy, color="tab:green", lw=1.2)
        axes.axhline(100 * (accuracy[0] - epsilon), color="tab:gray", lw=0.8, ls=":")
        for name, offload in points[pool.name].items():
            mark, colour = _MARKS[name]
            at = accuracy[round((1 - offload) * len(pool))]
            axes.plot(100 * offload, 100 * at, mark, color=colour, label=name, ms=6, alpha=0.8)
        axes.set_title(pool.name, fontsize=9)
        axes.set_xlabel("passed on, %")
        axes.tick_params(labelsize=8)
    figure.axes[0].set_ylabel("accuracy, %")
    figure.axes[0].legend(fontsize=8)
    figure.savefig(file, dpi=110, metadata={"Software": None})
