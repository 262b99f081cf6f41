"""A model with weights of its own as an engine's session: what stands behind ``predict`` of a personalised model."""

from collections.abc import Callable, Mapping, Sequence
from threading import Lock

import numpy as np

from edgewise.bundle.safetensors import Array
from edgewise.errors import ModelError, UnsupportedError
from edgewise.runtime.engine import Placement, TensorInfo
from edgewise.training.run.bound_graph import BoundGraph
from edgewise.training.run.step_file import StepSpec

__all__ = ["ForwardSession", "LiveSession"]


class LiveSession:
    """Answers with the weights that a trainer holds at that moment. For one caller at a time."""

    def __init__(self, spec: StepSpec, predict: Callable[[Mapping[str, Array]], dict[str, Array]]) -> None:
        self.inputs, self.outputs = _interface(spec)
        self._predict = predict

    def run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """See EngineSession."""
        return self._predict(feeds)

    def placement(self) -> Placement:
        """Raises UnsupportedError: it is not recorded."""
        raise _no_placement()

    def close(self) -> None:
        """Nothing: the trainer keeps what it needs."""


class ForwardSession:
    """Answers with one set of weights that stays as it is. Safe to call from several threads, which take turns."""

    def __init__(self, spec: StepSpec, forward: bytes, weights: Mapping[str, Array], threads: int = 1) -> None:
        """weights: state input -> array, parameters and buffers. Raises ModelError where the graph cannot be opened."""
        self.inputs, self.outputs = _interface(spec)
        self._spec = spec
        self._graph: BoundGraph | None = BoundGraph(forward, "the personalised model", threads)
        self._scalars = {
            scalar.name: np.array(scalar.default, scalar.dtype)
            for scalar in spec.scalars
            if scalar.name in self._graph.inputs
        }
        self._lock = Lock()
        for name in self._graph.inputs:
            if name in weights or name in self._scalars:
                self._graph.feed(name, weights[name] if name in weights else self._scalars[name])

    def run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """See EngineSession."""
        with self._lock:
            if self._graph is None:
                raise ModelError("this session is closed", remedy="Load the bundle again.")
            for name, array in feeds.items():
                self._graph.feed(name, array)
            return self._graph.run([value.name for value in self._spec.forward_outputs])

    def placement(self) -> Placement:
        """Raises UnsupportedError: it is not recorded."""
        raise _no_placement()

    def close(self) -> None:
        """Release the graph."""
        with self._lock:
            self._graph = None


def _interface(spec: StepSpec) -> tuple[Sequence[TensorInfo], Sequence[TensorInfo]]:
    inputs, outputs = (
        tuple(TensorInfo(value.name, value.dtype, value.shape) for value in side)
        for side in (spec.inputs, spec.forward_outputs)
    )
    return inputs, outputs


def _no_placement() -> UnsupportedError:
    return UnsupportedError(
        "a personalised model does not record its placement",
        remedy="It runs on the CPU by onnxruntime; load the bundle without personal weights to require a provider.",
    )
