"""Rules for classifiers: how far the class that was chosen stands out. Formulas and their sources: ``routing.scores``.

``score`` is ``scores`` for one sample, written out: a node pays for it with each answer. A property test holds the two together.

With *temperature* T, scores are divided by it. With *vector scaling* (Guo et al. 2017, arXiv 1706.04599, section 4.2) each class
has a scale and a bias of its own; what counts then is how sure the scaled scores are of the class that the model *decides*, since
scaling changes no decision.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import log
from typing import Any, final

import numpy as np

from edgewise.bundle.fields import Form
from edgewise.routing.rules.source import NOT_SURE, Need, NeedyRule, Source, finite, read_source
from edgewise.runtime.engine import Array

__all__ = ["Energy", "Entropy", "Logits", "Margin", "MaxLogit", "MaxProbability", "forms_of", "make", "read"]

_FLOOR = 1e-12  # of a probability, before its logarithm
_DEEPEST = -700.0  # of a natural logarithm, for which exp is not zero
_MOST_CLASSES = 65_536
_LIMIT = 1e6  # of a class's scale and bias
_TEMPERATURES = (1e-3, 1e3)
_VECTOR = "vector-"
_sum, _exp, _float = np.add.reduce, np.exp, np.float64


@final
@dataclass(frozen=True, slots=True)
class Logits:
    """Scaled class scores. scale, bias: one for each class, or empty; then ``temperature`` counts."""

    source: Source
    temperature: float = 1.0
    scale: tuple[float, ...] = ()
    bias: tuple[float, ...] = ()
    plain: bool = field(init=False, repr=False, compare=False, default=False)
    _gains: Any = field(init=False, repr=False, compare=False, default=None)
    _biases: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        keep = object.__setattr__
        keep(self, "plain", self.source.form != "scores" and self.temperature == 1 and not self.scale)
        if self.scale:
            keep(self, "_gains", np.array(self.scale))
            keep(self, "_biases", np.array(self.bias))

    def row(self, outputs: Mapping[str, Array]) -> tuple[Array, int, float]:
        """(classes,) float64 of one sample, to be written to; the class that was chosen, -1 where they are not finite; the largest.

        ``plain``: these are probabilities, and stay so.
        """
        source = self.source
        row = outputs[source.output].astype(_float).ravel()
        if source.scale != 1.0 or source.zero:
            row -= source.zero
            row *= source.scale
        form = source.form
        if form == "probability":
            row = np.array((1 - row.item(), row.item()))
            at = 1 if row.item(1) >= row.item(0) else 0
        else:
            at = int(row.argmax())
        largest = row.item(at)
        if largest - largest != 0.0:  # NaN wins, where there is one
            return row, -1, largest
        top = at
        if source.chosen:
            at = int(outputs[source.chosen].item(0))
            if not 0 <= at < len(row):
                return row, -1, largest
        if self.plain:
            return row, at, largest
        if form != "scores":
            row = np.log(np.maximum(row, _FLOOR))
        if self._gains is not None:
            row *= self._gains
            row += self._biases
            top = int(row.argmax())
        elif self.temperature != 1.0:
            row /= self.temperature
        return row, at, row.item(top)

    def rows(self, outputs: Mapping[str, Array]) -> tuple[Array, Array]:
        """(N, classes) and (N,) of many samples; NaN throughout where they are not finite."""
        source = self.source
        rows = source.rows(outputs)
        if source.form == "probability":
            rows = np.concatenate([1 - rows, rows], axis=1)
            at = (rows[:, 1] >= rows[:, 0]).astype(np.int64)
        else:
            at = rows.argmax(axis=1)
        every = np.arange(len(rows))
        bad = ~np.isfinite(rows[every, at])
        if source.chosen:
            at = outputs[source.chosen].reshape(len(rows), -1)[:, 0].astype(np.int64)
            bad |= (at < 0) | (at >= rows.shape[1])
        rows[bad], at = np.nan, np.where(bad, 0, at)
        if self.plain:
            return rows, at
        if source.form != "scores":
            rows = np.log(np.maximum(rows, _FLOOR))
        return (rows / self.temperature if self._gains is None else rows * self._gains + self._biases), at

    def unscaled(self, outputs: Mapping[str, Array]) -> Array:
        """(N, classes) before temperature or vector, as logarithms where they are probabilities: what those are fitted to."""
        rows = self.source.rows(outputs)
        if self.source.form == "probability":
            rows = np.concatenate([1 - rows, rows], axis=1)
        return rows if self.source.form == "scores" else np.log(np.maximum(rows, _FLOOR))

    def to_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {"of": self.source.to_json()}
        if self.scale:
            value |= {"scale": list(self.scale), "bias": list(self.bias)}
        elif self.temperature != 1.0:
            value["temperature"] = self.temperature
        return value

    def named(self, name: str) -> str:
        return _VECTOR + name if self.scale else name

    def needs(self) -> tuple[Need, ...]:
        chosen = (Need(self.source.chosen, whole=True),) if self.source.chosen else ()
        width = 1 if self.source.form == "probability" else len(self.scale)
        return (Need(self.source.output, width), *chosen)


@final
@dataclass(frozen=True, slots=True)
class MaxProbability:
    """The probability of the class that was chosen."""

    logits: Logits

    @property
    def name(self) -> str:
        return self.logits.named("max-probability")

    def score(self, outputs: Mapping[str, Array]) -> float:
        row, at, largest = self.logits.row(outputs)
        if at < 0:
            return NOT_SURE
        if self.logits.plain:
            return _known(row.item(at))
        row -= largest
        _exp(row, row)
        return _known(row.item(at) / _sum(row).item())

    def scores(self, outputs: Mapping[str, Array]) -> Array:
        with np.errstate(all="ignore"):
            rows, at = self.logits.rows(outputs)
            shares = rows if self.logits.plain else _softmax(rows)
            return finite(shares[np.arange(len(at)), at])

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, **self.logits.to_json()}

    def needs(self) -> tuple[Need, ...]:
        return self.logits.needs()


@final
@dataclass(frozen=True, slots=True)
class Margin:
    """The probability of the class that was chosen less the largest of the others."""

    logits: Logits

    @property
    def name(self) -> str:
        return self.logits.named("margin")

    def score(self, outputs: Mapping[str, Array]) -> float:
        row, at, largest = self.logits.row(outputs)
        if at < 0:
            return NOT_SURE
        if self.logits.plain:
            total = 1.0
        else:
            row -= largest
            _exp(row, row)
            total = _sum(row).item()
        own = row.item(at)
        row[at] = NOT_SURE
        return _known((own - row.item(row.argmax())) / total)

    def scores(self, outputs: Mapping[str, Array]) -> Array:
        with np.errstate(all="ignore"):
            rows, at = self.logits.rows(outputs)
            shares = rows if self.logits.plain else _softmax(rows)
            every = np.arange(len(at))
            own = shares[every, at]
            shares[every, at] = NOT_SURE
            return finite(own - shares.max(axis=1))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, **self.logits.to_json()}

    def needs(self) -> tuple[Need, ...]:
        return self.logits.needs()


@final
@dataclass(frozen=True, slots=True)
class Entropy:
    """The entropy of the probabilities, negative; nats."""

    logits: Logits

    @property
    def name(self) -> str:
        return self.logits.named("entropy")

    def score(self, outputs: Mapping[str, Array]) -> float:
        row, at, largest = self.logits.row(outputs)
        if at < 0:
            return NOT_SURE
        if self.logits.plain:
            return _known(row.dot(np.log(np.maximum(row, _FLOOR))).item())
        row -= largest
        if row.item(row.argmin()) == NOT_SURE:  # a class that was ruled out has no share, and 0 times infinity is not 0
            np.maximum(row, _DEEPEST, out=row)
        shares = _exp(row)
        total = _sum(shares).item()
        return _known(shares.dot(row).item() / total - log(total)) if total > 0 else NOT_SURE

    def scores(self, outputs: Mapping[str, Array]) -> Array:
        with np.errstate(all="ignore"):
            rows, _ = self.logits.rows(outputs)
            if self.logits.plain:
                return finite((rows * np.log(np.maximum(rows, _FLOOR))).sum(axis=1))
            rows -= rows.max(axis=1, keepdims=True)
            rows = np.maximum(rows, _DEEPEST)
            shares = _exp(rows)
            total = shares.sum(axis=1)
            return finite((shares * rows).sum(axis=1) / total - np.log(total))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, **self.logits.to_json()}

    def needs(self) -> tuple[Need, ...]:
        return self.logits.needs()


@final
@dataclass(frozen=True, slots=True)
class Energy:
    """T log sum exp(scores / T): low for what is like nothing that was learnt. Of scores before softmax alone."""

    logits: Logits

    @property
    def name(self) -> str:
        return self.logits.named("energy")

    def score(self, outputs: Mapping[str, Array]) -> float:
        row, at, largest = self.logits.row(outputs)
        if at < 0:
            return NOT_SURE
        row -= largest
        total = _sum(_exp(row, row)).item()
        return _known(self.logits.temperature * (largest + log(total))) if total > 0 else NOT_SURE

    def scores(self, outputs: Mapping[str, Array]) -> Array:
        with np.errstate(all="ignore"):
            rows, _ = self.logits.rows(outputs)
            largest = rows.max(axis=1)
            total = _exp(rows - largest[:, None]).sum(axis=1)
            return finite(self.logits.temperature * (largest + np.log(total)))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, **self.logits.to_json()}

    def needs(self) -> tuple[Need, ...]:
        return self.logits.needs()


@final
@dataclass(frozen=True, slots=True)
class MaxLogit:
    """The score of the class that was chosen, before softmax (Hendrycks et al. 2022, arXiv 1911.11132)."""

    logits: Logits

    @property
    def name(self) -> str:
        return "max-logit"

    def score(self, outputs: Mapping[str, Array]) -> float:
        row, at, _ = self.logits.row(outputs)
        return NOT_SURE if at < 0 else _known(row.item(at))

    def scores(self, outputs: Mapping[str, Array]) -> Array:
        rows, at = self.logits.rows(outputs)
        return finite(rows[np.arange(len(at)), at])

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, **self.logits.to_json()}

    def needs(self) -> tuple[Need, ...]:
        return self.logits.needs()


#: Name without ``vector-`` -> rule, and the forms of which it makes sense.
_RULES: Mapping[str, tuple[type[Any], tuple[str, ...]]] = {
    "max-probability": (MaxProbability, ("scores", "probabilities", "probability", "winner")),
    "margin": (Margin, ("scores", "probabilities", "probability")),
    "entropy": (Entropy, ("scores", "probabilities", "probability")),
    "energy": (Energy, ("scores",)),
    "max-logit": (MaxLogit, ("scores",)),
}


def make(name: str, logits: Logits) -> NeedyRule:
    """The rule of that name."""
    rule: NeedyRule = _RULES[name.removeprefix(_VECTOR)][0](logits)
    return rule


def forms_of(name: str) -> tuple[str, ...]:
    """The forms of a source that a rule can look at."""
    return tuple(
        form for form in _RULES[name.removeprefix(_VECTOR)][1] if form != "winner" or not name.startswith(_VECTOR)
    )


def read(name: str, form: Form) -> NeedyRule | None:
    """The rule ``name`` as ``to_json`` gives it; notes every problem in ``form``, and is None where there is one."""
    source = read_source(form, forms=forms_of(name))
    scale: tuple[float, ...] = ()
    bias: tuple[float, ...] = ()
    temperature = 1.0
    if name.startswith(_VECTOR):
        what = f"a number within {_LIMIT:g}"
        scale = tuple(
            form.values(
                "scale", lambda value: _bounded(value) and value != 0, f"{what} that is not 0", limit=_MOST_CLASSES
            )
        )
        bias = tuple(form.values("bias", _bounded, what, limit=_MOST_CLASSES))
        if len(scale) < 2 or len(scale) != len(bias):
            form.problem(
                "scale",
                f"one scale and one bias for each of two classes or more are needed, not {len(scale)} and {len(bias)}",
            )
            scale = bias = ()
    elif name != "max-logit":
        temperature = form.number("temperature", low=_TEMPERATURES[0], high=_TEMPERATURES[1], default=1.0)
    if form.problems:
        return None
    return make(name, Logits(source, temperature, tuple(map(float, scale)), tuple(map(float, bias))))


def _bounded(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -_LIMIT <= value <= _LIMIT


def _softmax(rows: Array) -> Array:
    shares: Array = _exp(rows - rows.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return shares


def _known(found: float) -> float:
    return found if found - found == 0.0 else NOT_SURE
