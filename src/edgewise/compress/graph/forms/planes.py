"""Convolutions over time as convolutions over planes of height one: the same sums, by kernels that onnxruntime has in blocks.

Its blocked form of convolutions (NCHWc) knows two dimensions only; four layers over 64 steps took 22 us as they came and 12.6 so.
Every layer of one dimension gets an Unsqueeze before and a Squeeze behind; then the Squeezes sink through what works on each value
by itself, and fall away where an Unsqueeze meets them.
"""

from onnx import ModelProto, NodeProto, helper

from edgewise.compress.graph.forms.links import Links
from edgewise.graph.order import pruned
from edgewise.graph.walk import is_default_domain
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.opening import attribute, closed, opened, remove

__all__ = ["in_planes"]

_POOLS = {"MaxPool", "AveragePool", "LpPool"}
_WHOLE = {"GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"}
#: Work on each value by itself, whatever its shape.
_SINGLE = {
    "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Softplus", "Softsign",
    "Erf", "Gelu", "Mish", "Identity", "Dropout", "Abs", "Neg", "Exp", "Sqrt", "Cast",
}  # fmt: skip
_PAIRS = {"Add", "Sub", "Mul", "Div", "Max", "Min"}
_WINDOW = {"kernel_shape": 1, "strides": 1, "dilations": 1}
_AXIS = 2


def in_planes(model: ModelProto) -> ModelProto:
    """``model`` with every convolution of one dimension, and the poolings beside them, in two."""
    writer = opened(model)
    convolutions = [node for node in writer.graph.node if _is(node, {"Conv"}) and _stored_rank(writer, node) == 3]
    if not convolutions:
        return model
    pools = [
        node for node in writer.graph.node if _is(node, _POOLS | _WHOLE) and len(writer.shape(node.input[0]) or ()) == 3
    ]
    for made in [node.output[0] for node in (*convolutions, *pools) if not any(node.output[1:])]:
        _lift(writer, next(node for node in writer.graph.node if made in node.output))
    made = Writer(pruned(closed(writer)))
    while _sink(made):
        made = Writer(pruned(closed(made)))
    return pruned(closed(made))


def _is(node: NodeProto, operators: set[str]) -> bool:
    return node.op_type in operators and is_default_domain(node.domain)


def _stored_rank(writer: Writer, node: NodeProto) -> int:
    weight = writer.array(node.input[1])
    return 0 if weight is None else weight.ndim


def _lift(writer: Writer, node: NodeProto) -> None:
    """``node`` between an Unsqueeze and a Squeeze."""
    made, lifted = node.output[0], NodeProto()
    lifted.CopyFrom(node)
    lifted.input[0] = writer.node("Unsqueeze", node.input[0], writer.ints(_AXIS))
    lifted.output[0] = writer.fresh(f"{made}/plane")
    if node.op_type == "Conv":
        weight = writer.array(node.input[1])
        assert weight is not None
        lifted.input[1] = writer.store(writer.fresh(node.input[1]), weight[:, :, None])
    for entry in lifted.attribute:
        if entry.name in _WINDOW:
            entry.ints[:] = [_WINDOW[entry.name], *entry.ints]
        elif entry.name == "pads":
            first, last = entry.ints
            entry.ints[:] = [0, first, 0, last]
    remove(writer, [node])
    writer.append(lifted)
    writer.append_named("Squeeze", [lifted.output[0], writer.ints(_AXIS)], [made])


def _sink(writer: Writer) -> bool:
    """One Squeeze further down, or away."""
    links = Links(writer)
    squeezes = {
        node.output[0]: node.input[0] for node in writer.graph.node if _is(node, {"Squeeze"}) and _on_axis(writer, node)
    }
    for node in writer.graph.node:
        if not squeezes.keys() & set(node.input) or not is_default_domain(node.domain):
            continue
        if node.op_type == "Unsqueeze" and _on_axis(writer, node) and node.output[0] not in links.outputs:
            plane = squeezes[node.input[0]]
            made = node.output[0]
            remove(writer, [node])
            for other in writer.graph.node:
                other.input[:] = [plane if name == made else name for name in other.input]
            return True
        if node.op_type == "Flatten" and attribute(node, "axis", 1) == 1:
            node.input[0] = squeezes[node.input[0]]
            return True
        if _through(writer, node, squeezes):
            return True
    return False


def _through(writer: Writer, node: NodeProto, squeezes: dict[str, str]) -> bool:
    """``node`` on planes, its result squeezed behind it, where it works the same on them."""
    if any(node.output[1:]):
        return False
    if node.op_type in _SINGLE:
        inputs = [squeezes.get(node.input[0], ""), *node.input[1:]]
    elif node.op_type in _PAIRS:
        inputs = [squeezes.get(name) or _spread(writer, name) for name in node.input]
    elif node.op_type == "Concat" and attribute(node, "axis", 0) == 1:
        inputs = [squeezes.get(name, "") for name in node.input]
    else:
        return False
    if not all(inputs[: 1 if node.op_type in _SINGLE else None]):
        return False
    made, sunk = node.output[0], NodeProto()
    sunk.CopyFrom(node)
    sunk.input[:] = inputs
    sunk.output[0] = writer.fresh(f"{made}/plane")
    remove(writer, [node])
    writer.append(sunk)
    writer.append(helper.make_node("Squeeze", [sunk.output[0], writer.ints(_AXIS)], [made], writer.fresh("Squeeze")))
    return True


def _spread(writer: Writer, name: str) -> str:
    """A stored operand as it meets planes; "" where there is none that does."""
    array = writer.array(name)
    if array is None or array.ndim > 3:
        return ""
    if array.size == 1 or array.ndim < 2:  # one number, or one for each step: as they are
        return name if array.ndim < 3 else writer.store(writer.fresh(name), array.reshape(()))
    return writer.store(writer.fresh(name), array[..., None, :])


def _on_axis(writer: Writer, node: NodeProto) -> bool:
    axes = writer.array(node.input[1]) if len(node.input) > 1 else None
    return axes is not None and axes.tolist() == [_AXIS]
