"""Choosing the golden set: few inputs that cover what the model does and do not flip by rounding alone."""

import numpy as np

from edgewise.errors import DataError
from edgewise.runtime.engine import Array

__all__ = ["choose_golden"]

_MARGIN = (
    0.1  # between the two highest outputs, as a share of their spread; numeric noise between processors stays far below
)


def choose_golden(outputs: Array, *, count: int = 32, seed: int = 0) -> list[int]:
    """Indices of ``count`` samples, in rising order; the same for the same outputs.

    outputs: (N, classes) for a classifier: classes take turns, half of the picks clearly decided, half near the boundary but
    with a margin. Any other shape: spread evenly over the mean output, extremes included.
    """
    if len(outputs) < 1 or count < 1:
        raise DataError("a golden set needs at least one sample")
    count = min(count, len(outputs))
    if outputs.ndim != 2 or outputs.shape[1] < 2 or outputs.dtype.kind not in "fiu":
        order = np.argsort(_level(outputs), kind="stable")
        return sorted({int(order[at]) for at in np.linspace(0, len(order) - 1, count).round().astype(int)})
    scores = outputs.astype(np.float64)
    top = np.sort(scores, axis=1)
    margin = (top[:, -1] - top[:, -2]) / max(float(np.ptp(scores)), 1e-12)
    winners = scores.argmax(axis=1)
    chance = np.random.default_rng(seed)
    queues = [_queue(np.flatnonzero(winners == label), margin, chance) for label in np.unique(winners)]
    picked: list[int] = []
    while len(picked) < count and any(queues):
        for queue in queues:
            if queue and len(picked) < count:
                picked.append(queue.pop(0))
    return sorted(picked)


def _queue(members: Array, margin: Array, chance: np.random.Generator) -> list[int]:
    """One class's samples: hardest that still has a margin, then a random clear one, and so on; the unsafe ones last."""
    by_margin = members[np.argsort(margin[members], kind="stable")]
    safe = [int(at) for at in by_margin if margin[at] >= _MARGIN]
    unsafe = [int(at) for at in reversed(by_margin) if margin[at] < _MARGIN]
    hard, clear = safe[: len(safe) // 2], safe[len(safe) // 2 :]
    chance.shuffle(clear)
    mixed = [at for pair in zip(clear, hard, strict=False) for at in pair]
    return [*mixed, *clear[len(hard) :], *hard[len(clear) :], *unsafe]


def _level(outputs: Array) -> Array:
    if outputs.dtype.kind not in "fiub":
        return np.arange(len(outputs), dtype=np.float64)
    return np.nan_to_num(outputs.reshape(len(outputs), -1).astype(np.float64).mean(axis=1))
