"""What a deferral head computes: from the scores of a classifier, and perhaps from its last hidden layer, one number a sample.

Scores become a handful of numbers that do not depend on which class won (``features_of``). A straight line through them, and where
there was enough to learn from a small layer beside it, gives the log odds that the device's answer is upstream's too. It is the log
odds and not the probability, which in 32 bits is 1 for everything beyond 17: what is sure could not be told from what is surer.

The graph (``join``) computes the same in float32. What is here, in float64, is what it is checked against.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edgewise.errors import DataError, InputError
from edgewise.routing.rule import HEAD_OUTPUT
from edgewise.runtime.engine import Array

__all__ = [
    "LEAST_PROBABILITY", "SCORE", "Form", "Head", "Layer", "class_scores", "feature_count", "features_of", "joined_inputs",
    "kind_of", "simple_scores", "top_count",
]  # fmt: skip

#: The name of the output that a head adds to a model.
SCORE = HEAD_OUTPUT
#: What scores are: before softmax; after it; one score of class 1 before a sigmoid; after it.
Form = Literal["logits", "probabilities", "logit", "probability"]
#: Probabilities are taken to be at least this before their logarithm: what float32 resolves below 1.
LEAST_PROBABILITY = 1e-7
_TOP = 5  # classes that are looked at one by one
_OTHERS = 3  # features that are of no single class: see features_of


@dataclass(frozen=True, slots=True)
class Layer:
    """A hidden layer of rectified units: entering (inputs, units), bias (units,), leaving (units,)."""

    entering: Array
    bias: Array
    leaving: Array


@dataclass(frozen=True, slots=True)
class Head:
    """line: (features + hidden,) and ``bias``, the straight part; ``layer``: the curved one, None for a logistic head.

    output: the model's own name of the output that decides, with ``classes`` (2 for one score), in ``form``. hidden: width of the
    hidden values that it reads beside, 0 for none.
    """

    output: str
    form: Form
    classes: int
    line: Array
    bias: float
    layer: Layer | None = None
    hidden: int = 0

    def __post_init__(self) -> None:
        width = feature_count(self.classes) + self.hidden
        fits = self.line.shape == (width,)
        arrays = [self.line, np.asarray(self.bias)]
        if self.layer is not None:
            units = len(self.layer.bias)
            fits &= self.layer.entering.shape == (width, units) and self.layer.leaving.shape == (units,)
            arrays += [self.layer.entering, self.layer.bias, self.layer.leaving]
        if not fits or not all(np.isfinite(array).all() for array in arrays):
            raise InputError(
                f"a head on {self.classes} classes and {self.hidden} hidden values has finite weights for {width} inputs"
            )

    @property
    def kind(self) -> str:
        """See ``kind_of``."""
        return kind_of(curved=self.layer is not None, hidden=self.hidden > 0)

    def scores(self, scores: Array, hidden: Array | None = None) -> Array:
        """(N,) float64 log odds of agreement. scores: (N, classes), or (N,) or (N, 1) for one score; hidden: (N, width)."""
        return self.of(joined_inputs(features_of(class_scores(scores, self.form)), hidden if self.hidden else None))

    def of(self, inputs: Array) -> Array:
        """The same of features with the hidden values behind them: (N, features + hidden)."""
        found: Array = inputs @ self.line.astype(np.float64) + self.bias
        if self.layer is not None:
            units = np.maximum(inputs @ self.layer.entering.astype(np.float64) + self.layer.bias, 0)
            found = found + units @ self.layer.leaving.astype(np.float64)
        return found


def kind_of(*, curved: bool, hidden: bool) -> str:
    """What a head is called: its form, and what it reads."""
    return f"{'mlp' if curved else 'logistic'} on scores{' and hidden layer' if hidden else ''}"


def class_scores(scores: Array, form: Form) -> Array:
    """(N, classes) float64 scores before softmax, two classes for one score."""
    rows = scores.reshape(len(scores), -1).astype(np.float64)
    if not np.isfinite(rows).all() or (rows.shape[1] == 1) != (form in ("logit", "probability")):
        raise DataError(
            f"scores ({form}) are finite and (N, classes), or (N, 1) for one, not {scores.dtype}{scores.shape}"
        )
    if form == "logit":
        return np.hstack([np.zeros_like(rows), rows])
    if form == "probability":
        rows = np.hstack([1 - rows, rows])
    return rows if form == "logits" else np.log(np.maximum(rows, LEAST_PROBABILITY))


def top_count(classes: int) -> int:
    """How many of the largest scores are looked at one by one."""
    return min(_TOP, classes)


def feature_count(classes: int) -> int:
    """How many numbers ``features_of`` gives."""
    return 2 * top_count(classes) + _OTHERS


def features_of(scores: Array) -> Array:
    """(N, ``feature_count``) of scores before softmax (N, classes), whichever class won.

    The largest score; how far the next four are below it; the probabilities of those five; the logarithm of the first of them,
    negative; the mean distance from the largest score by probability, negative; the log odds of the best of the five against the
    others, negative. Straight lines through them give, among others, the margin, the entropy, and the energy (log sum exp of all
    scores, Liu et al. 2020, arXiv 2010.03759).
    """
    top = -np.sort(-scores, axis=1)[:, : top_count(scores.shape[1])]
    best = top[:, :1]
    below = scores - best
    weight = np.exp(below)
    total = weight.sum(axis=1, keepdims=True)
    gaps = top[:, 1:] - best
    others = np.logaddexp.reduce(gaps, axis=1, keepdims=True)
    spread = (weight * below).sum(axis=1, keepdims=True) / total
    return np.hstack([best, gaps, 1 / total, np.exp(gaps) / total, np.log(total), spread, others])


def simple_scores(features: Array, classes: int) -> dict[str, Array]:
    """What rules without a head go by, (N,) each by the rule's name, out of what ``features_of`` gave; the surer the higher."""
    first = top_count(classes)
    best, chance, second, surprise, spread, others = features[:, [0, first, first + 1, -3, -2, -1]].T
    return {
        "max-probability": -others, "margin": chance - second, "entropy": spread - surprise, "energy": best + surprise,
    }  # fmt: skip


def joined_inputs(features: Array, hidden: Array | None) -> Array:
    """What a head reads: features, and hidden values (N, ...) behind them."""
    return features if hidden is None else np.hstack([features, hidden.reshape(len(hidden), -1).astype(np.float64)])
