"""Losing for detectors: objects that one has and the other has not."""

import numpy as np

from edgewise.errors import DataError
from edgewise.records import dataclass
from edgewise.routing.losses.judge import Weights, costs, largest, same_length
from edgewise.runtime.engine import Array
from edgewise.runtime.overlaps import overlaps

__all__ = ["Boxes"]

_FOUND, _TRUE = 6, 5  # columns: x1, y1, x2, y2, score, class; the truth has no score
_OVERLAP = 0.5


@dataclass(frozen=True, slots=True)
class Boxes:
    """Two boxes are the same object where they are of one class and overlap by half (intersection over union), each with one other,
    the surest first. Two answers disagree where any object is in only one of them, so an empty one and one that is not do.

    The loss is the share of objects, those of both answers together, that are in one alone, by weights: a missed one costs what its
    class does, a false alarm 1. Where nothing is found in vain, it is the share of ``theirs`` that was missed.

    cut: the score from which a box is part of ours; theirs_cut: of theirs (None: the same). theirs: (N, k, 6) as ours, or the truth
    (N, k, 5) without the score.
    """

    labels: tuple[str, ...] = ()
    weights: Weights = None
    cut: float = 0.0
    theirs_cut: float | None = None

    @property
    def unit(self) -> float:
        return largest(self.weights)

    def disagree(self, ours: Array, theirs: Array) -> Array:
        return np.array([bool(alone or len(missed)) for alone, missed, _ in self._each(ours, theirs)], bool)

    def loss(self, ours: Array, theirs: Array) -> Array:
        found = [
            (costs(missed, self.labels, self.weights).sum() + alone / self.unit) / max(objects + alone, 1)
            for alone, missed, objects in self._each(ours, theirs)
        ]
        return np.array(found, np.float64)

    def right(self, ours: Array, y: Array) -> Array:
        return ~self.disagree(ours, y)

    def _each(self, ours: Array, theirs: Array) -> list[tuple[int, Array, int]]:
        """For each sample: how many of ours are alone, the classes of those of theirs that are, and how many theirs has."""
        same_length(ours, theirs)
        if ours.ndim != 3 or ours.shape[2] != _FOUND or theirs.ndim != 3 or theirs.shape[2] not in (_FOUND, _TRUE):
            raise DataError(f"boxes are (N, k, 6), or (N, k, 5) in truth, not {ours.shape} beside {theirs.shape}")
        cut = self.cut if self.theirs_cut is None else self.theirs_cut
        return [_compare(_there(one, self.cut), _there(other, cut)) for one, other in zip(ours, theirs, strict=True)]


def _there(rows: Array, cut: float) -> Array:
    """(k, 5) corners and class of the boxes that are part of an answer, the surest first."""
    if rows.shape[1] == _TRUE:
        return rows[rows[:, 4] >= 0].astype(np.float64)
    kept = rows[(rows[:, 5] >= 0) & (rows[:, 4] >= cut)]
    return kept[np.argsort(-kept[:, 4], kind="stable")][:, (0, 1, 2, 3, 5)].astype(np.float64)


def _compare(ours: Array, theirs: Array) -> tuple[int, Array, int]:
    shared = overlaps(ours[:, :4], theirs[:, :4])
    shared[(shared < _OVERLAP) | (ours[:, None, 4] != theirs[None, :, 4])] = 0
    free, matched = np.ones(len(theirs), bool), 0
    for row in shared:
        fitting = np.where(free, row, 0.0)
        if fitting.any():
            free[fitting.argmax()] = False
            matched += 1
    return len(ours) - matched, theirs[free, 4].astype(np.int64), len(theirs)
