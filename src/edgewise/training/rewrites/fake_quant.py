"""Training that knows it will be quantized: values are rounded on the way forward, with learnt step sizes (LSQ).

Esser et al., Learned Step Size Quantization (ICLR 2020). With step s and limits low <= 0 < high, in whole steps,

    v = clip(x / s, low, high)      y = round(v) * s

Backwards rounding counts as the identity (straight-through: v + stop(round(v) - v)), which gives their equations 3 and 5: x gets
dy inside the limits and nothing outside; s gets dy times round(v) - x/s inside, low or high outside. The gradient of s is scaled
by 1/sqrt(N high), N being the number of values that share it (section 2.2).

Activations may have a zero point: an integer fixed by the range they were seen in; it only moves the limits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod, sqrt

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto

from edgewise.errors import InputError, UnsupportedError
from edgewise.graph.writer import Writer
from edgewise.training.losses.loss import stopped
from edgewise.training.rewrites.opening import attribute, closed, node_name, opened
from edgewise.training.rewrites.patterns import matching

__all__ = ["FakeQuantized", "Quantizer", "fake_quantize", "quantized_activations", "write_quantizer"]

#: Operators whose inputs are quantized.
OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_LEAST = 1e-8  # step sizes stay above this: one that reached 0 would never come back
_BYTE = 255


@dataclass(frozen=True, slots=True)
class Quantizer:
    """One place where values are rounded. value -> output, in the graph; ``scale`` is an initializer, () or (channels,).

    dtype: "int8" or "uint8", what it will be stored as. zero_point: what 0 becomes. axis: of the channels; None for one scale.
    span: the lowest and highest integer in use, where these are not the dtype's own (-127 for weights with channels).
    """

    value: str
    output: str
    scale: str
    dtype: str
    zero_point: int
    axis: int | None
    span: tuple[int, int] | None = None

    @property
    def limits(self) -> tuple[int, int]:
        """Lowest and highest whole number of steps."""
        low, high = self.span or ((0, 255) if self.dtype == "uint8" else (-127 if self.axis is not None else -128, 127))
        return low - self.zero_point, high - self.zero_point


@dataclass(frozen=True, slots=True)
class FakeQuantized:
    """model: the graph with rounding in it. scales: its new trainable initializers. quantizers: where, for the export."""

    model: ModelProto
    scales: tuple[str, ...]
    quantizers: tuple[Quantizer, ...]


def quantized_activations(model: ModelProto, nodes: Sequence[str] = ("*",)) -> tuple[str, ...]:
    """The values that ``fake_quantize`` with these ``nodes`` needs ranges of."""
    writer = opened(model)
    found = {name for node in _chosen(writer, nodes) for name in node.input[:2] if writer.array(name) is None}
    return tuple(sorted(found))


def fake_quantize(
    model: ModelProto,
    ranges: Mapping[str, tuple[float, float]],
    nodes: Sequence[str] = ("*",),
    *,
    symmetric: bool = False,
) -> FakeQuantized:
    """Round weights (int8, one step for each output channel) and activations (one step) of Conv, Gemm and MatMul nodes.

    nodes: shell patterns of their names. ranges: lowest and highest value of each activation in ``quantized_activations``, as
    seen in inference; the first step sizes and the zero points come from them. symmetric: activations as int8 around 0, else
    uint8 with a zero point. Biases stay as they are.
    Raises InputError where a pattern matches nothing or a range is missing or not finite.
    """
    writer = opened(model)
    chosen = _chosen(writer, nodes)
    missing = sorted({n for node in chosen for n in node.input[:2] if writer.array(n) is None and not _seen(ranges, n)})
    if missing:
        raise InputError(
            f"no finite range for {', '.join(missing)}", remedy="Measure them: activation_ranges.", missing=missing
        )
    made: dict[tuple[str, int | None], Quantizer] = {}
    for node in chosen:
        for at in (0, 1):
            name = node.input[at]
            axis = _channel_axis(writer, node, at)
            key = (name, axis)
            if key not in made:
                made[key] = (
                    _activation(writer, name, ranges[name], symmetric)
                    if writer.array(name) is None
                    else _weight(writer, name, axis)
                )
            node.input[at] = made[key].output
    found = tuple(made.values())
    return FakeQuantized(closed(writer), tuple(dict.fromkeys(q.scale for q in found)), found)


def write_quantizer(writer: Writer, quantizer: Quantizer, count: int) -> None:
    """Write the rounding of ``quantizer.value`` into ``quantizer.output``. count: how many values share a step, for LSQ."""
    w, dtype = writer, writer.dtype(quantizer.value)
    low, high = quantizer.limits
    rank = len(w.shape(quantizer.value) or ())
    ease = 1 / sqrt(count * high) if high > 0 else 1.0
    step = w.node("Max", quantizer.scale, w.constant(_LEAST, dtype))
    eased = w.node("Mul", step, w.constant(ease, dtype))
    # The value of the step, exactly, with the eased gradient.
    step = w.node("Add", stopped(w, step), w.node("Sub", eased, stopped(w, eased)))
    if quantizer.axis is not None:
        step = w.node("Reshape", step, w.ints(*(-1 if at == quantizer.axis else 1 for at in range(rank))))
    steps = w.node("Clip", w.node("Div", quantizer.value, step), w.constant(low, dtype), w.constant(high, dtype))
    whole = w.node("Add", steps, stopped(w, w.node("Sub", w.node("Round", steps), steps)))
    w.append_named("Mul", [whole, step], [quantizer.output])
    w.declare(quantizer.output, dtype, w.shape(quantizer.value))


def _chosen(writer: Writer, nodes: Sequence[str]) -> list[NodeProto]:
    found = [node for node in writer.graph.node if node.op_type in OPERATORS and node.domain in {"", "ai.onnx"}]
    wanted = set(matching(nodes, [node_name(node) for node in found], f"{', '.join(OPERATORS)} nodes"))
    return [node for node in found if node_name(node) in wanted]


def _seen(ranges: Mapping[str, tuple[float, float]], name: str) -> bool:
    return name in ranges and bool(np.isfinite(ranges[name]).all())


def _channel_axis(writer: Writer, node: NodeProto, at: int) -> int | None:
    """Axis of a weight along which each output channel lies; None for activations."""
    array = writer.array(node.input[at])
    if array is None:
        return None
    if node.op_type in {"Conv", "ConvTranspose"}:
        # With groups a ConvTranspose shares its columns among them: one step for all then.
        if node.op_type == "ConvTranspose":
            return 1 if attribute(node, "group", 1) == 1 else None
        return 0
    if array.ndim < 2:
        return None
    turned = node.op_type == "Gemm" and bool(attribute(node, "transA" if at == 0 else "transB", 0))
    rows = (at == 0) != turned
    return array.ndim - (2 if rows else 1)


def _weight(writer: Writer, name: str, axis: int | None) -> Quantizer:
    array = writer.array(name)
    assert array is not None, name
    if array.dtype.kind != "f":
        raise UnsupportedError(f"{name!r} is {array.dtype.name}: only floating-point weights can be rounded")
    others = tuple(at for at in range(array.ndim) if at != axis)
    most = np.abs(array).max(axis=others if axis is not None else None)
    scale = np.maximum(most / 127, _LEAST).astype(array.dtype)
    return _placed(writer, name, np.asarray(scale), "int8", 0, axis, array.size // scale.size)


def _activation(writer: Writer, name: str, seen: tuple[float, float], symmetric: bool) -> Quantizer:
    shape = writer.shape(name)
    dtype = writer.dtype(name)
    if shape is None or not dtype.startswith("float"):
        raise UnsupportedError(f"the type or shape of {name!r} is not known, so it cannot be rounded")
    low, high = min(seen[0], 0.0), max(seen[1], 0.0)
    count = prod(dim for dim in shape[1:] if isinstance(dim, int))
    if symmetric:
        scale = max(-low, high) / 127
        return _placed(writer, name, np.asarray(max(scale, _LEAST), dtype), "int8", 0, None, count)
    scale = max((high - low) / _BYTE, _LEAST)
    zero = int(np.clip(np.round(-low / scale), 0, _BYTE - 1))
    return _placed(writer, name, np.asarray(scale, dtype), "uint8", zero, None, count)


def _placed(
    w: Writer, name: str, scale: npt.NDArray[np.generic], dtype: str, zero: int, axis: int | None, count: int
) -> Quantizer:
    stored = w.store(w.fresh(f"{name}/scale"), scale)
    quantizer = Quantizer(name, w.fresh(f"{name}/rounded"), stored, dtype, zero, axis)
    write_quantizer(w, quantizer, max(count, 1))
    return quantizer
