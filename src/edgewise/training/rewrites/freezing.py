"""Which stored values of a model are weights that training may change, and choosing among them by name.

A model stores much that is no weight: shapes, axes, scales of a quantization, running statistics, the mean and deviation an
input is normalised with, masks. So a value counts as a weight by what reads it: the weight and bias inputs of layers, looked
for through operators that only move elements; and vectors that are added or multiplied behind a layer.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto

from edgewise.errors import InputError
from edgewise.graph.order import captured
from edgewise.graph.walk import DTYPES, graphs
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.opening import closed, opened
from edgewise.training.rewrites.patterns import matching

__all__ = ["choose_trainable", "weights_of"]

#: Operator -> inputs that hold weights.
_WEIGHTS: dict[str, tuple[int, ...]] = {
    "Conv": (1, 2), "ConvTranspose": (1, 2), "DeformConv": (1, 3), "Gemm": (0, 1, 2), "MatMul": (0, 1), "Einsum": (0, 1),
    "BatchNormalization": (1, 2), "LayerNormalization": (1, 2), "InstanceNormalization": (1, 2),
    "GroupNormalization": (1, 2), "RMSNormalization": (1,), "SimplifiedLayerNormalization": (1,),
    "SkipLayerNormalization": (2, 3, 4), "GRU": (1, 2, 3), "RNN": (1, 2, 3), "LSTM": (1, 2, 3, 7), "PRelu": (1,),
    "Gather": (0,), "FusedMatMul": (0, 1), "FusedConv": (1, 2), "BiasGelu": (1,), "Attention": (1, 2),
}  # fmt: skip
_BIASES = {"Add", "Mul"}
#: Operators through which a weight is looked for: they move elements and nothing else.
_MOVES = {
    "Cast",
    "Concat",
    "Expand",
    "Flatten",
    "Identity",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}
_FLOATS = {"float16", "bfloat16", "float32", "float64"}
_MASK = -1e4  # what is added to hide a score is at least this far down


def choose_trainable(
    model: ModelProto, train: Sequence[str] = ("*",), freeze: Sequence[str] = ()
) -> tuple[ModelProto, tuple[str, ...]]:
    """The model at opset 18 with its weights as initializers, and the names of those that ``train`` means but not ``freeze``.

    Both are shell patterns over the names of weights. A name written out in ``train`` is taken also where the value is not
    recognised as a weight, as long as it is floating-point. A weight that several layers share has one name and stays shared.
    Raises InputError where a pattern matches nothing (with the names near it), or where nothing is left to train.
    """
    writer = opened(model)
    weights = weights_of(writer)
    floats = [tensor.name for tensor in writer.graph.initializer if DTYPES.get(tensor.data_type) in _FLOATS]
    named = [name for name in floats if name in set(train) and name not in weights]
    patterns = [pattern for pattern in train if pattern not in named]
    frozen = set(matching(freeze, floats, "stored values"))
    wanted = [*matching(patterns, weights, "weights"), *named] if patterns or named else []
    chosen = tuple(name for name in wanted if name not in frozen)
    if not chosen:
        raise InputError(
            f"nothing is left to train: {len(weights)} weights, {len(frozen)} stored values frozen",
            remedy="Freeze less, or name what to train.",
        )
    return closed(writer), chosen


def weights_of(writer: Writer) -> tuple[str, ...]:
    """Names of the initializers that are weights, in the order of the graph."""
    floats = {tensor.name for tensor in writer.graph.initializer if DTYPES.get(tensor.data_type) in _FLOATS}
    makers = {name: node for node in writer.graph.node for name in node.output}
    found: dict[str, None] = {}
    layered: set[str] = set()  # values behind a layer with weights
    for node in _nodes(writer.graph):
        here = [name for at in _WEIGHTS.get(node.op_type, ()) for name in _stored(node, at, makers, floats)]
        behind = bool(here) or any(name in layered for name in captured(node))
        if node.op_type in _BIASES and behind:
            here = [name for at in (0, 1) for name in _stored(node, at, makers, floats) if _is_bias(writer, name)]
        found.update(dict.fromkeys(here))
        if behind:
            layered.update(node.output)
    return tuple(tensor.name for tensor in writer.graph.initializer if tensor.name in found)


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    for part in graphs(graph):
        yield from part.node


def _stored(node: NodeProto, at: int, makers: Mapping[str, NodeProto], floats: set[str]) -> list[str]:
    """The initializers behind one input, through operators that only move elements; none where anything else is mixed in."""
    if at >= len(node.input) or not node.input[at]:
        return []
    found: list[str] = []
    waiting = [node.input[at]]
    while waiting:
        name = waiting.pop()
        maker = makers.get(name)
        if name in floats:
            found.append(name)
        elif maker is not None and maker.op_type in _MOVES:
            waiting.extend(maker.input if maker.op_type == "Concat" else maker.input[:1])
        elif maker is not None or not name:
            return []
    return found


def _is_bias(writer: Writer, name: str) -> bool:
    array = writer.array(name)
    if array is None or array.ndim == 0 or array.size == 1:
        return False
    values = np.asarray(array, np.float64)
    return bool(np.isfinite(values).all() and values.min() > _MASK)
