"""A deferral rule: from what a model said to one number a sample, the higher the surer. What a calibration stores of it."""

from collections.abc import Mapping
from typing import Any, Protocol

from edgewise.runtime.engine import Array

__all__ = ["HEAD_OUTPUT", "Rule"]

#: Output (N, 1) of a model's file, beyond its interface, that a learnt deferral head gives.
HEAD_OUTPUT = "deferral_score"


class Rule(Protocol):
    """Frozen and pure. ``name`` is one of ``rules.KINDS``; ``to_json`` gives {"name": ..., parameters}, for ``read_rule``."""

    @property
    def name(self) -> str: ...

    def scores(self, outputs: Mapping[str, Array]) -> Array:
        """(N,) float64, finite, of outputs by the interface's name with the batch axis first."""
        ...

    def score(self, outputs: Mapping[str, Array]) -> float:
        """The same for one sample (batch axis of 1), in microseconds: what a node calls for each answer."""
        ...

    def to_json(self) -> dict[str, Any]: ...
