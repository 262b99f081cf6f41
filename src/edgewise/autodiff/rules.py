"""The table of rules: operator -> how its gradient is written. What is not here goes to the general rule."""

from collections.abc import Callable

from edgewise.autodiff import (
    blocked_rules,
    contraction,
    convolution,
    elementwise,
    gru,
    lstm,
    matmul,
    normalization,
    pooling,
    reduction,
    shaping,
)
from edgewise.autodiff.blocked_rules import BLOCKED
from edgewise.autodiff.call import Call, Gradients

__all__ = ["BROADCASTS", "CONSTANT", "LOWERED", "MANY", "PASSES", "PRODUCTS", "RULES", "key"]

Rule = Callable[[Call, str], Gradients]
ManyRule = Callable[[Call, list[str]], Gradients]


def key(operator: str, domain: str) -> str:
    """How an operator is written in the tables."""
    return operator if domain in {"", "ai.onnx"} else f"{domain}.{operator}"


#: Rules for operators whose gradient depends on that of their first output alone.
RULES: dict[str, Rule] = {
    "Abs": elementwise.absolute, "Add": elementwise.add, "Cast": elementwise.cast, "CastLike": elementwise.cast,
    "Clip": elementwise.clip, "Cos": elementwise.cos, "Div": elementwise.div, "Elu": elementwise.elu, "Erf": elementwise.erf,
    "Exp": elementwise.exp, "Gelu": elementwise.gelu, "HardSigmoid": elementwise.hard_sigmoid,
    "HardSwish": elementwise.hard_swish, "Identity": elementwise.identity, "LeakyRelu": elementwise.leaky_relu,
    "Log": elementwise.log, "Max": elementwise.maximum, "Min": elementwise.maximum, "Mul": elementwise.mul,
    "Neg": elementwise.neg, "PRelu": elementwise.prelu, "Pow": elementwise.power, "Reciprocal": elementwise.reciprocal,
    "Relu": elementwise.relu, "Sigmoid": elementwise.sigmoid, "Sin": elementwise.sin, "Softplus": elementwise.softplus,
    "Sqrt": elementwise.sqrt_, "Sub": elementwise.sub, "Sum": elementwise.sum_, "Tanh": elementwise.tanh,
    "Where": elementwise.where,
    "Einsum": contraction.einsum, "Gemm": matmul.gemm, "MatMul": matmul.matmul,
    "Conv": convolution.conv, "ConvTranspose": convolution.conv_transpose,
    "AveragePool": pooling.average_pool, "GlobalAveragePool": pooling.global_average_pool,
    "GlobalLpPool": pooling.global_lp_pool, "GlobalMaxPool": pooling.global_max_pool, "LpPool": pooling.lp_pool,
    "MaxPool": pooling.max_pool,
    "Resize": pooling.resize,
    "BatchNormalization": normalization.batch_norm, "LayerNormalization": normalization.layer_norm,
    "LogSoftmax": reduction.log_softmax, "ReduceLogSumExp": reduction.reduce_log_sum_exp,
    "ReduceL1": reduction.reduce_l1, "ReduceL2": reduction.reduce_l2, "ReduceLogSum": reduction.reduce_log_sum,
    "ReduceMax": reduction.reduce_extreme, "ReduceMean": reduction.reduce_mean, "ReduceMin": reduction.reduce_extreme,
    "ReduceProd": reduction.reduce_prod,
    "ReduceSum": reduction.reduce_sum, "ReduceSumSquare": reduction.reduce_sum_square, "Softmax": reduction.softmax,
    "Concat": shaping.concat, "DepthToSpace": shaping.depth_to_space, "Expand": shaping.expand, "Flatten": shaping.reshape,
    "Gather": shaping.gather, "OneHot": shaping.one_hot, "Pad": shaping.pad, "Reshape": shaping.reshape, "Slice": shaping.slice_,
    "SpaceToDepth": shaping.space_to_depth, "Squeeze": shaping.reshape, "Tile": shaping.tile, "Transpose": shaping.transpose,
    "Unsqueeze": shaping.reshape, **BLOCKED,
}  # fmt: skip

#: Rules that take the gradients of all outputs ("" where there is none).
MANY: dict[str, ManyRule] = {"GRU": gru.gru, "LSTM": lstm.lstm, "Split": shaping.split}

#: Operators that are written in other operators before the walk, and what writes them.
LOWERED: dict[str, Callable[[Call], dict[str, str]]] = {
    "BatchNormalization": normalization.lower_batch_norm,
    f"{blocked_rules.OWN}.BatchNormalization": blocked_rules.lower_batch_norm,
}

#: Operators whose rule multiplies the error with something of full shape, so that the error itself may still be a partial one.
BROADCASTS = {
    "Abs", "Clip", "Cos", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Log", "Relu", "Sigmoid", "Sin",
    "Softplus", "Sqrt", "Tanh", "Reciprocal",
}  # fmt: skip
#: Operators that hand a partial error on as it is, as long as all shapes are equal.
PASSES = {"Neg", "Identity", "Add", "Sub", "Sum"}

#: Operators with a large intermediate result for the weight's gradient.
PRODUCTS = {"Conv", "ConvTranspose", "Gemm", "MatMul", "com.microsoft.nchwc.Conv"}

#: Operators through which nothing flows back: their result is an integer, a truth value, or flat almost everywhere.
CONSTANT = {
    "And", "ArgMax", "ArgMin", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor", "Ceil", "ConstantOfShape",
    "Equal", "EyeLike", "Floor", "Greater", "GreaterOrEqual", "Hardmax", "IsInf", "IsNaN", "Less", "LessOrEqual", "NonZero",
    "NonMaxSuppression", "Not", "Or", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
    "Round", "Shape", "Sign", "Size", "Xor", "QuantizeLinear", "DynamicQuantizeLinear",
}  # fmt: skip
