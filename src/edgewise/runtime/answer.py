"""What a model said: the outputs, and where they came from."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewise.runtime.engine import Array

if TYPE_CHECKING:
    from edgewise.runtime.session import Origin

__all__ = ["Answer"]


class Answer:
    """The answer to one call of ``predict``.

    outputs: every output by its name in the interface; arrays keep the batch axis.
    output: the one that decides (the only one, or the one the bundle names); without the batch axis for a single input.
    index, label, score: for classifiers, the winning class, its label and its value; a list each for a batch.
    tier, variant, engine, provider: where and by what it was computed. deferred, why: whether another node was asked.
    """

    __slots__ = ("_single", "origin", "outputs")

    def __init__(self, outputs: Mapping[str, Array], origin: "Origin", single: bool) -> None:
        self.outputs = outputs
        self.origin = origin
        self._single = single

    @property
    def output(self) -> Array:
        value = self.outputs[self.origin.decision]
        return value[0] if self._single and value.ndim else value

    @property
    def index(self) -> Any:
        winners = np.argmax(self.outputs[self.origin.decision], axis=-1)
        return int(winners.flat[0]) if self._single else winners.tolist()

    @property
    def label(self) -> Any:
        index, labels = self.index, self.origin.labels
        return [_named(labels, item) for item in index] if isinstance(index, list) else _named(labels, index)

    @property
    def score(self) -> Any:
        best = np.max(self.outputs[self.origin.decision], axis=-1)
        return float(best.flat[0]) if self._single else best.tolist()

    @property
    def tier(self) -> str:
        return self.origin.tier

    @property
    def variant(self) -> str:
        return self.origin.variant

    @property
    def engine(self) -> str:
        return self.origin.engine

    @property
    def provider(self) -> str:
        return self.origin.provider

    @property
    def deferred(self) -> bool:
        return False

    @property
    def why(self) -> str:
        return ""

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values; for classifiers with label and score instead of raw numbers alone."""
        value: dict[str, Any] = {
            "tier": self.tier, "variant": self.variant, "engine": self.engine, "provider": self.provider,
            "deferred": self.deferred, "outputs": {name: array.tolist() for name, array in self.outputs.items()},
        }  # fmt: skip
        if self.origin.classifies:
            value |= {"label": self.label, "index": self.index, "score": self.score}
        return value

    def __repr__(self) -> str:
        said = (
            f"label={self.label!r}, score={self.score!r}" if self.origin.classifies else f"outputs={list(self.outputs)}"
        )
        return f"Answer({said}, variant={self.variant!r}, engine={self.engine!r}, tier={self.tier!r})"


def _named(labels: tuple[str, ...], index: int) -> str:
    return labels[index] if index < len(labels) else str(index)
