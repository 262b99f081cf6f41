"""Which precision a model is in, guessed from what its weights are stored as and from what consumes them."""

from math import prod

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from edgewise.graph.walk import nodes, tensors

__all__ = ["guess_precision", "input_ranges", "is_weight"]

_STORED = {
    TensorProto.FLOAT: "fp32", TensorProto.DOUBLE: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "fp16",
    TensorProto.INT8: "int8", TensorProto.UINT8: "int8", TensorProto.INT4: "int4", TensorProto.UINT4: "int4",
}  # fmt: skip
# Weights of these operators of com.microsoft are packed into uint8; the attribute says how many bits one takes.
_PACKED = {"MatMulNBits": "bits", "GatherBlockQuantized": "bits", "MatMulBnb4": ""}
_INTEGER = (
    "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "QuantizeLinear", "QLinearConv", "QLinearMatMul", "QGemm",
)  # fmt: skip
_MOST = 0.9  # share of the weights in one precision from which on the model counts as that


def is_weight(tensor: TensorProto) -> bool:
    """True for what training could have set: floating-point, or integers of at most 8 bits."""
    return tensor.data_type in _STORED


def guess_precision(model: ModelProto) -> str:
    """``fp32``, ``fp16``, ``int8``, ``int4``, or ``mixed`` where no precision has nine tenths of the weights.

    Weights are stored tensors with two dimensions or more: scales, biases and other vectors stay in 32 bits everywhere.
    """
    consumers: dict[str, NodeProto] = {name: node for node in nodes(model) for name in node.input}
    share: dict[str, int] = {}
    for tensor in tensors(model):
        if not is_weight(tensor) or len(tensor.dims) < 2:
            continue
        kind, count = _STORED[tensor.data_type], prod(tensor.dims)
        consumer = consumers.get(tensor.name) if tensor.name else None
        if consumer is not None and consumer.op_type == "QuantizeLinear":
            kind = "int8"
        elif consumer is not None and consumer.op_type in _PACKED and tensor.data_type == TensorProto.UINT8:
            bits = next((a.i for a in consumer.attribute if a.name == _PACKED[consumer.op_type]), 4)
            kind, count = ("int4", count * 2) if bits == 4 else ("int8", count)
        share[kind] = share.get(kind, 0) + count
    if not share:
        return "int8" if any(node.op_type in _INTEGER for node in nodes(model)) else "fp32"
    kind = max(share, key=lambda name: share[name])
    return kind if share[kind] >= _MOST * sum(share.values()) else "mixed"


def input_ranges(model: ModelProto) -> dict[str, tuple[float, float]]:
    """Input -> lowest and highest value that a static quantization of it was made for; inputs without one are left out."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    inputs = {value.name for value in model.graph.input} - set(stored)
    found: dict[str, tuple[float, float]] = {}
    for node in model.graph.node:
        if node.op_type != "QuantizeLinear" or node.input[0] not in inputs or node.input[1] not in stored:
            continue
        scale = numpy_helper.to_array(stored[node.input[1]])
        zero = numpy_helper.to_array(stored[node.input[2]]) if node.input[2:3] and node.input[2] in stored else None
        kind = np.iinfo(np.uint8 if zero is None or zero.dtype.kind not in "iu" else zero.dtype)
        if scale.size == 1:
            offset = 0 if zero is None else int(zero.item())
            found[node.input[0]] = (
                (kind.min - offset) * float(scale.item()),
                (kind.max - offset) * float(scale.item()),
            )
    return found
