"""How channels go through operators that compute: layers, normalisations, elementwise operators, reductions, pooling.

A rule ties the axes of a node's operands (stored weights among them) and says what lies on the axes of its results.
"""

from collections.abc import Callable, Mapping

import numpy as np
from onnx import NodeProto

from edgewise.compress.prune.atoms import Axis
from edgewise.compress.prune.axes import POSITION, Axes, NotUnderstoodError, number
from edgewise.training.rewrites.opening import attribute

__all__ = ["GATES", "RULES", "Rule", "takes_groups"]

Rule = Callable[[Axes, NodeProto], None]
#: Recurrent operator -> gates, each with a row of weights per hidden unit.
GATES: Mapping[str, int] = {"GRU": 3, "LSTM": 4, "RNN": 1}


def takes_groups(inputs: int, outputs: int) -> bool:
    """Whether whole groups of a grouped convolution go (a depthwise one has one channel each), or else the same places of all.

    inputs, outputs: channels of a group.
    """
    return inputs == 1 or outputs == 1


def _same(axes: Axes, node: NodeProto) -> None:
    for name in node.output:
        axes.give(name, axes.of(node.input[0]))


def _elementwise(axes: Axes, node: NodeProto) -> None:
    axes.give(node.output[0], axes.broadcast([axes.of(name) for name in node.input if name]))


def _norm(axes: Axes, node: NodeProto) -> None:
    """Per channel of axis 1: BatchNormalization, InstanceNormalization."""
    if number(node, "training_mode", 0):
        raise NotUnderstoodError("it is in training mode")
    given = axes.of(node.input[0])
    for name in node.input[1:]:
        axes.tie(given[1], axes.of(name)[0])
    axes.give(node.output[0], given)


def _layer_norm(axes: Axes, node: NodeProto) -> None:
    given = axes.of(node.input[0])
    first = number(node, "axis", -1) % len(given)
    axes.broadcast([given, *(axes.of(name) for name in node.input[1:] if name)])
    for axis in given[first:]:
        axes.atoms.blur(axis)  # mean and deviation are over what is left
    axes.give(node.output[0], given)
    for name in node.output[1:]:
        if name:
            axes.give(name, axes.positions(name))


def _grouped(axes: Axes, channels: Axis, groups: int) -> None:
    """The same places of all groups stand and fall together."""
    if channels is not None:
        first, *others = channels.reshape(groups, -1)
        for other in others:
            axes.tie(first, other)


def _conv(axes: Axes, node: NodeProto) -> None:
    given, weight = axes.of(node.input[0]), axes.of(node.input[1])
    turned, groups = node.op_type == "ConvTranspose", number(node, "group", 1)
    incoming, front, back = given[1], weight[0], weight[1]
    if incoming is None or front is None or back is None:
        raise NotUnderstoodError("the number of its channels is open")
    if groups == 1:
        axes.tie(incoming, front if turned else back)
        outgoing: Axis = back if turned else front
    else:
        outgoing = _grouped_conv(axes, incoming, front, back, groups, turned=turned)
    if len(node.input) > 2 and node.input[2]:
        axes.tie(outgoing, axes.of(node.input[2])[0])
    for axis in weight[2:]:
        axes.atoms.pin(axis, POSITION)
    axes.give(node.output[0], [given[0], outgoing, *axes.positions(node.output[0])[2:]])


def _grouped_conv(
    axes: Axes, incoming: np.ndarray, front: np.ndarray, back: np.ndarray, groups: int, *, turned: bool
) -> Axis:
    inputs = len(incoming) // groups
    outputs = len(back) if turned else len(front) // groups
    if takes_groups(inputs, outputs):
        axes.atoms.pin(back, POSITION)
        group = axes.atoms.new(groups)
        axes.tie(incoming, np.repeat(group, inputs))
        axes.tie(front, np.repeat(group, inputs if turned else outputs))
        return np.repeat(group, outputs)
    _grouped(axes, incoming, groups)
    if turned:
        axes.tie(incoming, front)
        return np.tile(back, groups)
    axes.tie(incoming, np.tile(back, groups))
    _grouped(axes, front, groups)
    return front


def _gemm(axes: Axes, node: NodeProto) -> None:
    left, right = axes.of(node.input[0]), axes.of(node.input[1])
    rows, inner = reversed(left) if number(node, "transA", 0) else left
    other, columns = reversed(right) if number(node, "transB", 0) else right
    _contract(axes, node, inner, other)
    result = [rows, columns]
    if len(node.input) > 2 and node.input[2]:
        result = axes.broadcast([result, axes.of(node.input[2])])
    axes.give(node.output[0], result)


def _matmul(axes: Axes, node: NodeProto) -> None:
    left, right = axes.of(node.input[0]), axes.of(node.input[1])
    if len(left) < 2 or len(right) < 2:
        raise NotUnderstoodError("an operand is a vector")
    _contract(axes, node, left[-1], right[-2])
    batch = axes.broadcast([left[:-2], right[:-2]]) if len(left) > 2 or len(right) > 2 else []
    axes.give(node.output[0], [*batch, left[-2], right[-1]])


def _contract(axes: Axes, node: NodeProto, first: Axis, second: Axis) -> None:
    axes.tie(first, second)
    if not any(name in axes.stored for name in node.input[:2]):
        axes.atoms.blur(first)  # what is left out was perhaps not zero on either side


def _recurrent(axes: Axes, node: NodeProto) -> None:
    if number(node, "layout", 0):
        raise NotUnderstoodError("it has the batch in front")
    given, weight, back = (axes.of(name) for name in node.input[:3])
    gates, units = GATES[node.op_type], back[2]
    if units is None:
        raise NotUnderstoodError("its hidden size is open")
    axes.tie(given[2], weight[2])
    rows = np.tile(units, gates)
    axes.tie(rows, weight[1])
    axes.tie(rows, back[1])
    extra = dict(enumerate(node.input))
    if extra.get(3):
        axes.tie(np.tile(units, 2 * gates), axes.of(extra[3])[1])
    for at in (5, 6):
        if extra.get(at):
            axes.tie(units, axes.of(extra[at])[2])
    if extra.get(7):
        axes.tie(np.tile(units, 3), axes.of(extra[7])[1])
    for name in (node.input[1], node.input[2], *(extra[at] for at in (3, 7) if extra.get(at))):
        axes.atoms.pin(axes.of(name)[0], POSITION)
    for name in node.output:
        if name:
            axes.give(name, [*axes.positions(name)[:-1], units])


def _softmax(axes: Axes, node: NodeProto) -> None:
    given = axes.of(node.input[0])
    axes.atoms.pin(given[number(node, "axis", -1) % len(given)], f"{node.op_type} is taken over it")
    axes.give(node.output[0], given)


def _pool(axes: Axes, node: NodeProto) -> None:
    if len([name for name in node.output if name]) > 1:
        raise NotUnderstoodError("its indices are read")
    axes.give(node.output[0], [*axes.of(node.input[0])[:2], *axes.positions(node.output[0])[2:]])


def _reduce(axes: Axes, node: NodeProto) -> None:
    given = axes.of(node.input[0])
    listed = attribute(node, "axes", None)
    over = list(listed) if isinstance(listed, list | tuple) else None
    if len(node.input) > 1 and node.input[1]:
        over = axes.ints(node.input[1])
        if over is None:
            raise NotUnderstoodError("its axes are computed")
    if over is None:
        over = [] if number(node, "noop_with_empty_axes", 0) else list(range(len(given)))
    gone = {at % len(given) for at in over}
    for at in gone:
        axes.atoms.blur(given[at])
    _reduced(axes, node, given, gone)


def _arg(axes: Axes, node: NodeProto) -> None:
    given = axes.of(node.input[0])
    at = number(node, "axis", 0) % len(given)
    axes.atoms.pin(given[at], f"{node.op_type} counts along it")
    _reduced(axes, node, given, {at})


def _reduced(axes: Axes, node: NodeProto, given: list[Axis], gone: set[int]) -> None:
    kept = number(node, "keepdims", 1)
    one = axes.atoms.fixed(1, POSITION)
    axes.give(
        node.output[0],
        [one if at in gone else axis for at, axis in enumerate(given) if kept or at not in gone],
    )


_UNARY = (
    "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Gelu", "Sigmoid", "HardSigmoid", "HardSwish", "Mish", "Tanh", "Softplus",
    "Softsign", "ThresholdedRelu", "Erf", "Exp", "Log", "Sqrt", "Reciprocal", "Abs", "Neg", "Floor", "Ceil", "Round", "Sign", "Not",
    "Clip", "Cast", "Identity", "Dropout", "IsNaN", "Sin", "Cos", "Shrink",
)  # fmt: skip
_BINARY = (
    "Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum", "Mean", "Where", "PRelu", "Equal", "Greater", "GreaterOrEqual", "Less",
    "LessOrEqual", "And", "Or", "Xor", "Mod",
)  # fmt: skip
_REDUCTIONS = (
    "ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceProd", "ReduceLogSumExp",
    "ReduceLogSum",
)  # fmt: skip
_POOLS = ("MaxPool", "AveragePool", "LpPool", "GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")

#: Operator of the standard domain -> its rule.
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_UNARY, _same), **dict.fromkeys(_BINARY, _elementwise), **dict.fromkeys(_REDUCTIONS, _reduce),
    **dict.fromkeys(_POOLS, _pool), **dict.fromkeys(GATES, _recurrent),
    "Conv": _conv, "ConvTranspose": _conv, "Gemm": _gemm, "MatMul": _matmul, "BatchNormalization": _norm,
    "InstanceNormalization": _norm, "LayerNormalization": _layer_norm, "Softmax": _softmax, "LogSoftmax": _softmax, "ArgMax": _arg,
    "ArgMin": _arg,
}  # fmt: skip
