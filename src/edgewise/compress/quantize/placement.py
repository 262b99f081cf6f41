"""Where integers go: which nodes run on them, which values are rounded, and which of these share a grid.

onnxruntime's CPU provider runs a node in integers where everything that it reads comes out of a DequantizeLinear and, for most
operators, what it gives goes into a QuantizeLinear alone. A node between two layers that stays in floats costs two conversions
of a whole feature map, so the nodes between are taken in wherever the runtime has a form for them. What comes behind the last
layer is better in floats: it is small, and rounded scores are often equal. Looked for with onnxruntime 1.32 on x86:

- Conv, MatMul, Gemm, Add, Mul, AveragePool, GlobalAveragePool, LeakyRelu, Sigmoid and Concat have integer forms of their own;
- MaxPool and what only moves elements runs on the integers as they are, where both sides have the same grid;
- Relu and Clip vanish into the grid behind them: its lowest integer is 0, its highest the upper bound;
- Gemm and MatMul give floats where no rounding follows; Conv does not.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from edgewise.graph.order import captured
from edgewise.graph.walk import is_default_domain
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.opening import attribute, node_name

__all__ = ["LAYERS", "Placement", "bounds", "layers_of", "literal", "place", "reached", "weight_axis"]

#: Operators with weights that run in integers.
LAYERS = ("Conv", "Gemm", "MatMul")
_ARITHMETIC = {"Add", "Mul", "AveragePool", "GlobalAveragePool", "LeakyRelu", "Sigmoid", "Concat"}
_CARRIERS = {
    "DepthToSpace", "Expand", "Flatten", "Gather", "MaxPool", "Pad", "ReduceMax", "Reshape", "Resize", "Slice", "Split", "Squeeze",
    "Tile", "Transpose", "Unsqueeze",
}  # fmt: skip
_CLAMPS = {"Relu", "Clip"}


@dataclass(frozen=True, slots=True)
class Placement:
    """layers: nodes with weights, by ``node_name``, in the order of the graph. between: the other nodes that run in integers.

    values: rounded value -> the value whose range its grid spans; equal for values that share a grid.
    """

    layers: tuple[str, ...]
    between: tuple[str, ...]
    values: Mapping[str, str]


def layers_of(writer: Writer) -> list[NodeProto]:
    """The nodes that can run in integers by their own right: stored float weights, or MatMul of two computed values."""
    return [node for node in writer.graph.node if _is_layer(writer, node)]


def weight_axis(writer: Writer, node: NodeProto) -> int | None:
    """Axis of a layer's stored weight along which each output channel has its own scale; None where it cannot have one."""
    weight = writer.array(node.input[1])
    assert weight is not None, node.input[1]
    if node.op_type == "Conv":
        return 0
    if node.op_type == "ConvTranspose":
        return 1 if attribute(node, "group", 1) == 1 else None
    if node.op_type == "Gemm":
        return 0 if attribute(node, "transB", 0) else 1
    return 1 if weight.ndim == 2 else None


def place(writer: Writer, layers: Sequence[str]) -> Placement:
    """Integers for these layers (of ``layers_of``, by name) and for what lies between them."""
    return _Placing(writer, set(layers)).placement()


def reached(writer: Writer, also: Collection[str]) -> set[str]:
    """The values that could come in integers if all layers ran in them, and operators of the types ``also`` too."""
    return _Placing(writer, {node_name(node) for node in layers_of(writer)}).able(also)[1]


class _Placing:
    def __init__(self, writer: Writer, chosen: set[str]) -> None:
        self.writer = writer
        self.nodes = list(writer.graph.node)
        self.layers = [node for node in layers_of(writer) if node_name(node) in chosen]
        self.weights = {node.input[1] for node in self.layers if writer.array(node.input[1]) is not None}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in self.nodes:
            for name in captured(node):
                self.readers.setdefault(name, []).append(node)
        self.outputs = {value.name for value in writer.graph.output}
        self.inputs = {value.name for value in writer.graph.input}

    def placement(self) -> Placement:
        able, _ = self.able()
        rounded = {name: name for node in self.layers for name in self._computed(node)}
        rounded |= {name: name for node in self.layers if node.op_type == "Conv" for name in [self._result(node)]}
        taken: list[NodeProto] = []
        own = {id(node) for node in self.layers}
        for node in reversed(self.nodes):
            results = {self._result(node), *node.output}
            if id(node) in own or id(node) not in able or not results & set(rounded):
                continue
            taken.append(node)
            rounded |= {name: name for name in self._data(node)}
        taken.reverse()
        for node in taken:
            if node.op_type in _CARRIERS:
                rounded |= {name: rounded[node.input[0]] for name in node.output if name in rounded}
        names = tuple(node_name(node) for node in taken)
        return Placement(tuple(node_name(node) for node in self.layers), names, rounded)

    def able(self, also: Collection[str] = ()) -> tuple[set[int], set[str]]:
        """Nodes whose every input could come in integers: made by a layer, by such a node, or the model's own. And their values."""
        ready, able = set(self.inputs), set[int]()
        own = {id(node) for node in self.layers}
        for node in self.nodes:
            # Parts of a Concat that come in floats are rounded before it: one conversion where two would be behind.
            enough = any if node.op_type == "Concat" else all
            fits = id(node) not in own and (node.op_type in also or self._has_integer_form(node))
            if id(node) in own or (fits and enough(name in ready for name in self._computed(node))):
                able.add(id(node))
                ready |= {*node.output, self._result(node)}
        return able, ready

    def _has_integer_form(self, node: NodeProto) -> bool:
        # A table that is a layer's weight as well has that layer's scales, one for each row: it is looked up in floats.
        return _has_integer_form(self.writer, node) and not (node.op_type == "Gather" and node.input[0] in self.weights)

    def _result(self, node: NodeProto) -> str:
        """Where a node's result is rounded: behind the Relu or Clip that nothing else reads beside."""
        (name,) = node.output[:1]
        readers = self.readers.get(name, [])
        if node.op_type in _CARRIERS or len(readers) != 1 or name in self.outputs:
            return name
        (follower,) = readers
        return follower.output[0] if _clamps(self.writer, follower) and follower.input[0] == name else name

    def _computed(self, node: NodeProto) -> Iterator[str]:
        """The numbers that a node computes with and that are not stored."""
        return (name for name in self._data(node) if self.writer.array(name) is None)

    def _data(self, node: NodeProto) -> Iterator[str]:
        """The numbers, stored ones of Add and Mul too, that must be rounded for the node to run in integers."""
        count = len(node.input) if node.op_type == "Concat" else 2 if node.op_type in {"Add", "Mul", *LAYERS} else 1
        stored = node.op_type not in LAYERS
        return (name for name in node.input[:count] if name and (stored or self.writer.array(name) is None))


def _is_layer(writer: Writer, node: NodeProto) -> bool:
    if node.op_type not in LAYERS or not is_default_domain(node.domain):
        return False
    if any(writer.dtype(name) not in {"float32", ""} for name in node.input[:2]):
        return False
    weight = writer.array(node.input[1])
    if node.op_type == "MatMul":
        return writer.array(node.input[0]) is None and (weight is None or weight.ndim >= 2)
    plain = node.op_type == "Conv" or (attribute(node, "alpha", 1.0), attribute(node, "beta", 1.0)) == (1.0, 1.0)
    stored = len(node.input) < 3 or not node.input[2] or writer.array(node.input[2]) is not None
    return weight is not None and plain and stored and writer.array(node.input[0]) is None


def _has_integer_form(writer: Writer, node: NodeProto) -> bool:
    if not is_default_domain(node.domain) or writer.dtype(node.output[0]) not in {"float32", ""}:
        return False
    if node.op_type in {"Add", "Mul"}:
        # A vector behind a MatMul is its bias: exact in floats, where onnxruntime adds it while it converts.
        makers = {name: other for other in writer.graph.node for name in other.output}
        stored = [name for name in node.input if writer.array(name) is not None]
        if stored:
            return all(makers[n].op_type != "MatMul" for n in node.input if n in makers) and len(stored) == 1
        return True
    if node.op_type == "Resize":
        return attribute(node, "mode", "nearest") == "nearest"
    if node.op_type == "Pad":
        value = writer.array(node.input[2]) if len(node.input) > 2 and node.input[2] else np.zeros(1)
        return attribute(node, "mode", "constant") == "constant" and value is not None and not np.any(value)
    return node.op_type in _ARITHMETIC | _CARRIERS


def _clamps(writer: Writer, node: NodeProto) -> bool:
    if node.op_type not in _CLAMPS or not is_default_domain(node.domain):
        return False
    low, high = bounds(writer, node)
    return low == 0.0 and high > 0


def bounds(writer: Writer, node: NodeProto) -> tuple[float, float]:
    """What a Relu or Clip lets through; NaN where a bound is computed."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    ends = [-np.inf, np.inf]
    for at in (1, 2):
        if at < len(node.input) and node.input[at]:
            array = writer.array(node.input[at])
            ends[at - 1] = np.nan if array is None else float(array.reshape(-1)[0])
    return ends[0], ends[1]


def literal(name: str) -> str:
    """A shell pattern that means this name alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
