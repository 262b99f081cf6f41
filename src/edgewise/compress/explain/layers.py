"""How far apart two models are layer by layer, as a signal-to-quantization-noise ratio.

Both models answer the same inputs with the results of their layers as further outputs. In a quantized graph (QuantizeLinear and
DequantizeLinear) these are the numbers that the integers stand for. The ratio in decibels is 10 log10(sum a^2 / sum (a - b)^2):
about 6 dB for each bit that both agree on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import inf, log10
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, ValueInfoProto

from edgewise.graph.walk import is_default_domain
from edgewise.graph.writer import Writer
from edgewise.measure.npz import Array
from edgewise.runtime import telemetry

telemetry.disable()

import onnxruntime as ort  # noqa: E402  (the switch above must come first)

__all__ = ["LayerError", "compare_layers", "layers_of"]

#: Operators that count as layers: where numbers are summed up, and precision can be lost.
LAYERS = frozenset({
    "Conv", "ConvTranspose", "Gemm", "MatMul", "GRU", "LSTM", "RNN", "LayerNormalization", "Attention", "Add", "GlobalAveragePool",
    "AveragePool", "Softmax", "MatMulNBits", "FusedConv", "FusedMatMul", "MatMulInteger", "ConvInteger",
})  # fmt: skip
_FLOATS = {"float32", "float64", "float16"}


@dataclass(frozen=True, slots=True)
class LayerError:
    """first, second: names of the layer's result in either model. sqnr: decibels, infinite where they are equal.

    size: numbers compared. peak: largest difference over the largest value of the first.
    """

    operator: str
    first: str
    second: str
    sqnr: float
    peak: float
    size: int

    def to_json(self) -> dict[str, Any]:
        return {
            "operator": self.operator, "first": self.first, "second": self.second,
            "sqnrDb": None if self.sqnr == inf else round(self.sqnr, 3), "peak": round(self.peak, 6), "values": self.size,
        }  # fmt: skip


def layers_of(model: ModelProto) -> list[tuple[NodeProto, str]]:
    """The layers of a model in the order in which they stand, each with the name of its floating-point result."""
    writer = Writer(model)
    found = []
    for node in writer.graph.node:
        known = is_default_domain(node.domain) or node.domain == "com.microsoft"
        if node.op_type in LAYERS and known:
            name = next((name for name in node.output if name and writer.dtype(name) in _FLOATS), None)
            if name is not None:
                found.append((node, name))
    return found


def compare_layers(
    first: ModelProto, second: ModelProto, feeds: Iterable[Mapping[str, Array]]
) -> tuple[LayerError, ...]:
    """The layers of ``first`` that have a counterpart in ``second``, in order; feeds: batches for both.

    Counterparts have the same name, or else come next with the same operator and shape: passes rename, and leave layers out.
    """
    pairs = _pairs(layers_of(first), layers_of(second), first, second)
    if not pairs:
        return ()
    one, other = _opened(first, [a for _, a, _ in pairs]), _opened(second, [b for _, _, b in pairs])
    sums = np.zeros((len(pairs), 2))
    peaks = np.zeros((len(pairs), 2))
    sizes = [0] * len(pairs)
    for feed in feeds:
        ours = one.run([a for _, a, _ in pairs], dict(feed))
        theirs = other.run([b for _, _, b in pairs], dict(feed))
        for at, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            if a.shape != b.shape:
                continue
            apart = np.asarray(a, np.float64) - np.asarray(b, np.float64)
            sums[at] += np.square(a, dtype=np.float64).sum(), np.square(apart).sum()
            peaks[at] = np.maximum(peaks[at], [np.abs(a).max(initial=0), np.abs(apart).max(initial=0)])
            sizes[at] += a.size
    return tuple(
        LayerError(
            operator, a, b, _decibels(*sums[at]), peaks[at, 1] / peaks[at, 0] if peaks[at, 0] else 0.0, sizes[at]
        )
        for at, (operator, a, b) in enumerate(pairs)
        if sizes[at]
    )


def _decibels(signal: float, noise: float) -> float:
    if noise == 0:
        return inf
    return 10 * log10(signal / noise) if signal > 0 else -inf


def _pairs(
    first: Sequence[tuple[NodeProto, str]], second: Sequence[tuple[NodeProto, str]], one: ModelProto, other: ModelProto
) -> list[tuple[str, str, str]]:
    ours, theirs = Writer(one), Writer(other)
    named = {name for _, name in second}
    matched = {name for _, name in first if name in named}
    left = [(node, name) for node, name in second if name not in matched]
    pairs, at = [], 0
    for node, name in first:
        if name in matched:
            pairs.append((node.op_type, name, name))
            continue
        for ahead in range(at, len(left)):
            candidate, label = left[ahead]
            if _alike(node, candidate) and _fits(ours.shape(name), theirs.shape(label)):
                pairs.append((node.op_type, name, label))
                at = ahead + 1
                break
    return pairs


def _alike(first: NodeProto, second: NodeProto) -> bool:
    """The same operator, whatever form a pass or a runtime has given it."""
    family = {"FusedConv": "Conv", "FusedMatMul": "MatMul", "MatMulNBits": "MatMul", "Gemm": "MatMul"}
    return family.get(first.op_type, first.op_type) == family.get(second.op_type, second.op_type)


def _fits(first: Sequence[Any] | None, second: Sequence[Any] | None) -> bool:
    if first is None or second is None or len(first) != len(second):
        return False
    return all(a == b for a, b in zip(first, second, strict=True) if isinstance(a, int) and isinstance(b, int))


def _opened(model: ModelProto, names: Sequence[str]) -> ort.InferenceSession:
    watched = ModelProto()
    watched.CopyFrom(model)
    given = {value.name for value in watched.graph.output}
    watched.graph.output.extend(ValueInfoProto(name=name) for name in dict.fromkeys(names) if name not in given)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    return ort.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
