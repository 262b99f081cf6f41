"""Rules by likeness to what was learnt: for embeddings, and to tell inputs that belong to no class.

- ``prototype-similarity``: cosine to the nearest prototype. Low for what is like nothing that was seen.
- ``prototype-ratio``: one less the distance to the nearest over that to the nearest *other* (Lowe 2004, section 7.1; cosine).
  Low for what lies between two.
- ``mahalanobis``: the negative squared distance to the nearest class mean in units of how samples of one class scatter (Lee et al.
  2018, arXiv 1807.03888): values are first multiplied by ``whiten``, in which that scatter is the same in all directions.

Prototypes are class means or, without classes, centres of k-means. What they are compared with is an embedding that the model has
as an output, or its scores.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import sqrt
from typing import Any, final

import numpy as np

from edgewise.bundle.fields import Form
from edgewise.routing.rules.source import NOT_SURE, Need, NeedyRule, Source, finite, read_source
from edgewise.routing.rules.table import Table, read_table
from edgewise.runtime.engine import Array

__all__ = ["Mahalanobis", "PrototypeRatio", "PrototypeSimilarity", "read"]

_SAME = 1e-6  # cosine distance below which two things are one: a ratio of two such is noise
_MOST_GROUPS = 2**18


@final
@dataclass(frozen=True, slots=True)
class PrototypeSimilarity:
    """prototypes: rows of length one."""

    source: Source
    prototypes: Table

    @property
    def name(self) -> str:
        return "prototype-similarity"

    def score(self, outputs: Mapping[str, Array]) -> float:
        row = self.source.row(outputs)
        length = sqrt(row.dot(row).item())
        if not 0 < length < np.inf:
            return NOT_SURE
        return np.maximum.reduce(self.prototypes.array.dot(row)).item() / length

    def scores(self, outputs: Mapping[str, Array]) -> Array:
        return finite(_alike(self.source, self.prototypes, outputs).max(axis=1))

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "of": self.source.to_json(), "prototypes": self.prototypes.to_json()}

    def needs(self) -> tuple[Need, ...]:
        return (Need(self.source.output, self.prototypes.array.shape[1]),)


@final
@dataclass(frozen=True, slots=True)
class PrototypeRatio:
    """group: which prototypes stand for the same thing; empty where each is its own."""

    source: Source
    prototypes: Table
    group: tuple[int, ...] = ()
    _groups: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_groups", np.array(self.group or range(self.prototypes.rows)))

    @property
    def name(self) -> str:
        return "prototype-ratio"

    def score(self, outputs: Mapping[str, Array]) -> float:
        row = self.source.row(outputs)
        length = sqrt(row.dot(row).item())
        if not 0 < length < np.inf:
            return NOT_SURE
        alike = self.prototypes.array.dot(row)
        at = alike.argmax()
        first = alike.item(at)
        alike[self._groups == self._groups[at]] = -np.inf
        return _ratio(first / length, np.maximum.reduce(alike).item() / length)

    def scores(self, outputs: Mapping[str, Array]) -> Array:
        alike = _alike(self.source, self.prototypes, outputs)
        at = alike.argmax(axis=1)
        first = alike[np.arange(len(at)), at]
        alike[self._groups[None] == self._groups[at][:, None]] = -np.inf
        with np.errstate(invalid="ignore"):
            return finite(_ratio(first, alike.max(axis=1)))

    def to_json(self) -> dict[str, Any]:
        value = {"name": self.name, "of": self.source.to_json(), "prototypes": self.prototypes.to_json()}
        return {**value, "group": list(self.group)} if self.group else value

    def needs(self) -> tuple[Need, ...]:
        return (Need(self.source.output, self.prototypes.array.shape[1]),)


def _ratio(first: Any, second: Any) -> Any:
    return 1 - (1 - first + _SAME) / (1 - second + _SAME)


def _alike(source: Source, prototypes: Table, outputs: Mapping[str, Array]) -> Array:
    """(N, prototypes) cosines; NaN where a row is zero or not finite."""
    rows = source.rows(outputs)
    with np.errstate(all="ignore"):
        length = np.sqrt(np.einsum("nd,nd->n", rows, rows))
        length = np.where((length > 0) & np.isfinite(length), length, np.nan)
        found: Array = (np.where(np.isfinite(length)[:, None], rows, 0) @ prototypes.array.T) / length[:, None]
    return found


@final
@dataclass(frozen=True, slots=True)
class Mahalanobis:
    """whiten: (values, directions). prototypes: (classes, directions), class means after it."""

    source: Source
    whiten: Table
    prototypes: Table
    _turned: Any = field(init=False, repr=False, compare=False, default=None)
    _halves: Any = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_turned", np.ascontiguousarray(self.whiten.array.T))
        object.__setattr__(self, "_halves", np.square(self.prototypes.array).sum(axis=1) / 2)

    @property
    def name(self) -> str:
        return "mahalanobis"

    def score(self, outputs: Mapping[str, Array]) -> float:
        row = self._turned.dot(self.source.row(outputs))
        own = row.dot(row).item()
        if own - own != 0.0:
            return NOT_SURE
        nearest = self.prototypes.array.dot(row)
        nearest -= self._halves
        found: float = 2 * nearest.item(nearest.argmax()) - own
        return found

    def scores(self, outputs: Mapping[str, Array]) -> Array:
        with np.errstate(all="ignore"):
            rows = self.source.rows(outputs) @ self.whiten.array
            nearest = rows @ self.prototypes.array.T - self._halves
            return finite(2 * nearest.max(axis=1) - np.square(rows).sum(axis=1))

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "of": self.source.to_json(), "whiten": self.whiten.to_json(),
            "prototypes": self.prototypes.to_json(),
        }  # fmt: skip

    def needs(self) -> tuple[Need, ...]:
        return (Need(self.source.output, self.whiten.rows),)


def read(name: str, form: Form) -> NeedyRule | None:
    """The rule ``name`` as ``to_json`` gives it; notes every problem in ``form``."""
    source = read_source(form, forms=("values", "scores", "probabilities"))
    prototypes = read_table(form, "prototypes")
    if name == "mahalanobis":
        whiten = read_table(form, "whiten")
        if not form.problems and whiten.array.shape[1] != prototypes.array.shape[1]:
            form.problem("whiten", f"{whiten.array.shape[1]} directions, and prototypes of {prototypes.array.shape[1]}")
        return Mahalanobis(source, whiten, prototypes)
    if name == "prototype-similarity":
        return PrototypeSimilarity(source, prototypes)
    group = form.values("group", _is_group, "a whole number from 0 on", limit=_MOST_GROUPS)
    if form.problems:
        return None
    if group and len(group) != prototypes.rows:
        form.problem("group", f"one for each of {prototypes.rows} prototypes is needed, not {len(group)}")
        return None
    if len(set(group or range(prototypes.rows))) < 2:
        form.problem("group", "a ratio needs prototypes of two groups or more")
        return None
    return PrototypeRatio(source, prototypes, tuple(group))


def _is_group(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31
