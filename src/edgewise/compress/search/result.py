"""What a search found: a row for everything that was tried, with all that was measured of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgewise.compress.search.budget import Budget, Measured
from edgewise.compress.search.gate import Verdict
from edgewise.compress.search.pareto import Point
from edgewise.compress.search.trial import Timed
from edgewise.measure.metric import Metric

__all__ = ["AS_IT_CAME", "Found", "Row"]

AS_IT_CAME = "as it came"
"""Name of the row of the model that was given."""


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate. name: its chain. passes: what they call themselves, every setting. did: a sentence for each.

    model: digest, empty where ``failed`` says why there is none. rung: the last one that it stood on, from 1. compared: its figure
    on the samples that the search compares by. timed, verdict, peak: of finalists, verdict on the held-out samples; timed also of
    those that were dropped, from their last rung. unmet: what it misses of what was asked for.
    """

    name: str
    passes: tuple[str, ...] = ()
    did: tuple[str, ...] = ()
    model: str = ""
    size: int = 0
    rung: int = 0
    compared: Metric | None = None
    timed: Timed | None = None
    verdict: Verdict | None = None
    peak: int | None = None
    failed: str = ""
    unmet: tuple[str, ...] = ()

    @property
    def finalist(self) -> bool:
        """Whether the gate has looked at it."""
        return self.verdict is not None

    @property
    def measured(self) -> Measured:
        """Of a finalist."""
        assert self.timed is not None
        assert self.verdict is not None
        return Measured(self.size, self.timed.ratio, self.verdict, self.peak)

    def point(self) -> Point:
        """Of a finalist, with the held-out figure: what decides in the end."""
        assert self.verdict is not None
        assert self.timed is not None
        # Points lost, so that errors and shares count alike.
        return Point(self.name, len(self.passes), self.size, self.timed.ratio, -self.verdict.drop / 100)

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "passes": list(self.passes), "did": list(self.did), "model": self.model, "bytes": self.size,
            "rung": self.rung, "compared": self.compared and self.compared.to_json(),
            "latency": self.timed and self.timed.latency.to_json(), "latencyRatio": self.timed and self.timed.ratio,
            "originalLatency": self.timed and self.timed.original.to_json(),
            "heldOut": self.verdict and self.verdict.to_json(), "peakRssBytes": self.peak, "failed": self.failed,
            "unmet": list(self.unmet),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """rows: everything tried, the model as it came first. front: names worth having among those that do. chosen: role -> name;
    empty where nothing does: then ``nearest`` names what comes closest. rungs: how many; complete: whether time sufficed.
    """

    rows: tuple[Row, ...]
    budget: Budget
    front: tuple[str, ...]
    chosen: Mapping[str, str]
    nearest: str
    rungs: int
    complete: bool

    def row(self, name: str) -> Row:
        """The row called ``name``."""
        return next(row for row in self.rows if row.name == name)

    @property
    def original(self) -> Row:
        """The model as it came."""
        return self.rows[0]
