"""Rules made of others: a score that the model itself gives, and one that is low where either of two is."""

from collections.abc import Mapping
from typing import Any, final

import numpy as np

from edgewise.bundle.fields import Form
from edgewise.records import dataclass
from edgewise.routing.rules.curve import Curve, read_curve
from edgewise.routing.rules.kinds import KINDS, load
from edgewise.routing.rules.source import NOT_SURE, Need, NeedyRule, Source, finite, read_source, refuse_unknown
from edgewise.runtime.engine import Array

__all__ = ["GraphOutput", "WithScope", "read"]

_MOST_COLUMNS = 65_536


@final
@dataclass(frozen=True, slots=True)
class GraphOutput:
    """A value of an output of the model: of a deferral head that is part of the graph, or a variance that it predicts.

    column: which value of a row. negate: where a lower value is the surer.
    """

    source: Source
    column: int = 0
    negate: bool = False

    @property
    def name(self) -> str:
        return "graph-output"

    def score(self, outputs: Mapping[str, Array]) -> float:
        found = self.source.first(outputs, self.column)
        if found - found != 0.0:
            return NOT_SURE
        return -found if self.negate else found

    def scores(self, outputs: Mapping[str, Array]) -> Array:
        found = self.source.rows(outputs)[:, self.column]
        return finite(-found if self.negate else found)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "of": self.source.to_json(), "column": self.column, "negate": self.negate}

    def needs(self) -> tuple[Need, ...]:
        return (Need(self.source.output, least=self.column + 1),)


@final
@dataclass(frozen=True, slots=True)
class WithScope:
    """The smaller of two ranks: how sure the model is among its classes, and whether the input is like anything that was learnt.

    confidence, scope: a rule each. ranks, scope_ranks: score -> share of samples of known classes with less, so that the two are on
    one scale: both at 0.1 is what one sample in ten falls below.
    """

    confidence: NeedyRule
    scope: NeedyRule
    ranks: Curve
    scope_ranks: Curve

    @property
    def name(self) -> str:
        return "with-scope"

    def score(self, outputs: Mapping[str, Array]) -> float:
        first, second = self.confidence.score(outputs), self.scope.score(outputs)
        if NOT_SURE in (first, second):
            return NOT_SURE
        return min(self.ranks.one(first), self.scope_ranks.one(second))

    def scores(self, outputs: Mapping[str, Array]) -> Array:
        first = self.ranks.many(self.confidence.scores(outputs))
        return finite(np.minimum(first, self.scope_ranks.many(self.scope.scores(outputs))))

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "confidence": self.confidence.to_json(), "scope": self.scope.to_json(),
            "ranks": self.ranks.to_json(), "scopeRanks": self.scope_ranks.to_json(),
        }  # fmt: skip

    def needs(self) -> tuple[Need, ...]:
        return (*self.confidence.needs(), *self.scope.needs())


def read(name: str, form: Form) -> NeedyRule | None:
    """The rule ``name`` as ``to_json`` gives it; notes every problem in ``form``."""
    if name == "graph-output":
        column, negate = form.integer("column", high=_MOST_COLUMNS, default=0), form.anything("negate")
        if negate is not None and not isinstance(negate, bool):
            form.problem("negate", "true or false is needed")
        return GraphOutput(read_source(form, forms=("values",)), column, bool(negate))
    parts = []
    for field in ("confidence", "scope"):
        parts.append(form.child(field, _read_part))
        if form.anything(field) is None:
            form.problem(field, "is missing")
    ranks, scope_ranks = read_curve(form, "ranks"), read_curve(form, "scopeRanks")
    first, second = parts
    return None if first is None or second is None else WithScope(first, second, ranks, scope_ranks)


def _read_part(form: Form) -> NeedyRule | None:
    """A rule within this one, which is none of this kind: depth is bounded."""
    name = form.text("name", one_of=[name for name in KINDS if name != "with-scope"])
    if name not in KINDS or name == "with-scope":
        return None
    found = load(name).read(name, form)
    refuse_unknown(form)
    return found
