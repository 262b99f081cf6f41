"""Choosing the golden set: few inputs that cover what the model does and do not flip by rounding alone."""

import itertools
from collections import Counter

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.rows import check_finite
from edgewise.runtime.decision import are_indices, winners
from edgewise.runtime.engine import Array

__all__ = ["choose_golden"]

# Between the two highest outputs, as a share of the spread of all. A decision at the first does not flip by what processors and
# quantised kernels differ in; below the second, float32 kernels that sum in another order can flip it.
_MARGIN = 0.1
_NOISE = 0.01


def choose_golden(outputs: Array, *, count: int = 32, seed: int = 0, classifies: bool = False) -> list[int]:
    """Indices of up to ``count`` samples, in rising order; the same for the same outputs and seed.

    outputs: (N, classes) for a classifier: classes take turns, half of the picks clearly decided, half near the boundary but
    with a margin. Inputs with less margin only fill up, and those without any are left out unless there is nothing else, so
    that there may be fewer than ``count``. Other numbers (N, ...): spread evenly over the mean output, extremes included.
    Outputs that are no numbers: the first, the last, and others at random. classifies: a single score is the probability of
    one of two classes, and whole numbers are class indices, which take turns (they do not say how clearly they were decided).
    Raises DataError for no samples and for outputs that are not finite.
    """
    if not outputs.ndim or not outputs.size or count < 1:
        raise DataError("a golden set needs at least one sample")
    chance, count = np.random.default_rng(seed), min(count, len(outputs))
    if outputs.dtype.kind not in "fiu":
        return _ends_and_others(len(outputs), count, chance)
    check_finite(outputs, "the outputs that a golden set is chosen by")
    if classifies and are_indices(outputs):
        return _in_turns(winners(outputs), count, chance)
    if classifies and outputs[0].size == 1:  # one score: the probability of the second of two classes
        probability = outputs.reshape(len(outputs), 1).astype(np.float64)
        return _decided(np.concatenate([1 - probability, probability], axis=1), count, chance)
    if outputs.ndim == 2 and outputs.shape[1] > 1:
        return _decided(outputs.astype(np.float64), count, chance)
    level = outputs.reshape(len(outputs), -1).astype(np.float64).mean(axis=1)
    order = np.argsort(level, kind="stable")
    return sorted(int(order[at]) for at in np.linspace(0, len(order) - 1, count).round().astype(int))


def _ends_and_others(samples: int, count: int, chance: np.random.Generator) -> list[int]:
    ends = [0, samples - 1][: min(count, samples)]
    others = chance.permutation(np.arange(1, max(samples - 1, 1)))
    return sorted({*ends, *(int(at) for at in others[: count - len(ends)])})


def _in_turns(labels: Array, count: int, chance: np.random.Generator) -> list[int]:
    seen: Counter[int] = Counter()
    turns: list[tuple[int, int]] = []
    for at in chance.permutation(len(labels)).tolist():
        turns.append((seen[int(labels[at])], at))
        seen[int(labels[at])] += 1
    return sorted(at for _, at in sorted(turns, key=lambda turn: turn[0])[:count])


def _decided(scores: Array, count: int, chance: np.random.Generator) -> list[int]:
    top = np.partition(scores, -2, axis=1)[:, -2:]
    margin = (top[:, 1] - top[:, 0]) / max(float(np.ptp(scores)), 1e-12)
    winners = scores.argmax(axis=1)
    labels = chance.permutation(np.unique(winners))  # where classes outnumber the picks, not always the first ones
    queues = [_queues(np.flatnonzero(winners == label), margin, chance) for label in labels]
    picked: list[int] = []
    for at in itertools.count():
        if len(picked) == count or not any(clear or near for clear, near in queues):
            break
        turn, place = divmod(at, len(queues))
        clear, near = queues[place]
        wanted, other = (clear, near) if (turn + place) % 2 == 0 else (near, clear)
        if wanted or other:
            picked.append((wanted or other).pop())
    by_margin = np.argsort(-margin, kind="stable")
    spare = [int(at) for at in by_margin if _NOISE <= margin[at] < _MARGIN and int(at) not in picked]
    picked += spare[: count - len(picked)]
    return sorted(picked or (int(at) for at in by_margin[:count]))


def _queues(members: Array, margin: Array, chance: np.random.Generator) -> tuple[list[int], list[int]]:
    """One class's samples to take from the end: clearly decided in any order, and near the boundary, the nearest last.

    A class that has none with a margin is stood for by its best one, if that is above noise.
    """
    rising = members[np.argsort(margin[members], kind="stable")]
    safe = [int(at) for at in rising if margin[at] >= _MARGIN]
    if not safe:
        return [int(at) for at in rising[-1:] if margin[at] >= _NOISE], []
    near, clear = safe[: len(safe) // 2], safe[len(safe) // 2 :]
    return [int(at) for at in chance.permutation(clear)], near[::-1]
