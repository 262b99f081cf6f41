"""Convolutions over time as convolutions over planes of height one: the same sums, by kernels that onnxruntime has in blocks.

Its blocked form of convolutions (NCHWc) knows two dimensions only; four layers over 64 steps took 22 us as they came and 12.6 so.
One walk from the inputs on: a layer of one dimension makes a plane, what works on each value by itself keeps to planes, and a
Squeeze stands only where something wants the value as it was.
"""

from onnx import ModelProto, NodeProto

from edgewise.graph.order import captured, pruned
from edgewise.graph.walk import is_default_domain
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.opening import attribute, closed, opened

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
    if not any(_is(node, {"Conv"}) and _stored_rank(writer, node) == 3 for node in writer.graph.node):
        return model
    walk = _Walk(writer)
    for node in writer.take_nodes():
        walk.take(node)
    for value in writer.graph.output:
        walk.squeeze(value.name)
    return pruned(closed(writer))


class _Walk:
    """Over nodes in an order that runs, each written again. Values keep their names; a plane has one of its own."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._planes: dict[str, str] = {}  # value of three dimensions -> the plane that it is, with height one
        self._raised: dict[str, str] = {}  # the same of values that are no planes: raised for a layer
        self._renamed: dict[str, str] = {}
        self._squeezed: set[str] = set()
        self._fixed = {value.name for value in writer.graph.output}
        for node in writer.graph.node:
            bodies = NodeProto(attribute=node.attribute)
            self._fixed |= captured(bodies)  # nested graphs read these by their names

    def take(self, node: NodeProto) -> None:
        """Write ``node``, on planes where it can."""
        node.input[:] = [self._renamed.get(name, name) for name in node.input]
        plane = self._planes.get(node.input[0]) if node.input and is_default_domain(node.domain) else None
        if self._is_layer(node):
            self._layer(node)
        elif (
            plane and node.op_type == "Unsqueeze" and self._axes(node) == [_AXIS] and node.output[0] not in self._fixed
        ):
            self._renamed[node.output[0]] = plane
        elif plane and node.op_type == "Squeeze" and self._axes(node) in ([_AXIS], [-1]):
            self._writer.append_named("Squeeze", [plane, self._writer.ints(_AXIS, _AXIS + 1)], list(node.output))
        elif plane and self._flattens(node):
            node.input[0] = plane
            self._writer.append(node)
        elif not self._through(node):
            for name in captured(node):
                self.squeeze(name)
            self._writer.append(node)

    def squeeze(self, name: str) -> None:
        """Where ``name`` is a plane so far: give it as it was."""
        if name in self._planes and name not in self._squeezed:
            self._squeezed.add(name)
            self._writer.append_named("Squeeze", [self._planes[name], self._writer.ints(_AXIS)], [name])

    def _is_layer(self, node: NodeProto) -> bool:
        if any(node.output[1:]):
            return False
        if _is(node, {"Conv"}):
            return _stored_rank(self._writer, node) == 3
        return _is(node, _POOLS | _WHOLE) and len(self._writer.shape(node.input[0]) or ()) == 3

    def _layer(self, node: NodeProto) -> None:
        writer, value = self._writer, node.input[0]
        if value not in self._planes and value not in self._raised:
            self._raised[value] = writer.node("Unsqueeze", value, writer.ints(_AXIS))
        if node.op_type == "Conv":
            weight = writer.array(node.input[1])
            assert weight is not None
            node.input[1] = writer.store(writer.fresh(node.input[1]), weight[:, :, None])
        for entry in node.attribute:
            if entry.name in _WINDOW:
                entry.ints[:] = [_WINDOW[entry.name], *entry.ints]
            elif entry.name == "pads":
                first, last = entry.ints
                entry.ints[:] = [0, first, 0, last]
        self._write(node, [self._known(value), *node.input[1:]])

    def _through(self, node: NodeProto) -> bool:
        """Write ``node`` on planes, where it works the same on them."""
        if any(node.output[1:]) or not is_default_domain(node.domain) or not self._planes.keys() & set(node.input):
            return False
        if node.op_type in _SINGLE:
            inputs = [self._planes.get(node.input[0], ""), *node.input[1:]]
            whole = bool(inputs[0])
        elif node.op_type in _PAIRS:
            inputs = [self._known(name) or self._spread(name) for name in node.input]
            whole = all(inputs)
        else:
            inputs = [self._known(name) for name in node.input]
            whole = node.op_type == "Concat" and attribute(node, "axis", 0) == 1 and all(inputs)
        if whole:
            self._write(node, inputs)
        return whole

    def _write(self, node: NodeProto, inputs: list[str]) -> None:
        made = node.output[0]
        node.input[:] = inputs
        node.output[0] = self._planes[made] = self._writer.fresh(f"{made}/plane")
        self._writer.append(node)

    def _known(self, name: str) -> str:
        return self._planes.get(name) or self._raised.get(name, "")

    def _spread(self, name: str) -> str:
        """A stored operand as it meets planes; "" where there is none that does."""
        writer, array = self._writer, self._writer.array(name)
        if array is None or array.ndim > 3:
            return ""
        if array.size == 1 or array.ndim < 2:  # one number, or one for each step: as they are
            return name if array.ndim < 3 else writer.store(writer.fresh(name), array.reshape(()))
        return writer.store(writer.fresh(name), array[..., None, :])

    def _flattens(self, node: NodeProto) -> bool:
        """Whether ``node`` gives the same for a value and for its plane."""
        if node.op_type == "Flatten":
            return attribute(node, "axis", 1) == 1
        target = self._writer.array(node.input[1]) if node.op_type == "Reshape" else None
        # A 0 copies a dimension, and only the first two are the same.
        return (
            target is not None and target.ndim == 1 and bool(target[2:].all()) and not attribute(node, "allowzero", 0)
        )

    def _axes(self, node: NodeProto) -> list[int]:
        axes = self._writer.array(node.input[1]) if len(node.input) > 1 else None
        return [] if axes is None else [int(axis) for axis in axes.reshape(-1)]


def _is(node: NodeProto, operators: set[str]) -> bool:
    return node.op_type in operators and is_default_domain(node.domain)


def _stored_rank(writer: Writer, node: NodeProto) -> int:
    weight = writer.array(node.input[1])
    return 0 if weight is None else weight.ndim
