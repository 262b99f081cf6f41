"""What may stand between linear layers: operators that treat all channels alike, or scale and move each by itself.

A rule says how the result of a node lies in the space of what it reads; None where it does not.
"""

from collections.abc import Callable, Mapping

import numpy as np
from onnx import NodeProto

from edgewise.compress.prune.axes import number
from edgewise.compress.prune.linear_layers import Seen, Wiring
from edgewise.graph.walk import is_default_domain
from edgewise.graph.writer import Writer
from edgewise.measure.npz import Array
from edgewise.training.rewrites.opening import attribute

__all__ = ["PASSAGES", "normalisation"]


def normalisation(writer: Writer, node: NodeProto) -> tuple[Array, Array] | None:
    """scale and offset (width,) of a normalisation with stored averages; None for any other node."""
    if node.op_type != "BatchNormalization" or not is_default_domain(node.domain) or number(node, "training_mode", 0):
        return None
    found = [writer.array(name) for name in node.input[1:5]]
    if any(array is None for array in found):
        return None
    scale, bias, mean, variance = (np.asarray(array, np.float64) for array in found)
    factor = scale / np.sqrt(variance + float(attribute(node, "epsilon", 1e-5)))  # type: ignore[arg-type]  # a float
    return factor, bias - mean * factor


def _norm(wiring: Wiring, node: NodeProto, _value: str, seen: Seen) -> Seen | None:
    found = normalisation(wiring.writer, node) if seen.axis == 1 else None
    return None if found is None else Seen(1, seen.scale * found[0], seen.offset * found[0] + found[1])


def _same(_wiring: Wiring, _node: NodeProto, _value: str, seen: Seen) -> Seen | None:
    return seen


def _pooled(_wiring: Wiring, _node: NodeProto, _value: str, seen: Seen) -> Seen | None:
    return seen if seen.axis == 1 else None


def _over(wiring: Wiring, node: NodeProto, rank: int) -> list[int] | None:
    """Axes that a node names, in its attribute or as its second input."""
    listed = attribute(node, "axes", None)
    if len(node.input) > 1 and node.input[1]:
        stored = wiring.writer.array(node.input[1])
        listed = None if stored is None else stored.reshape(-1).tolist()
    return [int(at) % rank for at in listed] if isinstance(listed, list | tuple) else None


def _moved(wiring: Wiring, node: NodeProto, value: str, seen: Seen) -> Seen | None:
    """Squeeze, Unsqueeze, Transpose: the axis is elsewhere."""
    shape = wiring.writer.shape(value)
    if shape is None:
        return None
    if node.op_type == "Transpose":
        order = attribute(node, "perm", None)
        return Seen(list(order).index(seen.axis), seen.scale, seen.offset) if isinstance(order, list | tuple) else None
    made = wiring.writer.shape(node.output[0])
    if made is None:
        return None
    wider = max(len(shape), len(made))
    over = _over(wiring, node, wider)
    if over is None or (node.op_type == "Squeeze" and seen.axis in over):
        return None
    left = [at for at in range(wider) if at not in over]
    axis = left.index(seen.axis) if node.op_type == "Squeeze" else left[seen.axis]
    return Seen(axis, seen.scale, seen.offset)


def _reduced(wiring: Wiring, node: NodeProto, value: str, seen: Seen) -> Seen | None:
    shape = wiring.writer.shape(value)
    over = None if shape is None else _over(wiring, node, len(shape))
    if not over or seen.axis in over or (node.op_type == "ReduceSum" and seen.offset.any()):
        return None
    gone = 0 if number(node, "keepdims", 1) else sum(at < seen.axis for at in over)
    return Seen(seen.axis - gone, seen.scale, seen.offset)


def _flat(wiring: Wiring, node: NodeProto, value: str, seen: Seen) -> Seen | None:
    shape = wiring.writer.shape(value)
    ones = shape is not None and all(size == 1 for size in shape[2:])
    return seen if ones and seen.axis == 1 and number(node, "axis", 1) == 1 else None


def _weighted(wiring: Wiring, node: NodeProto, value: str, seen: Seen) -> Seen | None:
    """Times, or over, what is one number for all channels; or a stored number for each."""
    (other,) = [name for name in node.input if name != value] or [""]
    shape, given = wiring.writer.shape(value), wiring.writer.shape(other)
    if shape is None or given is None or len(given) > len(shape) or (node.op_type == "Div" and node.input[0] != value):
        return None
    along = seen.axis - (len(shape) - len(given))
    if along < 0 or given[along] == 1:
        return None if seen.offset.any() else seen
    return _stored(wiring, node, other, along, seen)


def _stored(wiring: Wiring, node: NodeProto, other: str, along: int, seen: Seen) -> Seen | None:
    """What is stored for each channel."""
    stored = wiring.vector(other)
    if stored is None or stored.size != len(seen.scale) or stored.shape[along] != stored.size:
        return None
    by = stored.reshape(-1)
    if node.op_type in {"Add", "Sub"}:
        return Seen(seen.axis, seen.scale, seen.offset + (by if node.op_type == "Add" else -by))
    factor = by if node.op_type == "Mul" else 1 / by
    return Seen(seen.axis, seen.scale * factor, seen.offset * factor) if np.isfinite(factor).all() else None


def _shifted(wiring: Wiring, node: NodeProto, value: str, seen: Seen) -> Seen | None:
    (other,) = [name for name in node.input if name != value] or [""]
    shape, given = wiring.writer.shape(value), wiring.writer.shape(other)
    if shape is None or given is None or len(given) > len(shape) or (node.op_type == "Sub" and node.input[0] != value):
        return None
    along = seen.axis - (len(shape) - len(given))
    return None if along < 0 else _stored(wiring, node, other, along, seen)


def _summed(wiring: Wiring, node: NodeProto, value: str, seen: Seen) -> Seen | None:
    """A product from the left: sums over positions, with weights that are computed."""
    shape, left = wiring.writer.shape(value), wiring.writer.shape(node.input[0])
    if node.input[0] == value or shape is None or left is None or len(left) > len(shape) or seen.offset.any():
        return None
    return seen if len(left) > 1 and seen.axis == len(shape) - 1 else None


#: Operator of the standard domain -> its rule: wiring, node, the value that is read, how that is seen.
PASSAGES: Mapping[str, Callable[[Wiring, NodeProto, str, Seen], Seen | None]] = {
    "Identity": _same, "Dropout": _same, "BatchNormalization": _norm, "GlobalAveragePool": _pooled, "Squeeze": _moved,
    "Unsqueeze": _moved, "Transpose": _moved, "ReduceSum": _reduced, "ReduceMean": _reduced, "Flatten": _flat, "Mul": _weighted,
    "Div": _weighted, "Add": _shifted, "Sub": _shifted, "MatMul": _summed,
}  # fmt: skip
