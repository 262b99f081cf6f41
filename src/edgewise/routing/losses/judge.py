"""What every judge of two answers has in common: its seam, weights, and integers that stand for real numbers."""

from collections.abc import Mapping
from math import isfinite
from typing import Protocol

import numpy as np

from edgewise.errors import DataError, InputError
from edgewise.runtime.decision import are_indices, class_name
from edgewise.runtime.engine import Array

__all__ = ["Judge", "Weights", "check_weights", "costs", "largest", "real", "refuse_weights", "same_length"]

#: Label -> what it costs to get a sample wrong that is decided so by upstream, or is so in truth. Labels without one cost 1.
Weights = Mapping[str, float] | None


class Judge(Protocol):
    """ours, theirs: (N, ...) deciding outputs of the same samples, batch axis first; theirs may have another form that the task's
    outputs can have, or be the truth. Raises DataError where they do not fit each other.
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


def same_length(ours: Array, theirs: Array) -> None:
    """Raise DataError where these are not of the same samples."""
    if not ours.ndim or not theirs.ndim or len(ours) != len(theirs):
        raise DataError(f"two answers for each sample are needed, not {ours.shape} beside {theirs.shape}")


def real(values: Array, scale: tuple[float, int]) -> Array:
    """Float64, of floats or of quantized integers, which are scale[0] * (value - scale[1])."""
    quantized = values.dtype.kind in "iu" and not are_indices(values)
    return (values.astype(np.float64) - scale[1]) * scale[0] if quantized else values.astype(np.float64)


def costs(decision: Array, labels: tuple[str, ...], weights: Weights) -> Array:
    """Weights of decisions (integers of any shape) over the largest."""
    if not weights or not decision.size:
        return np.ones(decision.shape)
    names, at = np.unique(decision, return_inverse=True)
    each = np.array([weights.get(class_name(labels, int(name)), 1.0) for name in names], np.float64)
    return each[at.reshape(decision.shape)] / largest(weights)


def largest(weights: Weights) -> float:
    """What a loss of 1 costs: the largest weight, at least the 1 of labels without one."""
    return max([1.0, *weights.values()]) if weights else 1.0


def check_weights(weights: Weights, labels: tuple[str, ...]) -> None:
    """Raise InputError for a label that is not there, or a weight that is no cost."""
    weights = weights or {}
    unknown = [name for name in weights if labels and name not in labels]
    wrong = [f"{name}={weight}" for name, weight in weights.items() if not (isfinite(weight) and weight >= 0)]
    if unknown or wrong:
        faults = [f"no label {', '.join(unknown)}"] if unknown else []
        faults += [f"a weight of {', '.join(wrong)}"] if wrong else []
        raise InputError(
            f"weights of errors do not fit: {' and '.join(faults)}",
            remedy=f"A weight is a cost from 0 on, for one of the labels: {', '.join(labels[:20]) or 'by number'}.",
        )


def refuse_weights(weights: Weights, task: str) -> None:
    """Raise InputError where weights are given for a task whose answers are no labels."""
    if weights:
        raise InputError(
            f"weights are for labels, and a {task} model has none",
            remedy="Leave them out: what is lost there is already a matter of degree.",
        )
