"""The accuracy gate: whether a candidate lost something, by a paired test on samples that the search never saw.

Two conditions, both needed. The drop is at most what is allowed, in points; and it is not significant: the same samples went
through both models, so only those count on which they differ. For hits and misses that is McNemar's exact test; for every other
metric the paired bootstrap. The test is one-sided, because a candidate that is *better* does not fail: of the two-sided p-value
half belongs to "lost more than it gained" where it did lose more. Absence of significance alone proves nothing with few samples,
which is why the drop itself is bounded too. Samples of one group (a person, a board) are alike: the bootstrap draws whole groups,
and McNemar's test, which does not know of them, is then the stricter one: it finds drops significant earlier.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.intervals import mcnemar_exact
from edgewise.measure.metric import Metric
from edgewise.measure.metrics import difference
from edgewise.measure.npz import Array
from edgewise.training.recipes.judging import Task, judge

__all__ = ["LEVEL", "Verdict", "decide", "one_sided", "score_of"]

LEVEL = 0.05
"""A drop that chance makes in fewer cases than this is significant."""
_NAMES = {"multilabel": "micro_f1", "regression": "rmse"}
_SLACK = 1e-9  # rounding


@dataclass(frozen=True, slots=True)
class Verdict:
    """metric: of the candidate. drop: points lost against the original (hundredths; of an error, percent that it grew).

    p_value: of a drop as large by chance; None where the bootstrap decided. significant: whether it lost for sure.
    """

    metric: Metric
    drop: float
    allowed: float
    significant: bool
    test: str
    p_value: float | None = None

    @property
    def passes(self) -> bool:
        """Neither lost more than is allowed nor significantly."""
        return self.drop <= self.allowed + _SLACK and not self.significant

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric.to_json(), "dropPoints": self.drop, "allowedPoints": self.allowed, "test": self.test,
            "pValue": self.p_value, "significant": self.significant, "passes": self.passes,
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Verdict":
        """What ``to_json`` wrote."""
        return cls(
            Metric.from_json(value["metric"]), value["dropPoints"], value["allowedPoints"], value["significant"], value["test"],
            value["pValue"],
        )  # fmt: skip


def decide(
    task: Task, original: Array, candidate: Array, y: Array, allowed: float, group: Array | None = None, seed: int = 0
) -> Verdict:  # fmt: skip
    """The verdict over a candidate's answers (N, ...) beside the original's, on the same samples with the truth ``y``.

    allowed: points that may be lost. seed: of the resamples. Raises DataError where answers and truth do not fit or the task has
    no paired test.
    """
    if task != "classification" and task not in _NAMES:
        raise DataError(
            f"there is no paired test for {task} here", remedy="Compress models that classify or predict values."
        )
    before, after = (judge(task, {"": answers}, {}, y, group) for answers in (original, candidate))
    drop = drop_of(before, after)
    if task == "classification":
        p_value = one_sided(original.argmax(axis=-1) == y, candidate.argmax(axis=-1) == y)
        return Verdict(after, drop, allowed, p_value < LEVEL, "McNemar, exact, one-sided", p_value)
    truth = y if task == "multilabel" else y.reshape(len(y), -1).astype(original.dtype)
    first, second = (
        answers if task == "multilabel" else answers.reshape(len(y), -1) for answers in (original, candidate)
    )
    # One side of an interval with 2 * LEVEL outside has LEVEL beyond it.
    apart = difference(
        _NAMES[task], first, second, truth, group, confidence=1 - 2 * LEVEL, chance=np.random.default_rng(seed)
    )
    lost = apart.high < 0 if after.higher_is_better else apart.low > 0
    return Verdict(after, drop, allowed, bool(lost), "paired bootstrap, one-sided")


def one_sided(original: Array, candidate: Array) -> float:
    """P-value for "the candidate is right no less often", by the samples on which they differ; hits (N,) of bool.

    Below one half only where it is right less often.
    """
    half = mcnemar_exact(original, candidate) / 2
    lost, gained = int((original & ~candidate).sum()), int((candidate & ~original).sum())
    if lost == gained:
        return 0.5
    return half if lost > gained else 1 - half


def drop_of(before: Metric, after: Metric) -> float:
    """Points lost: hundredths of a share; of an error, percent by which it grew. Negative where the candidate is better."""
    if before.higher_is_better:
        return (before.value - after.value) * 100
    return (after.value - before.value) / max(abs(before.value), _SLACK) * 100


def score_of(metric: Metric, original: Metric) -> float:
    """A figure in which higher is better and 0.01 is a point of ``drop_of``, for comparing candidates."""
    return metric.value if metric.higher_is_better else -drop_of(original, metric) / 100
