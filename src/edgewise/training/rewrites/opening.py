"""Opening a model for a training-mode piece, and closing it again.

Pieces rewrite the forward graph: model in, model out. They find stored weights in one place only, as initializers; take a node's
place by giving a new one its output name; and leave putting the nodes in order to the end.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, helper, numpy_helper

from edgewise.errors import UnsupportedError
from edgewise.graph.opset import at_opset
from edgewise.graph.order import ordered
from edgewise.graph.walk import graphs, is_default_domain, opsets
from edgewise.graph.writer import Writer

__all__ = ["OPSET", "attribute", "closed", "node_name", "opened", "remove", "static_shape", "users"]

#: Lowest opset that training works in.
OPSET = 18
_IR = 10


def opened(model: ModelProto) -> Writer:
    """A copy of ``model`` at opset 18 or later, to be extended; stored values are initializers, and only that.

    Constant nodes become initializers, under the names of their outputs; initializers that are graph inputs as well (files
    before IR 4) are inputs no more.
    """
    raised = at_opset(model, max(OPSET, opsets(model).get("", OPSET)))
    raised.ir_version = max(raised.ir_version, _IR)
    graph = raised.graph
    stored = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in stored]
    kept = []
    for node in graph.node:
        value = _constant(node)
        if value is None:
            kept.append(node)
        elif node.output[0] not in stored:
            graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
    _set_nodes(raised, kept)
    del graph.input[:]
    graph.input.extend(inputs)
    return Writer(raised)


def closed(writer: Writer) -> ModelProto:
    """The model, its nodes in an order that runs, without initializers that nothing reads."""
    graph = writer.graph
    given = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    _set_nodes(writer.model, ordered(graph.node, given))
    read = {name for part in graphs(graph) for node in part.node for name in node.input}
    read |= {value.name for part in graphs(graph) for value in part.output}
    stored = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(stored)
    return writer.model


def remove(writer: Writer, nodes: Sequence[NodeProto]) -> None:
    """Take nodes out of the graph. What they give must be given by others before the model is closed."""
    gone = {id(node) for node in nodes}
    _set_nodes(writer.model, [node for node in writer.graph.node if id(node) not in gone])


def node_name(node: NodeProto) -> str:
    """How messages and patterns call a node: its name, or that of its first output where it has none."""
    return node.name or next((name for name in node.output if name), node.op_type)


def attribute(node: NodeProto, name: str, default: object) -> object:
    """An attribute of a node; ``default`` where it is not set."""
    found = next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)
    return found.decode() if isinstance(found, bytes) else found


def static_shape(writer: Writer, name: str) -> tuple[int, ...]:
    """Shape of a stored value. Raises UnsupportedError where it is not stored."""
    array = writer.array(name)
    if array is None:
        raise UnsupportedError(f"{name!r} is computed, not stored", remedy="Export the model with stored weights.")
    return array.shape


def users(writer: Writer, name: str) -> list[NodeProto]:
    """The nodes of the graph (not of nested ones) that read ``name``."""
    return [node for node in writer.graph.node if name in node.input]


def _set_nodes(model: ModelProto, nodes: Sequence[NodeProto]) -> None:
    copies = []
    for node in nodes:
        copy = NodeProto()
        copy.CopyFrom(node)
        copies.append(copy)
    del model.graph.node[:]
    model.graph.node.extend(copies)


def _constant(node: NodeProto) -> npt.NDArray[np.generic] | None:
    if node.op_type != "Constant" or not is_default_domain(node.domain) or len(node.attribute) != 1:
        return None
    (entry,) = node.attribute
    if entry.name == "value":
        array: npt.NDArray[np.generic] = numpy_helper.to_array(entry.t)
        return array
    if entry.name in {"value_float", "value_floats"}:
        return np.asarray(helper.get_attribute_value(entry), np.float32)
    if entry.name in {"value_int", "value_ints"}:
        return np.asarray(helper.get_attribute_value(entry), np.int64)
    return None
