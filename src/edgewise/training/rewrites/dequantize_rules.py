"""Quantized operators in floating point: what each computes but for its rounding."""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import NodeProto, helper

from edgewise.training.rewrites.dequantize_walk import Array, Integers, Products, Unfit, Walk
from edgewise.training.rewrites.opening import attribute

__all__ = ["OVER_INTEGERS", "RULES", "multiply"]

Rule = Callable[[Walk, NodeProto], None]

#: Operators that move elements, and mean the same on integers as on the numbers they stand for.
MOVES = {
    "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "MaxPool", "Reshape", "Slice", "SpaceToDepth", "Squeeze", "Tile",
    "Transpose", "Unsqueeze",
}  # fmt: skip


def _attributes(node: NodeProto, *dropped: str) -> dict[str, Any]:
    if attribute(node, "channels_last", 0):
        raise Unfit("it has its channels last")
    return {a.name: helper.get_attribute_value(a) for a in node.attribute if a.name not in {*dropped, "channels_last"}}


def _quantize(k: Walk, node: NodeProto) -> None:
    integers = k.known(node, 1, 2, int(str(attribute(node, "axis", 1))))
    if attribute(node, "block_size", 0):
        raise Unfit("its scales are per block")
    kind = int(str(attribute(node, "output_dtype", 0)))
    if kind and len(node.input) < 3:
        integers = Integers(integers.scale, np.zeros((), helper.tensor_dtype_to_np_dtype(kind)), integers.axis)
    stored = k.w.array(node.input[0])
    if stored is None:
        k.give(node.output[0], node.input[0], integers)
        return
    # A stored weight that is rounded on every run: its rounded value is what the model has.
    k.w.store(node.output[0], integers.whole(stored))


def _dequantize(k: Walk, node: NodeProto) -> None:
    integers = k.known(node, 1, 2, int(str(attribute(node, "axis", 1))))
    if attribute(node, "block_size", 0):
        raise Unfit("its scales are per block")
    stored = k.w.array(node.input[0])
    if stored is not None:
        k.w.store(node.output[0], integers.real(stored))
    else:
        k.w.append_named("Identity", [k.real(node.input[0], integers)], [node.output[0]])


def _move(k: Walk, node: NodeProto) -> None:
    twin = k.twins[node.input[0]]
    if len([name for name in node.output if name]) > 1 or any(name in k.twins for name in node.input[1:]):
        raise Unfit("it moves integers in a way that is not supported")
    output = k.w.node(node.op_type, twin.value, *node.input[1:], **_attributes(node))
    k.w.declare(output, k.w.dtype(twin.value), k.w.shape(node.output[0]))
    k.twins[node.output[0]] = type(twin)(output, twin.integers)


def _concat(k: Walk, node: NodeProto) -> None:
    twins = [k.twins.get(name) for name in node.input]
    if any(twin is None or not twin.integers.same(twins[0].integers) for twin in twins if twins[0] is not None):
        raise Unfit("it joins integers of different scales")
    output = k.w.node("Concat", *(twin.value for twin in twins if twin is not None), **_attributes(node))
    assert twins[0] is not None
    k.twins[node.output[0]] = type(twins[0])(output, twins[0].integers)


def _conv(k: Walk, node: NodeProto) -> None:
    into, weights = k.known(node, 1, 2), k.known(node, 4, 5, 0)
    inputs = [k.real(node.input[0], into), _weight(k, node.input[3], weights)]
    if len(node.input) > 8 and node.input[8]:
        inputs.append(_bias(k, node.input[8], into, weights.scale))
    k.give(node.output[0], k.w.node("Conv", *inputs, **_attributes(node)), k.known(node, 6, 7))


def _matmul(k: Walk, node: NodeProto) -> None:
    sides = [k.real(node.input[at], k.known(node, at + 1, at + 2, -2 if at == 0 else -1)) for at in (0, 3)]
    k.give(node.output[0], k.w.node("MatMul", *sides), k.known(node, 6, 7))


def _gemm(k: Walk, node: NodeProto) -> None:
    turned = bool(attribute(node, "transB", 0))
    into, weights = k.known(node, 1, 2), k.known(node, 4, 5, 0 if turned else 1)
    inputs = [k.real(node.input[0], into), _weight(k, node.input[3], weights)]
    if len(node.input) > 6 and node.input[6]:
        # com.microsoft QGemm: C has the scale alpha * a_scale * b_scale.
        inputs.append(_bias(k, node.input[6], into, weights.scale * float(str(attribute(node, "alpha", 1.0)))))
    result = k.w.node("Gemm", *inputs, **_attributes(node))
    if len(node.input) > 7 and node.input[7]:
        k.give(node.output[0], result, k.known(node, 7, 8))
    else:
        k.w.append_named("Identity", [result], [node.output[0]])


def _weight(k: Walk, name: str, integers: Integers) -> str:
    if k.w.array(name) is None:
        raise Unfit(f"its weight {name!r} is computed")
    return k.real(name, integers)


def _bias(k: Walk, name: str, into: Integers, scale: Array) -> str:
    stored = k.w.array(name)
    if stored is None:
        raise Unfit(f"its bias {name!r} is computed")
    real = stored.astype(np.float64) * float(into.scale.reshape(-1)[0]) * scale.astype(np.float64)
    return k.w.store(k.w.fresh(f"{name}/real"), real.astype(into.scale.dtype))


def _pair(operator: str) -> Rule:
    def rule(k: Walk, node: NodeProto) -> None:
        sides = [k.real(node.input[at], k.known(node, at + 1, at + 2)) for at in (0, 3)]
        k.give(node.output[0], k.w.node(operator, *sides), k.known(node, 6, 7))

    return rule


def _single(operator: str, *dropped: str) -> Rule:
    def rule(k: Walk, node: NodeProto) -> None:
        real = k.real(node.input[0], k.known(node, 1, 2))
        k.give(node.output[0], k.w.node(operator, real, **_attributes(node, *dropped)), k.known(node, 3, 4))

    return rule


def _softmax(k: Walk, node: NodeProto) -> None:
    if int(str(attribute(node, "opset", 13))) < 13 and attribute(node, "axis", -1) != -1:
        raise Unfit("its softmax runs over several axes at once")
    _single("Softmax", "opset")(k, node)


def _joined(k: Walk, node: NodeProto) -> None:
    """com.microsoft QLinearConcat: y_scale, y_zero_point, then (x, scale, zero point) for each part."""
    parts = [k.real(node.input[at], k.known(node, at + 1, at + 2)) for at in range(2, len(node.input), 3)]
    k.give(node.output[0], k.w.node("Concat", *parts, **_attributes(node)), k.known(node, 0, 1))


def _mean(k: Walk, node: NodeProto) -> None:
    axes = attribute(node, "axes", None)
    real = k.real(node.input[0], k.known(node, 1, 2))
    extra = [] if axes is None else [k.w.ints(*axes)]  # type: ignore[misc]
    result = k.w.node("ReduceMean", real, *extra, keepdims=int(str(attribute(node, "keepdims", 1))))
    k.give(node.output[0], result, k.known(node, 3, 4))


def _dynamic(k: Walk, node: NodeProto) -> None:
    """The range is that of x itself, so nothing is cut off and x is its own twin; scale and zero point fall away."""
    k.dynamic[node.output[0]] = (node.input[0], node.output[1])


def _products(k: Walk, node: NodeProto) -> None:
    stored = k.w.array(node.input[1])
    if node.input[0] not in k.dynamic or stored is None:
        raise Unfit("it is supported with a stored weight behind DynamicQuantizeLinear only")
    zero = k.w.array(node.input[3]) if len(node.input) > 3 and node.input[3] else np.zeros((), stored.dtype)
    if zero is None:
        raise Unfit("its zero point is computed")
    value, scale = k.dynamic[node.input[0]]
    axis = 0 if node.op_type == "ConvInteger" else -1
    weight = Integers(np.ones(zero.shape, np.float32), zero, axis).real(stored)
    k.products[node.output[0]] = Products(node, value, weight, scale)


def _cast(k: Walk, node: NodeProto) -> None:
    if node.input[0] not in k.products:
        raise Unfit("it casts integers that stand for numbers")
    k.products[node.output[0]] = k.products[node.input[0]]


def _factor(k: Walk, node: NodeProto) -> bool:
    """scale of x, found at run time, times the stored scale of a weight; noted, and written only where something else reads it."""
    run_time = {scale for _, scale in k.dynamic.values()}
    for at, other in ((0, 1), (1, 0)):
        stored = k.w.array(node.input[other])
        if node.input[at] in run_time and stored is not None:
            k.factors[node.output[0]] = (node.input[at], stored)
            return True
    return False


def _scaled(k: Walk, node: NodeProto) -> None:
    at = 0 if node.input[0] in k.products else 1
    product, factor = k.products[node.input[at]], k.factors.get(node.input[1 - at])
    if factor is None or factor[0] != product.scale:
        raise Unfit("its products are not multiplied with the two scales they were made with")
    scale = factor[1].astype(np.float32)
    conv = product.node.op_type == "ConvInteger"
    if conv and scale.size > 1:
        # One factor for each output channel, shaped to fit the result: (C, 1, 1) or (1, C, 1, 1).
        scale = scale.reshape(-1, *[1] * (product.weight.ndim - 1))
    weight = k.w.store(k.w.fresh(f"{product.node.input[1]}/real"), product.weight * scale)
    result = k.w.node("Conv" if conv else "MatMul", product.value, weight, **_attributes(product.node))
    k.w.append_named("Identity", [result], [node.output[0]])


def multiply(k: Walk, node: NodeProto) -> bool:
    """Mul where it belongs to run-time quantization. Gives False where it is an ordinary one."""
    if any(name in k.products for name in node.input):
        _scaled(k, node)
        return True
    return _factor(k, node)


def _dynamic_matmul(k: Walk, node: NodeProto) -> None:
    """com.microsoft DynamicQuantizeMatMul: A, B, b_scale, b_zero_point, bias."""
    result = k.w.node("MatMul", node.input[0], _weight(k, node.input[1], k.known(node, 2, 3, -1)))
    if len(node.input) > 4 and node.input[4]:
        result = k.w.node("Add", result, node.input[4])
    k.w.append_named("Identity", [result], [node.output[0]])


def _matmul_to_float(k: Walk, node: NodeProto) -> None:
    """com.microsoft MatMulIntegerToFloat: A, B, a_scale, b_scale, a_zero_point, b_zero_point, bias."""
    weight = _weight(k, node.input[1], k.known(node, 3, 5, -1))
    held = k.dynamic.get(node.input[0])
    if held is not None and held[1] != node.input[2]:
        raise Unfit("it reads its input with another scale than that was made with")
    value = held[0] if held is not None else k.real(node.input[0], k.known(node, 2, 4))
    result = k.w.node("MatMul", value, weight)
    if len(node.input) > 6 and node.input[6]:
        result = k.w.node("Add", result, node.input[6])
    k.w.append_named("Identity", [result], [node.output[0]])


#: Operator -> how it is written in floating point.
RULES: dict[str, Rule] = {
    "QuantizeLinear": _quantize, "DequantizeLinear": _dequantize, "DynamicQuantizeLinear": _dynamic,
    "QLinearConv": _conv, "QLinearMatMul": _matmul, "QGemm": _gemm, "QLinearAdd": _pair("Add"), "QLinearMul": _pair("Mul"),
    "QLinearSigmoid": _single("Sigmoid"), "QLinearLeakyRelu": _single("LeakyRelu"), "QLinearSoftmax": _softmax,
    "QLinearGlobalAveragePool": _single("GlobalAveragePool"), "QLinearAveragePool": _single("AveragePool"),
    "QLinearConcat": _joined, "QLinearReduceMean": _mean, "MatMulInteger": _products, "ConvInteger": _products,
    "DynamicQuantizeMatMul": _dynamic_matmul, "MatMulIntegerToFloat": _matmul_to_float,
}  # fmt: skip

#: Operators that have a meaning of their own only over integers that stand for numbers.
OVER_INTEGERS: dict[str, Rule] = dict.fromkeys(MOVES, _move) | {"Concat": _concat, "Cast": _cast}
