"""What each variant's answers lose against upstream's: the arrays that a fit looks at, one row a calibration sample."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from edgewise.errors import DataError, InputError
from edgewise.measure.npz import Array
from edgewise.routing.fitting.types import Loss, Recorded, Wanted
from edgewise.routing.losses import Judge
from edgewise.routing.rejection import Test
from edgewise.runtime.decision import class_name, winners

__all__ = ["Judged", "judge", "losses_for", "tests_for"]

A = TypeVar("A")
_MANY = 50_000  # units up to which the limits of the trinomial test take seconds to compute


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """losses: (N,) of floats for each meaning that was asked for, in the unit of epsilon. right, upstream_right: (N,) of bool, None
    without labels. group: (N,) the label that the variant itself decides, None where none was asked for.
    """

    recorded: Recorded
    losses: Mapping[Loss, Array]
    right: Array | None = None
    upstream_right: Array | None = None
    group: Array | None = None

    def accuracy(self, kept: Array) -> float | None:
        """Share that is right where the variant answers ``kept`` (N,) and upstream the others; None without labels."""
        if self.right is None or self.upstream_right is None:
            return None
        return float(np.where(kept, self.right, self.upstream_right).mean())

    def of(self, rows: Array) -> "Judged":
        """Of some samples alone."""
        return Judged(
            Recorded(
                self.recorded.variant,
                {name: array[rows] for name, array in self.recorded.outputs.items()},
                self.recorded.seconds,
                self.recorded.bytes,
            ),
            {name: array[rows] for name, array in self.losses.items()},
            None if self.right is None else self.right[rows],
            None if self.upstream_right is None else self.upstream_right[rows],
            None if self.group is None else self.group[rows],
        )


def losses_for(wanted: Wanted, *, labels: bool) -> tuple[Loss, ...]:
    """What may count as lost. labels: whether the truth is known. Raises InputError for what does not go together."""
    if wanted.weights and wanted.against in ("agreement", "gap"):
        raise InputError(
            f"weights of errors say what a loss costs, and the promise is about {wanted.against}",
            remedy='Promise against "loss", or leave the weights out.',
        )
    if wanted.against == "gap" and not labels:
        raise InputError(
            "a promise on accuracy lost needs the truth of each sample",
            remedy='Give labelled samples, or promise "agreement", which needs none and bounds the accuracy lost as well.',
        )
    if wanted.against == "auto":
        if wanted.weights:
            return ("loss",)
        return ("gap", "disagreement") if labels else ("disagreement",)
    return ({"agreement": "disagreement", "gap": "gap", "loss": "loss"}[wanted.against],)  # type: ignore[return-value]


def judge(
    recorded: Recorded, upstream: Array, decision: str, judge_of: Judge, losses: tuple[Loss, ...], *,
    y: Array | None = None, labels: tuple[str, ...] = (), by_class: bool = False,
) -> Judged:  # fmt: skip
    """upstream: (N, ...) its deciding output. y: (N, ...) the truth, in the form that the task's judge takes.

    Raises DataError where answers do not fit each other.
    """
    if decision not in recorded.outputs:
        raise DataError(f"the variant {recorded.variant} has no output {decision!r} among its recorded answers")
    ours = recorded.outputs[decision]
    right = None if y is None else judge_of.right(ours, y)
    above = None if y is None else judge_of.right(upstream, y)
    found: dict[Loss, Array] = {}
    for name in losses:
        if name == "gap":
            if right is None or above is None:
                raise DataError("the gap needs the truth of each sample")
            found[name] = above.astype(np.float64) - right.astype(np.float64)
        else:
            found[name] = (judge_of.disagree if name == "disagreement" else judge_of.loss)(ours, upstream).astype(
                np.float64
            )
    group = np.array([class_name(labels, int(index)) for index in winners(ours)]) if by_class else None
    return Judged(recorded, found, right, above, group)


def tests_for(loss: Loss, values: Array, units: int, *, blocks: bool) -> tuple[Test, ...]:
    """The tests that are valid for such losses, the one that is usually tightest first."""
    if loss == "gap":
        return ("trinomial",) if not blocks and units <= _MANY else ("betting",)
    if not blocks and np.isin(values, (0, 1)).all():
        return ("binomial",)
    return ("hoeffding-bentkus", "betting")
