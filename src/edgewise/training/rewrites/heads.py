"""A new last layer for a model that was made for other classes; and a batch of any size where the file fixes it."""

from collections.abc import Sequence, Sized
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, numpy_helper

from edgewise.errors import UnsupportedError
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.opening import attribute, closed, node_name, opened, users

__all__ = ["Head", "class_count", "free_batch", "replace_head"]

#: What may lie between the last layer and the output without changing which class is which.
_BEHIND = {
    "Softmax", "LogSoftmax", "Sigmoid", "Identity", "Squeeze", "Flatten", "Reshape", "Add", "Cast", "GlobalAveragePool",
    "ReduceMean",
}  # fmt: skip
_LAYERS = {"Gemm", "MatMul", "Conv"}
_WEIGHT, _BIAS = "head.weight", "head.bias"


@dataclass(frozen=True, slots=True)
class Head:
    """model: the graph with its new last layer. parameters: the initializers of that layer."""

    model: ModelProto
    parameters: tuple[str, ...]


def class_count(model: ModelProto, output: str = "") -> int | None:
    """How many classes the output (the first where none is named) tells apart; None where its last dimension varies."""
    value = next(value for value in model.graph.output if output in ("", value.name))
    dims = value.type.tensor_type.shape.dim
    return int(dims[_axis_of(dims)].dim_value) or None if dims else None


def replace_head(model: ModelProto, classes: int, seed: int = 0, output: str = "") -> Head:
    """``model`` with a last Gemm, MatMul or Conv of ``classes`` outputs, drawn anew: Glorot weights, biases of 0.

    Raises UnsupportedError, naming the node, where something stands behind the last layer that a change of classes would break.
    """
    writer = opened(model)
    value = next(value for value in writer.graph.output if output in ("", value.name))
    layer, between = _last_layer(writer, value.name)
    old = _classes_of(writer, layer)
    random = np.random.default_rng(seed)
    weight = writer.array(layer.input[1])
    assert weight is not None, layer.input[1]
    shape, axis = list(weight.shape), _class_axis(layer, weight.ndim)
    shape[axis] = classes
    fan = weight.size // weight.shape[axis]
    limit = (6 / (fan + classes)) ** 0.5
    named = [_stored(writer, layer, 1, _WEIGHT, random.uniform(-limit, limit, shape).astype(weight.dtype))]
    if len(layer.input) > 2 and layer.input[2]:
        named.append(_stored(writer, layer, 2, _BIAS, np.zeros(classes, weight.dtype)))
    for node in between:
        at = next((at for at, name in enumerate(node.input) if writer.array(name) is not None), None)
        if node.op_type == "Add" and at is not None:
            bias = writer.array(node.input[at])
            assert bias is not None, node.input[at]
            dims = _resized(bias.shape, old, classes, 1 - weight.ndim if layer.op_type == "Conv" else -1)
            named.append(_stored(writer, node, at, _BIAS, np.zeros(dims, bias.dtype)))
        elif node.op_type == "Reshape" and at == 1:
            target = writer.array(node.input[1])
            assert target is not None, node.input[1]
            node.input[1] = writer.ints(*_resized(target.tolist(), old, classes, _axis_of(target)))
    out = value.type.tensor_type.shape.dim
    for dim, size in zip(out, _resized([dim.dim_value for dim in out], old, classes, _axis_of(out)), strict=True):
        if size == classes:
            dim.dim_value = classes
    del writer.graph.value_info[:]
    return Head(closed(writer), tuple(named))


def free_batch(model: ModelProto) -> ModelProto:
    """A copy that takes a batch of any size where the file fixes it: first dimensions of inputs and outputs, and of Reshape."""
    freed = ModelProto()
    freed.CopyFrom(model)
    stored = {tensor.name: tensor for tensor in freed.graph.initializer}
    inputs = [value for value in freed.graph.input if value.name not in stored]
    sizes = {dims[0].dim_value for value in inputs if (dims := value.type.tensor_type.shape.dim)}
    if len(sizes) != 1 or not (size := sizes.pop()):
        return freed
    for value in (*inputs, *freed.graph.output):
        dims = value.type.tensor_type.shape.dim
        if dims and dims[0].dim_value == size:
            dims[0].dim_param = "batch"
    targets = {node.input[1] for node in freed.graph.node if node.op_type == "Reshape"} & stored.keys()
    for name in targets:
        target = numpy_helper.to_array(stored[name]).copy()
        if len(target) and target[0] == size:
            target[0] = 0  # copies the dimension
            stored[name].CopyFrom(numpy_helper.from_array(target, name))
    del freed.graph.value_info[:]
    return freed


def _last_layer(writer: Writer, output: str) -> tuple[NodeProto, list[NodeProto]]:
    makers = {name: node for node in writer.graph.node for name in node.output}
    between: list[NodeProto] = []
    name = output
    while (node := makers.get(name)) is not None:
        if node.op_type in _LAYERS and len(node.input) > 1 and writer.array(node.input[1]) is not None:
            return node, between
        if node.op_type not in _BEHIND:
            raise UnsupportedError(
                f"the last layer cannot be replaced: {node.op_type} ({node_name(node)}) stands behind it",
                remedy="Train with data of the model's own classes, or export it without what stands behind its last layer.",
                node=node_name(node),
            )  # fmt: skip
        between.append(node)
        name = next((name for name in node.input if writer.array(name) is None), "")
    raise UnsupportedError(
        f"no Gemm, MatMul or Conv with stored weights leads to the output {output}, so there is no last layer to replace"
    )


def _axis_of(dims: Sized) -> int:
    """Where an output of this rank has its classes."""
    return 1 if len(dims) > 1 else 0


def _resized(sizes: Sequence[int], old: int, classes: int, axis: int) -> list[int]:
    """``sizes`` for another number of classes. axis: which 1 is meant where there was one class: the batch may be 1 too."""
    return [classes if size == old and (old > 1 or at == axis % len(sizes)) else size for at, size in enumerate(sizes)]


def _class_axis(layer: NodeProto, rank: int) -> int:
    if layer.op_type == "Conv":
        return 0
    return 0 if layer.op_type == "Gemm" and attribute(layer, "transB", 0) else rank - 1


def _classes_of(writer: Writer, layer: NodeProto) -> int:
    weight = writer.array(layer.input[1])
    assert weight is not None, layer.input[1]
    return int(weight.shape[_class_axis(layer, weight.ndim)])


def _stored(writer: Writer, node: NodeProto, at: int, name: str, array: np.ndarray) -> str:
    if len(users(writer, node.input[at])) == 1:
        old = node.input[at]
        kept = [tensor for tensor in writer.graph.initializer if tensor.name != old]
        del writer.graph.initializer[:]
        writer.graph.initializer.extend(kept)
    node.input[at] = writer.store(writer.fresh(name), array)
    return node.input[at]
