"""Writing nodes so that onnxruntime has an integer form for them, with the same answers.

Each of these stayed in floats between two integer layers, with conversions of a whole feature map on either side, and does not
under the other name (onnxruntime 1.32, CPU).
"""

import numpy as np
from onnx import ModelProto, NodeProto, helper

from edgewise.compress.quantize.placement import reached
from edgewise.graph.order import captured
from edgewise.graph.walk import is_default_domain
from edgewise.graph.writer import Writer
from edgewise.measure.npz import Array
from edgewise.training.rewrites.opening import attribute, closed, opened

__all__ = ["integer_forms"]


def integer_forms(core: ModelProto) -> ModelProto:
    """``core`` in operators that run in integers, where there is a way to say the same in them.

    GlobalMaxPool as MaxPool or ReduceMax; ReduceMean over all positions as GlobalAveragePool; Sub and Div by a stored number as Add
    and Mul; HardSigmoid and HardSwish as what they are made of; a Relu that does not belong to one layer as LeakyRelu of slope 0.
    """
    writer = opened(core)
    readers: dict[str, int] = {}
    for node in writer.graph.node:
        for name in captured(node):
            readers[name] = readers.get(name, 0) + 1
    for value in writer.graph.output:
        readers[value.name] = readers.get(value.name, 0) + 1
    near = reached(writer, _FORMS)
    for node in writer.take_nodes():
        # Elsewhere the node stays as it is: onnxruntime looks for Gelu, say, by the nodes that it usually comes as.
        form = (
            _FORMS.get(node.op_type)
            if is_default_domain(node.domain) and node.input and node.input[0] in near
            else None
        )
        if node.op_type == "Relu" and node.input[0] in near and readers[node.input[0]] > 1:
            form = _leaky
        if form is None or not form(writer, node):
            writer.append(node)
    return closed(writer)


def _leaky(writer: Writer, node: NodeProto) -> bool:
    # By table in integers. A Relu alone behind a layer is better: it vanishes.
    writer.append(helper.make_node("LeakyRelu", node.input, node.output, node.name, alpha=0.0))
    return True


def _max_pool(writer: Writer, node: NodeProto) -> bool:
    shape = writer.shape(node.input[0])
    if shape is None or len(shape) < 3:
        return False
    window: list[int] = [dim for dim in shape[2:] if isinstance(dim, int)]
    if len(window) == len(shape) - 2 and int(np.prod(window)):
        writer.append(helper.make_node("MaxPool", node.input, node.output, node.name, kernel_shape=window))
    else:
        axes = writer.ints(*range(2, len(shape)))
        writer.append(helper.make_node("ReduceMax", [node.input[0], axes], node.output, node.name))
    return True


def _average_pool(writer: Writer, node: NodeProto) -> bool:
    shape = writer.shape(node.input[0])
    axes = writer.array(node.input[1]) if len(node.input) > 1 and node.input[1] else None
    if shape is None or len(shape) < 3 or axes is None or writer.dtype(node.input[0]) != "float32":
        return False
    if sorted(int(axis) % len(shape) for axis in axes.reshape(-1)) != list(range(2, len(shape))):
        return False
    if attribute(node, "keepdims", 1):
        writer.append(helper.make_node("GlobalAveragePool", node.input[:1], node.output, node.name))
        return True
    pooled = writer.fresh(f"{node.output[0]}/pooled")
    writer.append(helper.make_node("GlobalAveragePool", node.input[:1], [pooled], node.name))
    writer.append(helper.make_node("Flatten", [pooled], node.output, writer.fresh("Flatten"), axis=1))
    return True


def _by_stored(writer: Writer, node: NodeProto) -> bool:
    stored = writer.array(node.input[1])
    if stored is None or stored.dtype != np.float32 or writer.array(node.input[0]) is not None:
        return False
    number: Array = np.asarray(stored, np.float32)
    if node.op_type == "Sub":
        operator, other = "Add", -number
    elif (number == 0).any():
        return False
    else:
        operator, other = "Mul", 1 / number
    writer.append(helper.make_node(operator, [node.input[0], writer.constant(other)], node.output, node.name))
    return True


def _hard_sigmoid(writer: Writer, node: NodeProto) -> bool:
    if writer.dtype(node.input[0]) != "float32":
        return False
    slope, shift = (np.asarray([attribute(node, *given)]) for given in (("alpha", 0.2), ("beta", 0.5)))
    scaled = writer.node("Mul", node.input[0], writer.constant(slope))
    moved = writer.node("Add", scaled, writer.constant(shift))
    ends = [writer.constant(0.0), writer.constant(1.0)]
    writer.append(helper.make_node("Clip", [moved, *ends], node.output, node.name))
    return True


def _hard_swish(writer: Writer, node: NodeProto) -> bool:
    if writer.dtype(node.input[0]) != "float32":
        return False
    moved = writer.node("Add", writer.node("Mul", node.input[0], writer.constant([1 / 6])), writer.constant([0.5]))
    gate = writer.node("Clip", moved, writer.constant(0.0), writer.constant(1.0))
    writer.append(helper.make_node("Mul", [node.input[0], gate], node.output, node.name))
    return True


_FORMS = {
    "GlobalMaxPool": _max_pool, "ReduceMean": _average_pool, "Sub": _by_stored, "Div": _by_stored,
    "HardSigmoid": _hard_sigmoid, "HardSwish": _hard_swish,
}  # fmt: skip
