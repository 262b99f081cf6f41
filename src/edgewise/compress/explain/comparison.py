"""Two models side by side: everything that ``edgewise diff`` says, measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import ModelProto

from edgewise.clock import Clock, SystemClock
from edgewise.compress.explain.decisions import Decisions, compare_decisions
from edgewise.compress.explain.layers import LayerError, compare_layers
from edgewise.compress.explain.sizes import SizeShare, sizes_of
from edgewise.compress.explain.times import TimeShare, times_of
from edgewise.errors import InputError
from edgewise.graph.inspect import ValueSummary, describe
from edgewise.measure.latency import Latency, interleave
from edgewise.measure.npz import Array
from edgewise.runtime.engine import EngineSession, OpenOptions, find_engine

__all__ = ["Comparison", "Side", "compare"]

_AT_ONCE, _FOR_LAYERS = 32, 64
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two models. bytes: of its file."""

    name: str
    bytes: int
    latency: Latency
    sizes: tuple[SizeShare, ...]
    times: tuple[TimeShare, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "bytes": self.bytes, "latency": self.latency.to_json(),
            "sizes": [share.to_json() for share in self.sizes], "times": [share.to_json() for share in self.times],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Comparison:
    """output: the one that decides. layers: those with a counterpart. decisions: None where the output is no decision."""

    first: Side
    second: Side
    output: str
    samples: int
    layers: tuple[LayerError, ...]
    decisions: Decisions | None
    difference: float

    def to_json(self) -> dict[str, Any]:
        return {
            "first": self.first.to_json(), "second": self.second.to_json(), "output": self.output, "samples": self.samples,
            "layers": [layer.to_json() for layer in self.layers], "worstDifference": self.difference,
            "decisions": None if self.decisions is None else self.decisions.to_json(),
        }  # fmt: skip


def compare(
    first: tuple[str, ModelProto], second: tuple[str, ModelProto], x: Array, y: Array | None = None, *, output: str = "",
    clock: Clock | None = None, progress: Progress = lambda what, done, total: None, seconds: float = 2.0,
    sizes: tuple[int, int] | None = None,
) -> Comparison:  # fmt: skip
    """Compare two models (name, model) of one interface on samples ``x`` (N, ...); y: their true classes, where known.

    output: the one that decides, the first where none is named. sizes: bytes of their files, where the models in memory have more.
    Raises InputError where the interfaces differ.
    """
    entering, output = _interface(first, second, output)
    at_once = _batch(first[1])
    counted = sizes or (first[1].ByteSize(), second[1].ByteSize())
    models = {"first": first[1], "second": second[1]}
    opened = {key: _opened(model) for key, model in models.items()}
    try:
        progress("answers", 0, 4)
        answers = {key: _answers(session, entering, output, x, at_once) for key, session in opened.items()}
        progress("layers", 1, 4)
        some = range(0, min(len(x), _FOR_LAYERS), at_once)
        feeds = [{entering: np.ascontiguousarray(x[at : at + at_once])} for at in some]
        layers = compare_layers(first[1], second[1], feeds)
        progress("latency", 2, 4)
        one = {entering: np.ascontiguousarray(x[:1])}
        calls = {key: _call(session, one) for key, session in opened.items()}
        timed = interleave(calls, clock=clock or SystemClock(), max_seconds=seconds)
        progress("time of each node", 3, 4)
        sides = [
            Side(name, size, timed[key], sizes_of(model, size), times_of(model, one))
            for (key, (name, model)), size in zip((("first", first), ("second", second)), counted, strict=True)
        ]
        progress("done", 4, 4)
    finally:
        for session in opened.values():
            session.close()
    a, b = answers["first"], answers["second"]
    decides = a.ndim == 2 and a.shape[1] > 1
    apart = float(np.max(np.abs(a.astype(np.float64) - b.astype(np.float64)), initial=0.0))
    truth = y if y is not None and y.ndim == 1 and y.dtype.kind in "iub" else None
    return Comparison(
        sides[0], sides[1], output, len(x), layers, compare_decisions(a, b, truth) if decides else None, apart
    )


def _interface(first: tuple[str, ModelProto], second: tuple[str, ModelProto], output: str) -> tuple[str, str]:
    ours, theirs = describe(first[1]), describe(second[1])
    if [_form(v) for v in ours.inputs] != [_form(v) for v in theirs.inputs]:
        raise InputError(
            f"{first[0]} takes {_shown(ours.inputs)}, and {second[0]} {_shown(theirs.inputs)}",
            remedy="Compare forms of one model: the same inputs, by name, type and shape.",
        )
    if len(ours.inputs) != 1:
        raise InputError(f"{first[0]} has {len(ours.inputs)} inputs; models of one input can be compared")
    names = [value.name for value in ours.outputs if value.name in {other.name for other in theirs.outputs}]
    if not names or (output and output not in names):
        raise InputError(f"the outputs that both have are {', '.join(names) or 'none'}", remedy="Name one: --output.")
    return ours.inputs[0].name, output or names[0]


def _shown(values: Sequence[ValueSummary]) -> str:
    return "; ".join(f"{v.name}: {v.dtype} ({', '.join(map(str, v.shape or ()))})" for v in values)


def _form(value: ValueSummary) -> tuple[Any, ...]:
    dims = tuple(dim if isinstance(dim, int) else None for dim in value.shape or ())
    return value.name, value.dtype, dims


def _opened(model: ModelProto) -> EngineSession:
    return find_engine("onnxruntime").open({"model.onnx": model.SerializeToString()}, OpenOptions(threads=1))


def _call(session: EngineSession, feed: Mapping[str, Array]) -> Callable[[], object]:
    return lambda: session.run(dict(feed))


def _batch(model: ModelProto) -> int:
    """Samples at a time: as many as the model fixes, if it does."""
    shape = describe(model).inputs[0].shape
    return shape[0] if shape and isinstance(shape[0], int) else _AT_ONCE


def _answers(session: EngineSession, entering: str, output: str, x: Array, at_once: int) -> Array:
    parts = [
        session.run({entering: np.ascontiguousarray(x[at : at + at_once])})[output].copy()
        for at in range(0, len(x), at_once)
    ]
    return np.concatenate(parts)
