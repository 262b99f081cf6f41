"""Rules for sequences: scores of each frame or token, (N, steps, classes).

The probability of the class that wins at each step that counts, averaged as logarithms over the sequence (their geometric mean) or
the least of all. Steps that do not count: those after the length that ``lengths`` names an output for, and those whose winner is in
``skip`` (the blank of CTC, padding, an end mark): a recording is mostly blanks, of which any model is sure. A sequence in
which no step counts says nothing, which is no reason to be sure of it: it is worth ``empty``.
"""

from collections.abc import Mapping
from typing import Any, final

import numpy as np

from edgewise.bundle.fields import Form
from edgewise.bundle.tensors import IDENTIFIER
from edgewise.records import dataclass
from edgewise.routing.rules.source import Need, NeedyRule, Source, finite, read_source
from edgewise.runtime.engine import Array

__all__ = ["SequenceConfidence", "read"]

_FLOOR = 1e-12
_MOST_SKIPPED = 1024


@final
@dataclass(frozen=True, slots=True)
class SequenceConfidence:
    """least: whether the least sure step counts, and not their mean."""

    source: Source
    least: bool = False
    skip: tuple[int, ...] = ()
    lengths: str = ""
    empty: float = 0.0

    @property
    def name(self) -> str:
        return "sequence-min" if self.least else "sequence-mean"

    def score(self, outputs: Mapping[str, Array]) -> float:
        return self.scores(outputs).item(0)

    def scores(self, outputs: Mapping[str, Array]) -> Array:
        steps = outputs[self.source.output].astype(np.float64)
        steps = (steps - self.source.zero) * self.source.scale
        winner = steps.argmax(axis=2)
        with np.errstate(all="ignore"):
            largest = steps.max(axis=2)
            if self.source.form == "scores":
                logs = -np.log(np.exp(steps - largest[..., None]).sum(axis=2))
            else:
                logs = np.log(np.maximum(largest, _FLOOR))
        counts = np.ones(winner.shape, bool)
        if self.lengths:
            ends = outputs[self.lengths].reshape(len(steps), -1)[:, :1]
            counts &= np.arange(winner.shape[1]) < ends
        bad = (counts & ~np.isfinite(largest)).any(axis=1)
        if self.skip:
            counts &= ~np.isin(winner, self.skip)
        number = counts.sum(axis=1)
        if self.least:
            found = np.where(counts, logs, np.inf).min(axis=1, initial=np.inf)
        else:
            found = np.where(counts, logs, 0).sum(axis=1) / np.maximum(number, 1)
        sure = np.where(number > 0, np.exp(np.where(number > 0, found, 0)), self.empty)
        return finite(np.where(bad, np.nan, sure))

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {"name": self.name, "of": self.source.to_json(), "empty": self.empty}
        if self.skip:
            value["skip"] = list(self.skip)
        if self.lengths:
            value["lengths"] = self.lengths
        return value

    def needs(self) -> tuple[Need, ...]:
        return (Need(self.source.output, rank=3), *([Need(self.lengths)] if self.lengths else []))


def read(name: str, form: Form) -> NeedyRule:
    """The rule ``name`` as ``to_json`` gives it; notes every problem in ``form``."""
    skip = form.values("skip", _is_class, "the number of a class", limit=_MOST_SKIPPED)
    return SequenceConfidence(
        read_source(form, forms=("scores", "probabilities")),
        name == "sequence-min",
        tuple(skip),
        form.text("lengths", pattern=IDENTIFIER, default=""),
        form.number("empty", low=-1e6, high=1e6, default=0.0),
    )


def _is_class(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
