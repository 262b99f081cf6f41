"""What an edge model and its upstream said of every held-out sample of a task, and the score that says how sure the edge is."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from edgewise.measure.npz import Array
from edgewise.routing.risk import oracle_offload
from edgewise.routing.scores import RULES, fit_temperature

_APART = 500  # samples that a score is chosen on; a tenth of the pool where it has fewer than 5,000
_SCORES = ("max-probability", "margin", "entropy")
_FOR = 0.01  # epsilon that it is chosen for


@dataclass(frozen=True, eq=False)
class Pool:
    """edge: form -> class scores (N, classes) before softmax. deployed: the form that answers. upstream: log-probabilities (N,
    classes). y: (N,) classes, -1 where none is right. group: (N,) what a sample is a copy of, its speaker or its scan. bytes: of
    models, by form, and "upstream". rules: form -> score by name, and its temperature.
    """

    name: str
    edge: Mapping[str, Array]
    upstream: Array
    y: Array
    group: Array
    bytes: Mapping[str, int]
    about: str
    deployed: str = "int8"
    rules: Mapping[str, tuple[str, float]] = field(default_factory=lambda: MappingProxyType({}))

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: Array) -> "Pool":
        edge = {form: scores[rows] for form, scores in self.edge.items()}
        return replace(self, edge=edge, upstream=self.upstream[rows], y=self.y[rows], group=self.group[rows])

    @property
    def samples(self) -> int:
        """To calibrate with: 3,000, or half of what there is."""
        return 3000 if len(self) >= 5000 else len(self) // 2

    @property
    def upstream_right(self) -> Array:
        right: Array = self.upstream.argmax(axis=1) == self.y
        return right

    @property
    def copies(self) -> Array:
        """(N,) what is split together: noisy copies of one image; else each sample by itself."""
        return self.group if len(np.unique(self.group)) > 20 else np.arange(len(self))

    def right(self, form: str = "") -> Array:
        found: Array = self.edge[form or self.deployed].argmax(axis=1) == self.y
        return found

    def disagree(self, form: str = "") -> Array:
        found: Array = self.edge[form or self.deployed].argmax(axis=1) != self.upstream.argmax(axis=1)
        return found

    def score(self, form: str = "", rule: str | None = None) -> Array:
        """(N,) by the rule of ``form``, or that of the form ``rule`` on what ``form`` says."""
        name, temperature = self.rules[rule or form or self.deployed]
        return RULES[name](self.edge[form or self.deployed], temperature)


def set_apart(pool: Pool, seed: int = 17) -> Pool:
    """The pool without some samples that nothing else looks at, and with the score for each form that is best on those.

    The temperature is fitted there; the score is the one at which the least would be passed on for one point of disagreement.
    """
    names, which = np.unique(pool.copies, return_inverse=True)
    share = _APART / len(pool) if len(pool) >= 5000 else 0.1
    drawn = np.random.default_rng(seed).permutation(len(names))[: round(share * len(names))]
    apart = np.isin(which, drawn)
    seen = pool.take(apart)
    rules = {}
    for form, scores in seen.edge.items():
        temperature = fit_temperature(scores, seen.y)
        cost = {
            name: oracle_offload(RULES[name](scores, temperature), seen.disagree(form).astype(np.float64), _FOR)
            for name in _SCORES
        }
        rules[form] = (min(cost, key=cost.__getitem__), temperature)
    return replace(pool.take(~apart), rules=rules)
