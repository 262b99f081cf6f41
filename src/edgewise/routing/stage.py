"""One variant of a node with the rule by which it keeps what it is sure of."""

import math
from collections.abc import Mapping
from typing import final

import numpy as np

from edgewise.routing.rule import Rule
from edgewise.runtime.decision import class_name, winners
from edgewise.runtime.engine import Array
from edgewise.runtime.session import Session

__all__ = ["Stage", "batched"]


@final
class Stage:
    """threshold: a row is kept where the rule's score is at least this; infinity keeps none. by_group: the same for rows that this
    variant itself gives a certain label; a label that is not named is never kept then.
    """

    __slots__ = ("_by_class", "_decision", "_labels", "by_group", "rule", "session", "threshold", "variant")

    def __init__(
        self, session: Session, rule: Rule, threshold: float, by_group: Mapping[str, float | None] | None = None
    ) -> None:
        self.session = session
        self.rule = rule
        self.threshold = threshold
        self.by_group = dict(by_group or {})
        self.variant = session.origin.variant
        self._decision = session.origin.decision
        self._labels = session.origin.labels
        self._by_class: dict[int, float] = {}

    def score(self, outputs: Mapping[str, Array]) -> tuple[float, float]:
        """The score of one row and what it has to reach."""
        score = self.rule.score(outputs)
        if not self.by_group:
            return score, self.threshold
        return score, self._limit(int(winners(outputs[self._decision])[0]))

    def scores(self, outputs: Mapping[str, Array], rows: int) -> tuple[Array, Array]:
        """(rows,) scores and (rows,) what they have to reach; a score that is no number counts as unsure."""
        found = np.asarray(self.rule.scores(outputs), np.float64)
        found = np.where(np.isnan(found), -math.inf, found)
        if not self.by_group:
            return found, np.full(rows, self.threshold)
        return found, np.array([self._limit(int(index)) for index in winners(outputs[self._decision])])

    def _limit(self, index: int) -> float:
        limit = self._by_class.get(index)
        if limit is None:
            named = self.by_group.get(class_name(self._labels, index))
            limit = self._by_class[index] = math.inf if named is None else named
        return limit


def batched(outputs: Mapping[str, Array], has_axis: bool) -> Mapping[str, Array]:
    """Outputs with the batch axis first."""
    return outputs if has_axis else {name: array[np.newaxis] for name, array in outputs.items()}
