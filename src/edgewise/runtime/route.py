"""Who answered what of one call, and why: what a node adds to an answer."""

import math
from collections.abc import Mapping, Sequence
from typing import final

from edgewise.records import dataclass

__all__ = ["Answered", "Route"]


@dataclass(frozen=True, slots=True)
class Answered:
    """Who answered one row. deferred: not by this node itself. degraded: whoever answered was not sure enough and nobody could be
    asked on; ``why`` has the reason in words. answered: false in a reply where upstream has no usable answer to this row.
    """

    tier: str = "cloud"
    variant: str = ""
    degraded: bool = False
    why: str = ""
    deferred: bool = True
    answered: bool = True


@final
class Route:
    """Of one call, row by row. Not frozen and without validation: it is made for each answer, within a microsecond.

    confidence: the rule's score of each row, by the stage that decided it. threshold: what it was held against. by: who answered
    each row; None where the first stage kept all of them. spent: tier -> seconds, this node's own first; local: those of this node.
    """

    __slots__ = ("by", "confidence", "elsewhere", "local", "threshold")

    def __init__(
        self,
        confidence: Sequence[float],
        threshold: Sequence[float],
        local: float,
        by: Sequence[Answered] | None = None,
        elsewhere: Mapping[str, float] | None = None,
    ) -> None:
        self.confidence = confidence
        self.threshold = threshold
        self.local = local
        self.by = by
        self.elsewhere = elsewhere

    def why(self, row: int) -> str:
        """In words, why this row was answered where it was."""
        if self.by is not None and self.by[row].why:
            return self.by[row].why
        return f"sure enough: {shown(self.confidence[row])} is at least {shown(self.threshold[row])}"


def shown(score: float) -> str:
    """A score or a threshold in words."""
    return "nothing" if score == -math.inf else "what cannot be reached" if score == math.inf else f"{score:.4g}"
