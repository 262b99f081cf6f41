"""Which output a rule looks at, and what the values there are.

The forms of ``runtime.decision``, told apart once on calibration data and stored with the rule, so that no answer pays for it:

- ``scores`` (N, classes) before softmax, in floats or quantized;
- ``probabilities`` (N, classes), each row adding up to one;
- ``probability`` (N,) or (N, 1), that of class 1;
- ``winner`` (N,) or (N, 1), a value of the class that was chosen and no other's, beside class indices;
- ``each`` (N, labels), every value a probability by itself;
- ``values``, which mean what their rule says: boxes, embeddings, quantities.

Beside class indices of (N,), the output that has the scores is looked at, and ``chosen`` names the one that has the indices.
"""

from collections.abc import Mapping
from math import inf
from typing import Any, Protocol

import numpy as np

from edgewise.bundle.fields import Form
from edgewise.bundle.tensors import IDENTIFIER
from edgewise.errors import DataError
from edgewise.records import dataclass
from edgewise.routing.rule import Rule
from edgewise.runtime.decision import are_indices
from edgewise.runtime.engine import Array

__all__ = [
    "FORMS",
    "NOT_SURE",
    "Need",
    "NeedyRule",
    "Source",
    "find_source",
    "finite",
    "read_source",
    "refuse_unknown",
    "sums_to_one",
]

FORMS = ("scores", "probabilities", "probability", "winner", "each", "values")
#: The score of a sample whose outputs are not finite: below every threshold.
NOT_SURE = -inf
_CLOSE = 5e-3  # of a row of probabilities to one: float16 and eight bits round this much
_LARGEST = 1e30


@dataclass(frozen=True, slots=True)
class Need:
    """What a rule looks at: an output with rows of ``width`` values (0: any number), or of ``least`` at least, with ``rank`` axes
    (0: any number). whole: integers. table: whether each row is a table, of which the width is that of its last axis.
    """

    output: str
    width: int = 0
    least: int = 0
    rank: int = 0
    whole: bool = False
    table: bool = False


class NeedyRule(Rule, Protocol):
    """A rule of this package: it says what it looks at, so that it can be held against an interface before the first answer."""

    def needs(self) -> tuple[Need, ...]: ...


@dataclass(frozen=True, slots=True)
class Source:
    """output, chosen: names in the interface. scale, zero: what quantized integers stand for, real = scale * (value - zero)."""

    output: str
    form: str = "scores"
    scale: float = 1.0
    zero: int = 0
    chosen: str = ""

    def rows(self, outputs: Mapping[str, Array]) -> Array:
        """(N, values) float64 in real numbers, one row a sample; the caller may write to it."""
        found = outputs[self.output]
        values = found.reshape(len(found), -1).astype(np.float64)
        if self.scale != 1.0 or self.zero:
            values -= self.zero
            values *= self.scale
        return values

    def row(self, outputs: Mapping[str, Array]) -> Array:
        """(values,) of one sample, the same way."""
        values = outputs[self.output].astype(np.float64).ravel()
        if self.scale != 1.0 or self.zero:
            values -= self.zero
            values *= self.scale
        return values

    def first(self, outputs: Mapping[str, Array], column: int = 0) -> float:
        """One value of one sample, the same way."""
        found = float(outputs[self.output].item(column))
        return found if self.scale == 1.0 and not self.zero else (found - self.zero) * self.scale

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {"output": self.output, "form": self.form}
        if self.scale != 1.0 or self.zero:
            value["quantization"] = {"scale": self.scale, "zeroPoint": self.zero}
        if self.chosen:
            value["chosen"] = self.chosen
        return value


def read_source(form: Form, field: str = "of", forms: tuple[str, ...] = FORMS) -> Source:
    """As ``Source.to_json`` gives it; notes every problem in ``form``."""
    found = form.child(field, lambda of: _read(of, forms))
    if found is None:
        form.problem(field, "is missing")
        return Source("")
    return found


def _read(of: Form, forms: tuple[str, ...]) -> Source:
    scale, zero = of.child("quantization", _read_quantization) or (1.0, 0)
    found = Source(
        of.text("output", pattern=IDENTIFIER),
        of.text("form", one_of=forms),
        scale,
        zero,
        of.text("chosen", pattern=IDENTIFIER, default=""),
    )
    refuse_unknown(of)
    return found


def _read_quantization(form: Form) -> tuple[float, int]:
    scale = form.number("scale", low=1 / _LARGEST, high=_LARGEST)
    zero = form.integer("zeroPoint", low=-(2**31), high=2**31)
    refuse_unknown(form)
    return scale, zero


def refuse_unknown(form: Form) -> None:
    """A field that is not known could change what a score means: nothing is guessed."""
    for name in form.rest():
        form.problem(name[:60], "is not a field of this rule")


def find_source(outputs: Mapping[str, Array], decision: str, scale: tuple[float, int] = (1.0, 0)) -> Source:
    """The source of a classifier's scores, by its outputs on calibration samples; ``decision`` names the one that decides.

    Raises DataError where it decides by class indices and no other output has scores for them.
    """
    deciding = outputs[decision]
    if deciding.dtype.kind in "OUS" or are_indices(deciding):
        return _beside(outputs, decision)
    source = Source(decision, "values", *scale)
    return Source(decision, _form(source.rows(outputs)), *scale)


def _beside(outputs: Mapping[str, Array], decision: str) -> Source:
    """Of class indices: the one other output of floats that has as many rows."""
    indices = outputs[decision]
    fitting = [
        name for name, other in outputs.items()
        if name != decision and other.dtype.kind == "f" and 1 <= other.ndim <= 2 and len(other) == len(indices)
    ]  # fmt: skip
    if len(fitting) != 1:
        which = f"{len(fitting)} outputs of floats are beside them: {', '.join(fitting)}" if fitting else "nothing else"
        raise DataError(
            f"the model says classes in {decision!r} and {which}, so that how sure it is cannot be read off",
            remedy='Keep its scores as an output too, or name one that says how sure it is: rule "graph-output".',
        )
    rows = Source(fitting[0], "values").rows(outputs)
    if rows.shape[1] == 1:
        return Source(fitting[0], "winner")
    form = "probabilities" if _in_unit(rows) and (rows.sum(axis=1) <= 1 + _CLOSE).all() else "scores"
    alone = indices.size == len(indices) and indices.dtype.kind in "iu"
    return Source(fitting[0], form, chosen=decision if alone else "")


def _form(rows: Array) -> str:
    if rows.shape[1] == 1:
        return "probability"
    return "probabilities" if sums_to_one(rows) else "scores"


def sums_to_one(rows: Array) -> bool:
    """Whether rows (N, classes) are probabilities of one class each."""
    return _in_unit(rows) and bool((abs(rows.sum(axis=1) - 1) <= _CLOSE).all())


def _in_unit(rows: Array) -> bool:
    return bool((rows >= -_CLOSE).all() and (rows <= 1 + _CLOSE).all())


def finite(found: Array) -> Array:
    """Scores as every rule gives them: what is not finite is not sure."""
    sure: Array = np.where(np.isfinite(found), found, NOT_SURE)
    return sure
