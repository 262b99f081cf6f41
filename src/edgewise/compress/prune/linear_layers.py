"""Which nodes are linear layers with a stored matrix of their own, how they make or read what lies along an axis of a value."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto

from edgewise.compress.prune.axes import number
from edgewise.compress.prune.rules import GATES
from edgewise.graph.order import captured, first_output
from edgewise.graph.walk import is_default_domain
from edgewise.graph.writer import Writer
from edgewise.measure.npz import Array
from edgewise.training.rewrites.opening import attribute

__all__ = ["Made", "Maker", "Reader", "Seen", "Wiring", "maker_of", "makers_of", "reader_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """How a value lies in its space: coordinates z along ``axis``, shown as ``scale`` * z + ``offset``, both (width,)."""

    axis: int
    scale: Array
    offset: Array

    @property
    def plain(self) -> bool:
        """True where the value is z itself."""
        return not self.offset.any() and bool((self.scale == 1).all())


@dataclass(frozen=True, slots=True)
class Maker:
    """result: the node's output. axis: of the weight, that runs along the space. norm: result of a normalisation to be drawn in."""

    result: str
    weight: str
    axis: int
    norm: str = ""


@dataclass(frozen=True, slots=True)
class Reader:
    """result: the node's output. axis: of the weight, that is summed over. seen: how the layer sees the space."""

    result: str
    value: str
    weight: str
    axis: int
    seen: Seen


@dataclass(frozen=True, slots=True)
class Made:
    """A maker, the axis of its channels in its result, and how many they are."""

    maker: Maker
    axis: int
    width: int


class Wiring:
    """Final. Who makes what in an opened graph, and who reads it."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.makers = {name: node for node in writer.graph.node for name in node.output if name}
        self.outputs = {value.name for value in writer.graph.output}
        self.readers: dict[str, list[NodeProto]] = {}
        for node in writer.graph.node:
            for name in captured(node):
                self.readers.setdefault(name, []).append(node)

    def rank(self, name: str) -> int:
        """Axes of a value; 0 where they are not known."""
        return len(self.writer.shape(name) or ())

    def vector(self, name: str) -> Array | None:
        """What is stored under a name."""
        array = self.writer.array(name)
        return None if array is None else np.asarray(array, np.float64)

    def own(self, node: NodeProto, at: int) -> Array | None:
        """The stored matrix (or kernel) of floats at an input, if that node alone reads it."""
        name = node.input[at] if at < len(node.input) else ""
        array = self.writer.array(name)
        if array is None or array.dtype != np.float32 or array.ndim < 2 or name in self.outputs:
            return None
        return np.asarray(array) if len(self.readers.get(name, [])) == list(node.input).count(name) == 1 else None

    def bias_fits(self, node: NodeProto, width: int) -> bool:
        """True where there is no bias, or a stored vector."""
        if len(node.input) < 3 or not node.input[2]:
            return True
        bias = self.vector(node.input[2])
        return bias is not None and bias.shape == (width,)


def maker_of(wiring: Wiring, node: NodeProto) -> Made | None:
    """How a layer makes a space; None where it does not."""
    rule = _MAKERS.get(node.op_type) if is_default_domain(node.domain) else None
    return None if rule is None else rule(wiring, node)


def makers_of(writer: Writer) -> dict[str, Made]:
    """Every linear layer that could make a space, by its result."""
    wiring = Wiring(writer)
    found = {first_output(node): maker_of(wiring, node) for node in writer.graph.node}
    return {name: made for name, made in found.items() if made is not None}


def reader_of(wiring: Wiring, node: NodeProto, value: str, seen: Seen) -> Reader | None:
    """How a layer reads a value along its axis; None where it is not by a stored matrix alone."""
    rule = _READERS.get(node.op_type) if is_default_domain(node.domain) else None
    weight = wiring.own(node, 1)
    if rule is None or weight is None or node.input[0] != value or list(node.input).count(value) > 1:
        return None
    axis = rule(wiring, node, weight, seen)
    return None if axis is None else Reader(first_output(node), value, node.input[1], axis, seen)


def _gather(wiring: Wiring, node: NodeProto) -> Made | None:
    table, ids = wiring.own(node, 0), wiring.writer.shape(node.input[1])
    if table is None or table.ndim != 2 or ids is None or number(node, "axis", 0):
        return None
    return Made(Maker(node.output[0], node.input[0], 1), len(ids), table.shape[1])


def _conv(wiring: Wiring, node: NodeProto) -> Made | None:
    weight = wiring.own(node, 1)
    if weight is None or number(node, "group", 1) != 1 or not wiring.bias_fits(node, weight.shape[0]):
        return None
    return Made(Maker(node.output[0], node.input[1], 0), 1, weight.shape[0])


def _gemm(wiring: Wiring, node: NodeProto) -> Made | None:
    weight, axis = wiring.own(node, 1), 0 if number(node, "transB", 0) else 1
    if weight is None or not _product_alone(node) or not wiring.bias_fits(node, weight.shape[axis]):
        return None
    return Made(Maker(node.output[0], node.input[1], axis), 1, weight.shape[axis])


def _matmul(wiring: Wiring, node: NodeProto) -> Made | None:
    weight, rank = wiring.own(node, 1), wiring.rank(node.input[0])
    if weight is None or weight.ndim != 2 or rank < 2:
        return None
    return Made(Maker(node.output[0], node.input[1], 1), rank - 1, weight.shape[1])


def _product_alone(node: NodeProto) -> bool:
    """True for a Gemm without factors, of which the input is not turned."""
    factors = [attribute(node, name, 1.0) for name in ("alpha", "beta")]
    return factors == [1.0, 1.0] and not number(node, "transA", 0)


def _conv_reads(wiring: Wiring, node: NodeProto, weight: Array, seen: Seen) -> int | None:
    pads, auto = attribute(node, "pads", [0]), attribute(node, "auto_pad", "NOTSET")
    bare = isinstance(pads, list | tuple) and not any(pads) and auto in {"NOTSET", "VALID"}
    point = number(node, "group", 1) == 1 and set(weight.shape[2:]) == {1} and seen.axis == 1
    return 1 if point and bare and wiring.bias_fits(node, weight.shape[0]) else None


def _gemm_reads(wiring: Wiring, node: NodeProto, weight: Array, seen: Seen) -> int | None:
    axis = 1 if number(node, "transB", 0) else 0
    fits = seen.axis == 1 and _product_alone(node) and wiring.bias_fits(node, weight.shape[1 - axis])
    return axis if fits else None


def _matmul_reads(wiring: Wiring, node: NodeProto, weight: Array, seen: Seen) -> int | None:
    return 0 if weight.ndim == 2 and 0 < seen.axis == wiring.rank(node.input[0]) - 1 else None


def _gates_read(wiring: Wiring, node: NodeProto, _weight: Array, seen: Seen) -> int | None:
    stored = len(node.input) < 4 or not node.input[3] or wiring.vector(node.input[3]) is not None
    return 2 if stored and seen.axis == 2 and not number(node, "layout", 0) else None


_MAKERS: Mapping[str, Callable[[Wiring, NodeProto], Made | None]] = {
    "Gather": _gather, "Conv": _conv, "Gemm": _gemm, "MatMul": _matmul,
}  # fmt: skip
_READERS: Mapping[str, Callable[[Wiring, NodeProto, Array, Seen], int | None]] = {
    "Conv": _conv_reads, "Gemm": _gemm_reads, "MatMul": _matmul_reads, **dict.fromkeys(GATES, _gates_read),
}  # fmt: skip
