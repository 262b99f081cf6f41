"""What a model said: the outputs, and where they came from."""

from collections.abc import Mapping
from math import isfinite, isnan
from typing import TYPE_CHECKING, Any

import numpy as np

from edgewise.errors import InputError
from edgewise.runtime.decision import are_indices, class_name, read_detections, top_scores, winners
from edgewise.runtime.engine import Array
from edgewise.runtime.route import Route

if TYPE_CHECKING:
    from edgewise.runtime.session import Origin

__all__ = ["SET_FROM", "Answer"]

#: Of a multi-label output: the value from which a label counts as set.
SET_FROM = 0.5


class Answer:
    """The answer to one call of ``predict``.

    outputs: every output by its name in the interface; arrays keep the batch axis.
    output: the one that decides (the only one, or the one the bundle names); without the batch axis for a single input.
    index, label, score: for classifiers, the winning class, its label and its value (see ``runtime.decision`` for what a
    model may decide by); a list each for a batch. labels: for multi-label models, every label from one half on.
    detections: for detectors, the objects found. tier, variant, engine, provider: where and by what it was computed.
    From a node besides, a list each for a batch: deferred, why: whether another node answered, and the reason in words. degraded:
    the device was not sure, and nobody could be asked. confidence: the deferral rule's score, the higher the surer (None where
    no rule is). spent: tier -> seconds.
    """

    __slots__ = ("_single", "origin", "outputs", "route")

    def __init__(
        self, outputs: Mapping[str, Array], origin: "Origin", single: bool, route: Route | None = None
    ) -> None:
        self.outputs = outputs
        self.origin = origin
        self._single = single
        self.route = route

    @property
    def output(self) -> Array:
        value = self.outputs[self.origin.decision]
        return value[0] if self._single and value.ndim else value

    @property
    def index(self) -> Any:
        self._expect("classification", "index")
        return self._each(winners(self._rows()).tolist())

    @property
    def label(self) -> Any:
        self._expect("classification", "label")
        rows = self._rows()
        if rows.dtype.kind in "OUS":  # the model names its classes itself
            return self._each([str(value) for value in rows.reshape(len(rows), -1)[:, 0]])
        return self._each([class_name(self.origin.labels, index) for index in winners(rows).tolist()])

    @property
    def score(self) -> Any:
        if self.origin.task == "anomaly":
            return self._each(self._real().reshape(len(self._rows()), -1)[:, 0].tolist())
        self._expect("classification", "score")
        apart = (self.origin.decision, *self.origin.also)
        others = [value for name, value in self.outputs.items() if name not in apart]
        return self._each([None if isnan(value) else value for value in top_scores(self._real(), others).tolist()])

    @property
    def labels(self) -> Any:
        self._expect("multilabel", "labels")
        rows = self._real()
        set_ = [np.flatnonzero(row >= SET_FROM).tolist() for row in rows.reshape(len(rows), -1)]
        return self._each([[class_name(self.origin.labels, index) for index in found] for found in set_])

    @property
    def detections(self) -> Any:
        self._expect("detection", "detections")
        return self._each([read_detections(rows, self.origin.labels) for rows in self._rows()])

    def _rows(self) -> Array:
        """The deciding output with the batch axis first."""
        value = self.outputs[self.origin.decision]
        return value if self.origin.batched else value[np.newaxis]

    def _real(self) -> Array:
        """The same in real numbers where it is quantized and the interface states by how much."""
        rows, (scale, zero) = self._rows(), self.origin.scale
        quantized = rows.dtype.kind in "iu" and not are_indices(rows) and (scale, zero) != (1.0, 0)
        return (rows.astype(np.float32) - zero) * scale if quantized else rows

    def _expect(self, task: str, what: str) -> None:
        if self.origin.task != task:
            has = {"classification": "label, index and score", "multilabel": "labels", "detection": "detections"}
            raise InputError(
                f"this is the answer of a model for {self.origin.task}: it has no {what}",
                remedy=f"Read {has.get(self.origin.task, 'output')}, or pack the model with --task {task}.",
            )

    def _each(self, values: list[Any]) -> Any:
        return values[0] if self._single or not self.origin.batched else values

    @property
    def rows(self) -> int:
        """Number of examples that were answered."""
        return 1 if self._single or not self.origin.batched else len(self.outputs[self.origin.decision])

    @property
    def tier(self) -> Any:
        return self._routed("tier", self.origin.tier)

    @property
    def variant(self) -> Any:
        return self._routed("variant", self.origin.variant)

    @property
    def engine(self) -> str:
        return self.origin.engine

    @property
    def provider(self) -> str:
        return self.origin.provider

    @property
    def deferred(self) -> Any:
        return self._routed("deferred", False)

    @property
    def degraded(self) -> Any:
        return self._routed("degraded", False)

    @property
    def why(self) -> Any:
        route = self.route
        return "" if route is None else self._each([route.why(row) for row in range(len(route.confidence))])

    @property
    def confidence(self) -> Any:
        return None if self.route is None else self._each(list(self.route.confidence))

    @property
    def spent(self) -> dict[str, float]:
        if self.route is None:
            return {}
        found = {self.origin.tier: self.route.local}
        for tier, seconds in (self.route.elsewhere or {}).items():
            found[tier] = found.get(tier, 0.0) + seconds
        return found

    def _routed(self, what: str, own: Any) -> Any:
        if self.route is None:
            return own
        if self.route.by is None:
            return self._each([own] * len(self.route.confidence))
        return self._each([getattr(row, what) for row in self.route.by])

    def to_json(self) -> dict[str, Any]:
        """Everything as JSON values, with what the model's task makes of its outputs."""
        value: dict[str, Any] = {
            "tier": self.tier, "variant": self.variant, "engine": self.engine, "provider": self.provider,
            "deferred": self.deferred, "outputs": {name: _plain(array) for name, array in self.outputs.items()},
        }  # fmt: skip
        if self.route is not None:
            value |= {
                "degraded": self.degraded, "why": self.why, "confidence": _finite(self.confidence), "spentSeconds": self.spent,
            }  # fmt: skip
        task = self.origin.task
        if task == "classification":
            value |= {"label": self.label, "score": self.score}
            if self._rows().dtype.kind not in "OUS":
                value["index"] = self.index
        elif task == "multilabel":
            value["labels"] = self.labels
        elif task == "anomaly":
            value["score"] = self.score
        elif task == "detection":
            found = self.detections
            value["detections"] = (
                [item.to_json() for item in found]
                if self._single
                else [[item.to_json() for item in one] for one in found]
            )
        return value

    def __repr__(self) -> str:
        task = self.origin.task
        said = f"outputs={list(self.outputs)}"
        if task == "classification":
            said = f"label={self.label!r}, score={self.score!r}"
        elif task in ("multilabel", "detection"):
            said = f"{task}={(self.labels if task == 'multilabel' else self.detections)!r}"
        return f"Answer({said}, variant={self.variant!r}, engine={self.engine!r}, tier={self.tier!r})"


def _finite(value: Any) -> Any:
    return [_finite(item) for item in value] if isinstance(value, list) else value if isfinite(value) else None


def _plain(array: Array) -> Any:
    """As JSON has it: what is not finite becomes None, text becomes text."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return np.where(np.isfinite(array), array.astype(object), np.array(None)).tolist()
    return array.astype(str).tolist() if array.dtype.kind in "OUS" else array.tolist()
