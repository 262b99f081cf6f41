"""Rules for models that set several labels at once: by the least sure of them, and by the whole set.

A label is set from ``cut`` on (0.5 in a bundle). How sure one label is, from a half to one: of a probability, its distance from the
cut as a share of what there is on its side (with a cut of one half: the larger of p and 1 - p); of a score before the sigmoid,
the sigmoid of its distance from the cut.
"""

from collections.abc import Mapping
from math import exp
from typing import Any, final

import numpy as np

from edgewise.bundle.fields import Form
from edgewise.records import dataclass
from edgewise.routing.rules.source import NOT_SURE, Need, NeedyRule, Source, finite, read_source
from edgewise.runtime.answer import SET_FROM
from edgewise.runtime.engine import Array

__all__ = ["LabelSet", "LeastLabel", "read"]

_FORMS = ("each", "scores")


@final
@dataclass(frozen=True, slots=True)
class LeastLabel:
    """How sure the least sure label is."""

    source: Source
    cut: float = SET_FROM

    @property
    def name(self) -> str:
        return "least-label"

    def score(self, outputs: Mapping[str, Array]) -> float:
        distance = self.source.row(outputs)
        distance -= self.cut
        if self.source.form == "scores":
            nearest = np.minimum.reduce(np.abs(distance)).item()
            return 1 / (1 + exp(-nearest)) if nearest - nearest == 0.0 else NOT_SURE
        nearest = np.minimum.reduce(np.maximum(distance / (1 - self.cut), distance / -self.cut)).item()
        return 0.5 + 0.5 * nearest if nearest - nearest == 0.0 else NOT_SURE

    def scores(self, outputs: Mapping[str, Array]) -> Array:
        return finite(_sure(_distances(self.source, self.cut, outputs).min(axis=1), self.source.form))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "of": self.source.to_json(), "cut": self.cut}

    def needs(self) -> tuple[Need, ...]:
        return (Need(self.source.output),)


@final
@dataclass(frozen=True, slots=True)
class LabelSet:
    """The logarithm of the probability that every label is right, were they independent: many that are nearly sure add up."""

    source: Source
    cut: float = SET_FROM

    @property
    def name(self) -> str:
        return "label-set"

    def score(self, outputs: Mapping[str, Array]) -> float:
        return self.scores(outputs).item(0)

    def scores(self, outputs: Mapping[str, Array]) -> Array:
        return finite(np.log(_sure(_distances(self.source, self.cut, outputs), self.source.form)).sum(axis=1))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "of": self.source.to_json(), "cut": self.cut}

    def needs(self) -> tuple[Need, ...]:
        return (Need(self.source.output),)


def _distances(source: Source, cut: float, outputs: Mapping[str, Array]) -> Array:
    """(N, labels) from the cut; as a share of what there is where these are probabilities."""
    distance = source.rows(outputs) - cut
    if source.form == "scores":
        return np.abs(distance)
    away: Array = np.maximum(distance / (1 - cut), distance / -cut)
    return away


def _sure(distance: Array, form: str) -> Array:
    return 1 / (1 + np.exp(-distance)) if form == "scores" else 0.5 + 0.5 * distance


def read(name: str, form: Form) -> NeedyRule | None:
    """The rule ``name`` as ``to_json`` gives it; notes every problem in ``form``."""
    source = read_source(form, forms=_FORMS)
    widest = 1e6 if source.form == "scores" else 1 - 1e-6
    cut = form.number("cut", low=-widest if source.form == "scores" else 1e-6, high=widest, default=SET_FROM)
    return LabelSet(source, cut) if name == "label-set" else LeastLabel(source, cut)
