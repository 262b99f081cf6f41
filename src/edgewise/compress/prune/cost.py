"""What a model costs on paper: multiply-adds of one sample, bytes of its stored values."""

from dataclasses import dataclass
from math import prod

from onnx import ModelProto, NodeProto

from edgewise.compress.prune.axes import number
from edgewise.compress.prune.rules import GATES
from edgewise.graph.walk import is_default_domain
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.opening import node_name, opened

__all__ = ["LayerCost", "layer_costs", "multiply_adds", "stored_bytes"]

_COUNTED = {"Conv", "ConvTranspose", "Gemm", "MatMul", *GATES}


@dataclass(frozen=True, slots=True)
class LayerCost:
    """multiply_adds: for one sample; an open length counts as one."""

    node: str
    operator: str
    multiply_adds: int


def layer_costs(model: ModelProto) -> tuple[LayerCost, ...]:
    """Conv, ConvTranspose, Gemm, MatMul, GRU, LSTM and RNN, from inferred shapes, in the order of the graph."""
    writer = opened(model)
    batch = _batch(model)
    return tuple(
        LayerCost(node_name(node), node.op_type, _cost(writer, node) // batch)
        for node in writer.graph.node
        if node.op_type in _COUNTED and is_default_domain(node.domain)
    )


def multiply_adds(model: ModelProto) -> int:
    """Of all layers, for one sample."""
    return sum(layer.multiply_adds for layer in layer_costs(model))


def stored_bytes(model: ModelProto) -> int:
    """Bytes of the initializers, without names and nodes."""
    writer = opened(model)
    return sum(array.nbytes for tensor in writer.graph.initializer if (array := writer.array(tensor.name)) is not None)


def _batch(model: ModelProto) -> int:
    """Samples that a fixed batch holds."""
    dims = model.graph.input[0].type.tensor_type.shape.dim if model.graph.input else []
    return max(dims[0].dim_value, 1) if dims else 1


def _sizes(writer: Writer, name: str) -> list[int]:
    return [size if isinstance(size, int) else 1 for size in writer.shape(name) or ()]


def _cost(writer: Writer, node: NodeProto) -> int:
    first, second = _sizes(writer, node.input[0]), _sizes(writer, node.input[1])
    made = _sizes(writer, next(name for name in node.output if name))
    if not first or not second or not made:
        return 0
    if node.op_type == "Conv":
        return prod(made) * prod(second[1:])
    if node.op_type == "ConvTranspose":
        return prod(first) * prod(second[1:])
    if node.op_type in GATES:
        back = _sizes(writer, node.input[2])
        return prod(first[:2]) * (prod(second) + prod(back))
    inner = first[0] if node.op_type == "Gemm" and number(node, "transA", 0) else first[-1]
    return prod(made) * inner
