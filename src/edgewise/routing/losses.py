"""What losing means, for each task: when two answers differ, how much an answer is worth less than another, and when it is right.

``theirs`` is what upstream answered, or the truth: nothing here needs labels, since a promise is against upstream, whose decision
then stands in the truth's place.

**Weights.** Errors may cost differently: to pass a defect costs more than a false alarm. A weight is the cost of getting a sample
wrong whose decision *by upstream* (or the truth) is that label; labels without one cost 1. Losses are divided by the largest
weight, so that they lie in 0..1 as the bounds of ``risk`` need; an epsilon then is in shares of the worst error. With defects at
20 and false alarms at 1, epsilon 0.01 is at most one missed defect, or twenty false alarms, among 100 inputs: ``Judge.unit``
is what one unit of it costs in the weights' own terms.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from edgewise.errors import DataError, InputError
from edgewise.records import dataclass
from edgewise.runtime.decision import class_name, winners
from edgewise.runtime.engine import Array

__all__ = ["Classes", "Judge", "judge_for"]


class Judge(Protocol):
    """ours, theirs: (N, ...) deciding outputs of the same samples, batch axis first; theirs may have another form (class indices
    beside scores). Raises DataError where they do not fit each other.
    """

    @property
    def unit(self) -> float:
        """The cost of a loss of 1: the largest weight."""
        ...

    def disagree(self, ours: Array, theirs: Array) -> Array:
        """(N,) of bool: whether the two decisions differ."""
        ...

    def loss(self, ours: Array, theirs: Array) -> Array:
        """(N,) in 0..1: what answering ``ours`` loses where ``theirs`` is right, by weights."""
        ...

    def right(self, ours: Array, y: Array) -> Array:
        """(N,) of bool: whether the decision is the true one."""
        ...


@dataclass(frozen=True, slots=True)
class Classes:
    """Classification: the winners. labels: of the classes in order; weights: label (or number where labels do not reach) -> cost."""

    labels: tuple[str, ...] = ()
    weights: Mapping[str, float] | None = None

    @property
    def unit(self) -> float:
        return largest(self.weights)

    def disagree(self, ours: Array, theirs: Array) -> Array:
        mine, other = decided(ours), decided(theirs)
        same_length(mine, other)
        found: Array = mine != other
        return found

    def loss(self, ours: Array, theirs: Array) -> Array:
        return self.disagree(ours, theirs) * costs(decided(theirs), self.labels, self.weights)

    def right(self, ours: Array, y: Array) -> Array:
        return ~self.disagree(ours, y)


def decided(values: Array) -> Array:
    """(N,) classes of scores, of class indices, or of the truth in any integers."""
    return values.astype(np.int64) if values.ndim == 1 and values.dtype.kind in "iu" else winners(values)


def same_length(ours: Array, theirs: Array) -> None:
    """Raise DataError where these are not of the same samples."""
    if not ours.ndim or not theirs.ndim or len(ours) != len(theirs):
        raise DataError(f"two answers for each sample are needed, not {ours.shape} beside {theirs.shape}")


def costs(decision: Array, labels: tuple[str, ...], weights: Mapping[str, float] | None) -> Array:
    """(N,) weights of decisions (N,) over the largest."""
    if not weights:
        return np.ones(len(decision))
    names, at = np.unique(decision, return_inverse=True)
    each = np.array([weights.get(class_name(labels, int(name)), 1.0) for name in names], np.float64)
    return each[at.ravel()] / largest(weights)


def largest(weights: Mapping[str, float] | None) -> float:
    """What a loss of 1 costs: the largest weight, at least the 1 of labels without one."""
    return max([1.0, *weights.values()]) if weights else 1.0


def check_weights(weights: Mapping[str, float], labels: tuple[str, ...]) -> None:
    """Raise InputError for a label that is not there, or a weight that is no cost."""
    unknown = [name for name in weights if labels and name not in labels]
    wrong = [name for name, weight in weights.items() if not 0 <= weight < float("inf")]
    if unknown or wrong:
        faults = [f"no label {', '.join(unknown)}"] if unknown else []
        faults += [f"a weight of {', '.join(f'{name}={weights[name]}' for name in wrong)}"] if wrong else []
        raise InputError(
            f"weights of errors do not fit: {' and '.join(faults)}",
            remedy=f"A weight is a cost from 0 on, for one of the labels: {', '.join(labels[:20]) or 'by number'}.",
        )


def judge_for(task: str, labels: tuple[str, ...] = (), weights: Mapping[str, float] | None = None) -> Judge:
    """What losing means for a task. Raises InputError for a task whose outputs have no meaning that is known."""
    check_weights(weights or {}, labels)
    if task == "classification":
        return Classes(labels, weights)
    raise InputError(
        f"what it means to lose is not known for a {task} model",
        remedy="State the task of the model when packing it.",
    )
