"""Scales and normalisations drawn into the layer behind them: its weights take them over, and a node falls away.

onnxruntime draws a normalisation into the convolution before it, never into what comes after. A scale by one number commutes with
everything that only arranges values, and with a shift (s x + b = s (x + b / s), b a number for each place or one for all, and zero
padding stays zero padding); a normalisation of pooled channels, N x C, goes into a dense layer whole.
"""

from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto

from edgewise.compress.graph.forms.links import Links
from edgewise.graph.writer import Writer
from edgewise.measure.npz import Array
from edgewise.training.rewrites.opening import attribute, closed, opened, remove

__all__ = ["scales_drawn_in"]

_ARRANGING = {"Transpose", "Unsqueeze", "Squeeze", "Reshape", "Flatten", "Identity"}
_LAYERS = {"Conv", "Gemm", "MatMul"}


def scales_drawn_in(model: ModelProto) -> ModelProto:
    """``model`` without scales and normalisations in front of layers that can take them over."""
    writer, changed = opened(model), False
    while _one(writer):
        changed = True
        writer = Writer(writer.model)
    return closed(writer) if changed else model


def _one(writer: Writer) -> bool:
    links = Links(writer)
    return any(
        _scale(writer, links, node) if node.op_type in {"Mul", "Div"} else _normalisation(writer, links, node)
        for node in list(writer.graph.node) if node.op_type in {"Mul", "Div", "BatchNormalization"}
    )  # fmt: skip


def _scale(writer: Writer, links: Links, node: NodeProto) -> bool:
    found = _by_one_number(writer, node)
    if found is None or _ends_gelu(links, found[0]):
        return False
    fed, factor = found
    shift: NodeProto | None = None
    value = node.output[0]
    while (reader := links.reader(value)) is not None and reader.input[0] == value:
        if reader.op_type in _LAYERS:
            layer = _layer(writer, reader)
            # The samples' batch of a Conv's input leads; of a MatMul's, the stored side is the second.
            if layer is None:
                return False
            if shift is not None:
                _shift_by(writer, shift, factor)
            layer.scale(np.float64(factor))
            _past(writer, node, fed)
            return True
        if reader.op_type in {"Add", "Sub"} and shift is None and _is_stored(writer, reader.input[1]):
            shift = reader
        elif reader.op_type not in _ARRANGING:
            return False
        value = reader.output[0]
    return False


def _normalisation(writer: Writer, links: Links, node: NodeProto) -> bool:
    reader = links.reader(node.output[0])
    shape = writer.shape(node.input[0])
    if reader is None or reader.op_type not in {"Gemm", "MatMul"} or shape is None or len(shape) != 2:
        return False
    if reader.input[0] != node.output[0] or attribute(node, "training_mode", 0) or any(node.output[1:]):
        return False
    given = [writer.array(name) for name in node.input[1:5]]
    layer = _layer(writer, reader)
    if layer is None or any(array is None for array in given) or (layer.bias is None and reader.op_type == "MatMul"):
        return False
    scale, bias, mean, variance = (np.asarray(array, np.float64) for array in given)
    epsilon = attribute(node, "epsilon", 1e-5)
    assert isinstance(epsilon, float)
    factor = scale / np.sqrt(variance + epsilon)
    layer.shift(bias - mean * factor)
    layer.scale(factor)
    _past(writer, node, node.input[0])
    return True


@dataclass(slots=True)
class _Layer:
    """A Conv, Gemm or MatMul with stored weights. axis: of its weight, along which the input's channels lie."""

    writer: Writer
    node: NodeProto
    weight: Array
    axis: int
    bias: Array | None

    def scale(self, factor: Array | np.float64) -> None:
        """Weights for an input that comes without this factor (one number, or one for each channel)."""
        shape = [1] * self.weight.ndim
        if np.ndim(factor):
            shape[self.axis] = -1
        changed = self.weight.astype(np.float64) * np.reshape(factor, shape)
        self.node.input[1] = self.writer.store(self.writer.fresh(self.node.input[1]), changed.astype(self.weight.dtype))

    def shift(self, constant: Array) -> None:
        """A bias for an input that comes without this constant for each channel."""
        added = np.tensordot(self.weight.astype(np.float64), constant, axes=([self.axis], [0]))
        whole = added if self.bias is None else added + self.bias.astype(np.float64)
        name = self.writer.store(
            self.writer.fresh(f"{self.node.name or 'layer'}.bias"), whole.astype(self.weight.dtype)
        )
        del self.node.input[2:]
        self.node.input.append(name)


def _layer(writer: Writer, node: NodeProto) -> _Layer | None:
    weight = writer.array(node.input[1])
    if weight is None or weight.dtype != np.float32:
        return None
    bias = writer.array(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if node.op_type == "Conv":
        return _Layer(writer, node, np.asarray(weight), 1, None)
    if node.op_type == "MatMul":
        return _Layer(writer, node, np.asarray(weight), 0, None) if weight.ndim == 2 else None
    plain = attribute(node, "alpha", 1.0) == attribute(node, "beta", 1.0) == 1 and not attribute(node, "transA", 0)
    if not plain or (len(node.input) > 2 and node.input[2] and (bias is None or bias.ndim != 1)):
        return None
    return _Layer(
        writer,
        node,
        np.asarray(weight),
        1 if attribute(node, "transB", 0) else 0,
        None if bias is None else np.asarray(bias),
    )


def _by_one_number(writer: Writer, node: NodeProto) -> tuple[str, float] | None:
    """What is scaled, and the factor."""
    for fed, other in (node.input, reversed(node.input)) if node.op_type == "Mul" else (node.input,):
        number = _number(writer, other)
        if number is not None and writer.array(fed) is None and number != 0 and _same_rank(writer, fed, node.output[0]):
            return fed, number if node.op_type == "Mul" else 1 / number
    return None


def _number(writer: Writer, name: str) -> float | None:
    array = writer.array(name)
    if array is None or array.size == 0 or array.dtype != np.float32 or not np.all(array == array.flat[0]):
        return None
    return float(array.flat[0])


def _is_stored(writer: Writer, name: str) -> bool:
    array = writer.array(name)
    return array is not None and array.dtype == np.float32


def _ends_gelu(links: Links, name: str) -> bool:
    """Whether ``name`` is x (1 + erf(...)), or the same with tanh: runtimes have one operator for it with the half behind it."""
    product = links.makers.get(name)
    if product is None or product.op_type != "Mul":
        return False
    sums = [links.makers.get(each) for each in product.input]
    makers = [
        links.makers.get(each) for node in sums if node is not None and node.op_type == "Add" for each in node.input
    ]
    return any(node is not None and node.op_type in {"Erf", "Tanh"} for node in makers)


def _same_rank(writer: Writer, fed: str, made: str) -> bool:
    first, second = writer.shape(fed), writer.shape(made)
    return first is not None and second is not None and first == second


def _shift_by(writer: Writer, node: NodeProto, factor: float) -> None:
    array = writer.array(node.input[1])
    assert array is not None
    less = (np.asarray(array, np.float64) / factor).astype(np.float32)
    node.input[1] = writer.store(writer.fresh(node.input[1]), less)


def _past(writer: Writer, node: NodeProto, fed: str) -> None:
    """Take ``node`` out: who read it reads ``fed``."""
    made = node.output[0]
    remove(writer, [node])
    for other in writer.graph.node:
        other.input[:] = [fed if name == made else name for name in other.input]
