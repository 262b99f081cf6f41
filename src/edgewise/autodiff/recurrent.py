"""What the gradients of recurrent layers share: one direction of a layer, and the sums over all steps.

The runtime's own layer runs forward and gives every state. From these all gates of all steps follow at once (two long matrix
products); backwards, only what really is sequential stays in a Scan.
"""

from collections.abc import Callable

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, helper

from edgewise.autodiff.call import Call, Gradients

__all__ = ["FAR", "body_node", "body_value", "both_ways", "collected", "part", "predecessors", "way", "whole_sequences"]

FAR = 2**62  # an end of a slice beyond every end
#: The gradients through one direction: number of an input -> name, those of weights and states with a leading axis of length 1.
OneWay = Callable[[int, bool], dict[int, str]]
_ELEMENTS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


def both_ways(c: Call, one_way: OneWay) -> Gradients:
    """The gradients of a layer from those of its directions: summed for the input, side by side for weights and states.

    one_way: called with the number of a direction and whether it walks backwards; names the layer's output of all states, which
    the node is made to give where it did not.
    """
    ways = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[c.attr("direction", "forward")]
    if not c.node.output[0]:
        c.node.output[0] = c.w.fresh(f"{next(name for name in c.node.output if name)}/all")
    found = [one_way(at, backwards) for at, backwards in enumerate(ways)]
    result: dict[int, str] = {}
    for at in found[0]:
        parts = [one[at] for one in found]
        if at == 0:
            result[at] = parts[0] if len(parts) == 1 else c.op("Add", *parts)
        else:  # per direction, along the first axis
            result[at] = parts[0] if len(parts) == 1 else c.op("Concat", *parts, axis=0)
    return result


def whole_sequences(c: Call) -> bool:
    """True where every sequence is as long as the longest."""
    lengths, shape = c.w.array(c.x(4)) if c.x(4) else None, c.shape(c.x(0))
    return not c.x(4) or (lengths is not None and shape is not None and bool(np.all(lengths == shape[0])))


def predecessors(c: Call, states: str, start: str, *, backwards: bool) -> str:
    """For each step of ``states`` (T, N, H) the state before it in the direction of the walk; ``start`` (1, N, H) is the first."""
    order = [part(c, states, 0, 1, FAR), start] if backwards else [start, part(c, states, 0, 0, -1)]
    return c.op("Concat", *order, axis=0)


def collected(
    c: Call, x: str, before: str, scanned: str, inner: str, w_in: str, rows: int, size: int
) -> dict[int, str]:
    """Gradients of input, weights and biases from the errors of all pre-activations: ``scanned`` (T, N, rows) on the side of the
    input, ``inner`` on the side of the state.
    """
    result: dict[int, str] = {}
    flat, flat_inner = (c.op("Reshape", name, c.w.ints(-1, rows)) for name in (scanned, inner))
    lead = c.w.ints(0)
    if c.wants(0):
        result[0] = c.op("MatMul", scanned, w_in)
    if c.wants(1):
        given = c.op("Reshape", x, c.w.ints(-1, c.size(c.x(1), 2)))
        result[1] = c.op("Unsqueeze", c.op("Gemm", flat, given, transA=1), lead)
    if c.wants(2):
        given = c.op("Reshape", before, c.w.ints(-1, size))
        result[2] = c.op("Unsqueeze", c.op("Gemm", flat_inner, given, transA=1), lead)
    if c.x(3) and c.wants(3):
        sums = [c.op("ReduceSum", each, lead, keepdims=1) for each in (flat, flat_inner)]
        result[3] = c.op("Concat", *sums, axis=1)
    return result


def way(c: Call, name: str, at: int, axis: int = 0) -> str:
    """What belongs to one direction, without the axis of the directions."""
    return part(c, name, axis, at, at + 1, squeeze=True)


def part(c: Call, name: str, axis: int, start: int, end: int, *, squeeze: bool = False) -> str:
    """A slice along one axis; squeeze: without that axis, which then has length 1."""
    whole = squeeze and start == 0 and (c.shape(name) or ((None,) * (axis + 1)))[axis] == 1
    cut = name if whole else c.op("Slice", name, c.w.ints(start), c.w.ints(end), c.w.ints(axis))
    return c.op("Squeeze", cut, c.w.ints(axis)) if squeeze else cut


def body_node(operator: str, inputs: list[str], output: str, **attributes: int) -> NodeProto:
    """A node of a Scan's body."""
    return helper.make_node(operator, inputs, [output], **attributes)


def body_value(c: Call, name: str) -> ValueInfoProto:
    """An input or output of a Scan's body, of the layer's type."""
    return helper.make_tensor_value_info(name, _ELEMENTS[c.w.dtype(c.x(0))], None)
