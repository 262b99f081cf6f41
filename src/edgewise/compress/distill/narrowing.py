"""A narrower copy of a model: every hidden width times a share, layers kept.

Going through the graph from the front, each value knows which of its channels are left, along which axis. Layers with weights take
what is left of their input and leave a share of their output; what lies between passes it on. Wherever two widths must agree, they
do: equal widths keep equal channels. Where an operator is met that this module has no rule for, or the model's outputs, the
layers before it keep their width, and the way begins anew: so attention keeps its heads while its hidden layers are narrowed.
"""

from dataclasses import dataclass
from math import prod

import numpy as np
from onnx import ModelProto, NodeProto

from edgewise.errors import UnsupportedError
from edgewise.graph.writer import Writer
from edgewise.measure.npz import Array
from edgewise.training.rewrites.opening import attribute, closed, node_name, opened

__all__ = ["narrowed"]

_LIKE = {
    "Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Gelu", "Elu", "Erf", "Identity", "Dropout",
    "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Mish", "Softplus", "Sqrt", "Exp", "Cast",
}  # fmt: skip
_PAIRED = {"Add", "Mul", "Sub", "Div", "PRelu"}
_LAYERS = {"Conv", "Gemm", "MatMul"}


@dataclass(frozen=True, slots=True)
class _Left:
    """Of a value: the axis that was narrowed, which of its entries are left, and the layers that decided so."""

    axis: int
    kept: Array
    layers: frozenset[str]


class _Held(Exception):  # noqa: N818  (no error: the way begins anew)
    """These layers have to keep their width."""

    def __init__(self, layers: frozenset[str]) -> None:
        super().__init__()
        self.layers = layers


def narrowed(core: ModelProto, share: float, *, multiple: int = 1, random: int | None = None) -> ModelProto:
    """``core`` with hidden widths of ``share``, rounded to multiples of ``multiple``; inputs and outputs stay.

    random: seed of new weights; None takes the first channels of the old ones. Raises UnsupportedError where nothing is narrower.
    """
    held: frozenset[str] = frozenset()
    while True:
        way = _Way(opened(core), share, multiple, held)
        try:
            way.go()
        except _Held as reason:
            held |= reason.layers
            continue
        break
    if not way.narrower:
        found = ", ".join(sorted({node.op_type for node in core.graph.node})[:8])
        raise UnsupportedError(
            f"no layer can be narrower: there is none but the last, or others fix the widths ({found})",
            remedy="Take a reference network as student.",
        )
    return way.finished(random)


class _Way:
    def __init__(self, writer: Writer, share: float, multiple: int, held: frozenset[str]) -> None:
        self.w, self.share, self.multiple, self.held = writer, share, multiple, held
        self.left: dict[str, _Left] = {}
        self.changed: dict[str, Array] = {}
        self.narrower: set[str] = set()
        self.readers: dict[str, int] = {}
        for node in writer.graph.node:
            for name in node.input:
                self.readers[name] = self.readers.get(name, 0) + 1

    def go(self) -> None:
        for node in self.w.graph.node:
            self._pass(node)
        for value in self.w.graph.output:
            if value.name in self.left:
                raise _Held(self.left[value.name].layers)

    def finished(self, random: int | None) -> ModelProto:
        layers = {node.input[1] for node in self.w.graph.node if node.op_type in _LAYERS}
        rng = np.random.default_rng(random)
        kept = [tensor for tensor in self.w.graph.initializer if tensor.name not in self.changed]
        old = {tensor.name: tensor for tensor in self.w.graph.initializer}
        del self.w.graph.initializer[:]
        self.w.graph.initializer.extend(kept)
        for name in old:
            if name in self.changed:
                self.w.store(name, np.ascontiguousarray(self.changed[name]))
        if random is not None:
            self._randomise(layers, rng)
        del self.w.graph.value_info[:]
        return closed(self.w)

    def _randomise(self, layers: set[str], rng: np.random.Generator) -> None:
        """He et al. 2015 for weights; normalisations as if nothing was seen yet."""
        norms = {
            name: value for node in self.w.graph.node if node.op_type == "BatchNormalization"
            for name, value in zip(node.input[1:], (1.0, 0.0, 0.0, 1.0), strict=True)
        }  # fmt: skip
        biases = {
            node.input[2] for node in self.w.graph.node if node.op_type in {"Conv", "Gemm"} and len(node.input) > 2
        }
        for tensor in [t for t in self.w.graph.initializer if t.name in {*layers, *norms, *biases}]:
            array = np.asarray(self.w.array(tensor.name))
            readers = [node for node in self.w.graph.node if tensor.name in node.input]
            self.w.graph.initializer.remove(tensor)
            if tensor.name in layers:
                turned = any(node.op_type == "Conv" or attribute(node, "transB", 0) for node in readers)
                inputs = prod(array.shape[1:]) if turned else array.shape[-2]
                drawn = rng.normal(size=array.shape) * np.sqrt(2 / max(inputs, 1))
            else:
                drawn = np.full(array.shape, norms.get(tensor.name, 0.0))
            self.w.store(tensor.name, drawn.astype(array.dtype))

    def _pass(self, node: NodeProto) -> None:
        given = [self.left[name] for name in node.input if name in self.left]
        if node.op_type in _LAYERS and not node.domain and len(node.input) > 1 and self._is_layer(node):
            self._layer(node)
        elif not given:
            return
        elif node.op_type in _LIKE and node.input[0] in self.left:
            self.left[node.output[0]] = given[0]
        elif node.op_type in _PAIRED:
            self._paired(node, given)
        elif node.op_type == "BatchNormalization":
            for name in node.input[1:]:
                self._take(name, 0, given[0])
            self.left[node.output[0]] = given[0]
        else:
            rule = {
                "Flatten": self._flat, "Reshape": self._flat, "Concat": self._joined, "ReduceMean": self._reduced,
                "ReduceMax": self._reduced, "Transpose": self._turned, "Squeeze": self._squeezed, "Pad": self._padded,
            }.get(node.op_type)  # fmt: skip
            if rule is None or (node.input[0] not in self.left and node.op_type != "Concat"):
                raise _Held(_all(given))
            rule(node, given)

    def _is_layer(self, node: NodeProto) -> bool:
        weight = self.w.array(node.input[1])
        plain = node.op_type == "Conv" or (weight is not None and weight.ndim == 2 and not attribute(node, "transA", 0))
        return weight is not None and plain and self.w.array(node.input[0]) is None

    def _layer(self, node: NodeProto) -> None:
        name, entering = node_name(node), self.left.get(node.input[0])
        weight = np.asarray(self.w.array(node.input[1]))
        conv, turned = node.op_type == "Conv", node.op_type == "Conv" or bool(attribute(node, "transB", 0))
        rank = len(self.w.shape(node.input[0]) or ()) or (weight.ndim if conv else 2)
        axis = 1 if conv else rank - 1
        if entering is not None and entering.axis != axis:
            raise _Held(entering.layers)
        inner, outer = (1, 0) if turned else (0, 1)
        if conv and attribute(node, "group", 1) != 1:
            self._grouped(node, weight, entering)
            return
        shared = self.readers[node.input[1]] > 1
        if entering is not None:
            if shared:
                raise _Held(entering.layers)
            self._take(node.input[1], inner, entering)
        width = weight.shape[outer]
        left = self._share(width)
        if name in self.held or shared or left >= width:
            return
        result = _Left(axis, np.arange(left), frozenset({name}))
        self._take(node.input[1], outer, result)
        if len(node.input) > 2 and node.input[2]:
            self._take(node.input[2], -1, result)
        self.left[node.output[0]] = result
        self.narrower.add(name)

    def _grouped(self, node: NodeProto, weight: Array, entering: _Left | None) -> None:
        if entering is None:
            return
        if weight.shape[1] != 1:
            raise _Held(entering.layers)
        # Depthwise: every channel of the input has ``times`` of its own.
        times = weight.shape[0] // attribute(node, "group", 1)
        kept = (entering.kept[:, None] * times + np.arange(times)).reshape(-1)
        result = _Left(1, kept, entering.layers)
        self._take(node.input[1], 0, result)
        if len(node.input) > 2 and node.input[2]:
            self._take(node.input[2], 0, result)
        next(a for a in node.attribute if a.name == "group").i = len(entering.kept)
        self.left[node.output[0]] = result

    def _paired(self, node: NodeProto, given: list[_Left]) -> None:
        shapes = [self.w.shape(name) for name in node.input]
        rank = max(len(shape or ()) for shape in shapes)
        # Axes from behind: the sides may differ in rank.
        sides = {
            name: _Left(left.axis - len(self.w.shape(name) or ()), left.kept, left.layers)
            for name in node.input if (left := self.left.get(name)) is not None
        }  # fmt: skip
        first = next(iter(sides.values()))
        for name in node.input:
            if name in sides:
                same = sides[name].axis == first.axis and np.array_equal(sides[name].kept, first.kept)
                if not same:
                    raise _Held(_all(given))
                continue
            shape = self.w.shape(name)
            wide = shape is not None and len(shape) >= -first.axis and shape[first.axis] != 1
            if shape is None or (wide and self.w.array(name) is None):
                raise _Held(_all(given))
            if wide:
                self._take(name, first.axis, first)
        self.left[node.output[0]] = _Left(first.axis + rank, first.kept, _all(given))

    def _flat(self, node: NodeProto, given: list[_Left]) -> None:
        (left,) = given[:1]
        before, after = self.w.shape(node.input[0]), self.w.shape(node.output[0])
        if before is None or after is None or left.axis != 1 or len(after) != 2:
            raise _Held(_all(given))
        if any(not isinstance(dim, int) for dim in before[1:]):
            raise _Held(_all(given))
        behind = prod(dim for dim in before[2:] if isinstance(dim, int))
        if after[1] != behind * int(before[1] or 0):
            raise _Held(_all(given))
        kept = (left.kept[:, None] * behind + np.arange(behind)).reshape(-1)
        if node.op_type == "Reshape":
            target = self.w.array(node.input[1])
            if target is None or len(target) != 2:
                raise _Held(_all(given))
            if target[1] not in (-1, 0):
                self._replace(node, 1, np.asarray([target[0], len(kept)], np.int64))
            elif target[0] == -1:
                raise _Held(_all(given))
        self.left[node.output[0]] = _Left(1, kept, left.layers)

    def _joined(self, node: NodeProto, given: list[_Left]) -> None:
        axis, parts, at = given[0].axis, [], 0
        rank = len(self.w.shape(node.output[0]) or ())
        if any(left.axis != axis for left in given) or int(attribute(node, "axis", 0)) % max(rank, 1) != axis:  # type: ignore[call-overload]
            raise _Held(_all(given))
        for name in node.input:
            shape = self.w.shape(name)
            width = None if shape is None else shape[axis]
            if not isinstance(width, int):
                raise _Held(_all(given))
            parts.append(at + (self.left[name].kept if name in self.left else np.arange(width)))
            at += width
        self.left[node.output[0]] = _Left(axis, np.concatenate(parts), _all(given))

    def _reduced(self, node: NodeProto, given: list[_Left]) -> None:
        (left,) = given[:1]
        rank = len(self.w.shape(node.input[0]) or ())
        stored = self.w.array(node.input[1]) if len(node.input) > 1 and node.input[1] else attribute(node, "axes", None)
        if stored is None or not rank:
            raise _Held(_all(given))
        axes = {int(axis) % rank for axis in np.asarray(stored).reshape(-1)}
        if left.axis in axes:
            raise _Held(_all(given))
        gone = 0 if attribute(node, "keepdims", 1) else sum(axis < left.axis for axis in axes)
        self.left[node.output[0]] = _Left(left.axis - gone, left.kept, left.layers)

    def _turned(self, node: NodeProto, given: list[_Left]) -> None:
        (left,) = given[:1]
        order = attribute(node, "perm", None)
        if order is None:
            raise _Held(_all(given))
        self.left[node.output[0]] = _Left(list(order).index(left.axis), left.kept, left.layers)  # type: ignore[call-overload]

    def _squeezed(self, node: NodeProto, given: list[_Left]) -> None:
        (left,) = given[:1]
        rank = len(self.w.shape(node.input[0]) or ())
        axes = self.w.array(node.input[1]) if len(node.input) > 1 else None
        if axes is None or not rank:
            raise _Held(_all(given))
        gone = sum(int(axis) % rank < left.axis for axis in axes.reshape(-1))
        self.left[node.output[0]] = _Left(left.axis - gone, left.kept, left.layers)

    def _padded(self, node: NodeProto, given: list[_Left]) -> None:
        (left,) = given[:1]
        pads = self.w.array(node.input[1])
        if pads is None or len(node.input) > 3 or pads[left.axis] or pads[left.axis + len(pads) // 2]:
            raise _Held(_all(given))
        self.left[node.output[0]] = left

    def _share(self, width: int) -> int:
        left = max(round(width * self.share), 1)
        if left > self.multiple:
            left = max(round(left / self.multiple), 1) * self.multiple
        return min(left, width)

    def _take(self, name: str, axis: int, left: _Left) -> None:
        """Of a stored value, what is left along ``axis``."""
        array = self.changed.get(name, self.w.array(name))
        if array is None:
            raise _Held(left.layers)
        if array.size == 1 and len(left.kept) != 1:
            return  # one number for all channels
        if name in self.changed and self.readers[name] > 1 and array.shape[axis] == len(left.kept):
            return  # a value that another node reads in the same way
        self.changed[name] = np.take(array, left.kept, axis)

    def _replace(self, node: NodeProto, at: int, value: Array) -> None:
        node.input[at] = self.w.store(self.w.fresh(f"{node.input[at]}/narrow"), value)


def _all(given: list[_Left]) -> frozenset[str]:
    return frozenset(name for left in given for name in left.layers)
