"""Losing for sequences of labels: what has to be changed to make one of the other."""

from collections.abc import Sequence

import numpy as np

from edgewise.errors import DataError
from edgewise.records import dataclass
from edgewise.routing.losses.judge import same_length
from edgewise.runtime.engine import Array

__all__ = ["Sequences", "edit_distance"]


@dataclass(frozen=True, slots=True)
class Sequences:
    """What is said: the winner of each step without those in ``skip`` (blank, padding, end); with ``ctc``, what repeats itself
    from step to step counts once (Graves et al. 2006). Two disagree where they differ at all; the loss is their edit distance
    over the longer one's length.

    ours: (N, steps, classes). theirs: the same with any number of steps, or the labels themselves (N, steps) as integers, where
    negative ones are padding.
    """

    skip: tuple[int, ...] = ()
    ctc: bool = False

    @property
    def unit(self) -> float:
        return 1.0

    def disagree(self, ours: Array, theirs: Array) -> Array:
        return np.array([one != other for one, other in self._pairs(ours, theirs)], bool)

    def loss(self, ours: Array, theirs: Array) -> Array:
        found = [edit_distance(one, other) / max(len(one), len(other), 1) for one, other in self._pairs(ours, theirs)]
        return np.array(found, np.float64)

    def right(self, ours: Array, y: Array) -> Array:
        return ~self.disagree(ours, y)

    def _pairs(self, ours: Array, theirs: Array) -> list[tuple[list[int], list[int]]]:
        same_length(ours, theirs)
        mine = [self._said(row.argmax(axis=1), self.ctc) for row in _scores(ours)]
        if theirs.ndim == 2 and theirs.dtype.kind in "iu":
            return list(zip(mine, [self._said(row, repeats=False) for row in theirs], strict=True))
        return list(zip(mine, [self._said(row.argmax(axis=1), self.ctc) for row in _scores(theirs)], strict=True))

    def _said(self, steps: Array, repeats: bool) -> list[int]:
        if repeats and len(steps):
            steps = steps[np.append(True, steps[1:] != steps[:-1])]
        return [step for step in steps.tolist() if step >= 0 and step not in self.skip]


def _scores(values: Array) -> Array:
    if values.ndim != 3 or not values.shape[2]:
        raise DataError(f"scores of sequences are (N, steps, classes), not {values.shape}")
    return values


def edit_distance(one: Sequence[int], other: Sequence[int]) -> int:
    """Insertions, deletions and replacements between two sequences: Levenshtein's, all columns of a row at once in the bits of two
    integers (Myers 1999, in the form of Hyyro 2003).
    """
    if not one:
        return len(other)
    every, last = (1 << len(one)) - 1, 1 << (len(one) - 1)
    where: dict[int, int] = {}
    for at, item in enumerate(one):
        where[item] = where.get(item, 0) | 1 << at
    up, down, distance = every, 0, len(one)
    for item in other:
        same = where.get(item, 0)
        level = (((same & up) + up) ^ up) | same | down
        more, less = down | (every & ~(level | up)), up & level
        distance += bool(more & last) - bool(less & last)
        more = (more << 1 | 1) & every
        less = less << 1 & every
        up, down = less | (every & ~(level | more)), more & level
    return distance
