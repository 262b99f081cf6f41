"""Which decisions differ between two models, and whether either is better by more than chance."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.intervals import mcnemar_exact
from edgewise.measure.npz import Array
from edgewise.measure.rows import flat_rows
from edgewise.runtime.decision import winners

__all__ = ["ClassChange", "Decisions", "Flip", "compare_decisions"]


@dataclass(frozen=True, slots=True)
class Flip:
    """One input that the two decide otherwise. row: its index. scores: what each gave its own decision. truth: where known."""

    row: int
    first: int
    second: int
    scores: tuple[float, float]
    truth: int | None

    def to_json(self) -> dict[str, Any]:
        return {
            "row": self.row, "first": self.first, "second": self.second, "scores": [round(s, 6) for s in self.scores],
            "truth": self.truth,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClassChange:
    """Samples of one class, how many of them each model has right, and McNemar's exact p that they are equally good there."""

    label: int
    samples: int
    first: int
    second: int
    p: float

    def to_json(self) -> dict[str, Any]:
        return {
            "class": self.label, "samples": self.samples, "firstRight": self.first, "secondRight": self.second,
            "p": round(self.p, 6),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Decisions:
    """flips: in the order of the rows. accuracy: of both, and p that they are equally right; None where no truth is known."""

    samples: int
    flips: tuple[Flip, ...]
    accuracy: tuple[float, float] | None
    p: float | None
    classes: tuple[ClassChange, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "samples": self.samples, "flips": [flip.to_json() for flip in self.flips],
            "accuracy": None if self.accuracy is None else list(self.accuracy), "p": self.p,
            "classes": [change.to_json() for change in self.classes],
        }  # fmt: skip


def compare_decisions(first: Array, second: Array, y: Array | None = None) -> Decisions:
    """Decisions of two models on the same samples: scores (N, ...) each; y (N,) the true classes where they are known.

    Raises DataError where the outputs do not belong to the same samples.
    """
    if len(first) != len(second) or (y is not None and len(y) != len(first)):
        raise DataError(f"{len(first)} and {len(second)} outputs are not of the same samples")
    said = [winners(scores).reshape(len(scores)) for scores in (first, second)]
    differ = np.flatnonzero(said[0] != said[1])
    flips = tuple(
        Flip(
            int(row), int(said[0][row]), int(said[1][row]), (_given(first, row, said[0]), _given(second, row, said[1])),
            None if y is None else int(y[row]),
        )
        for row in differ.tolist()
    )  # fmt: skip
    if y is None:
        return Decisions(len(first), flips, None, None, ())
    right = [np.asarray(decided == y) for decided in said]
    changes = []
    for label in np.unique(y):
        own = y == label
        a, b = right[0][own], right[1][own]
        changes.append(ClassChange(int(label), int(own.sum()), int(a.sum()), int(b.sum()), mcnemar_exact(a, b)))
    accuracy = (float(right[0].mean()), float(right[1].mean()))
    return Decisions(len(first), flips, accuracy, mcnemar_exact(right[0], right[1]), tuple(changes))


def _given(scores: Array, row: int, said: Array) -> float:
    values = flat_rows(scores[row : row + 1])[0]
    return float(values[said[row]]) if len(values) > said[row] else float(values[0])
