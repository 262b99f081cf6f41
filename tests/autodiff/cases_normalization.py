"""Cases of normalisations, softmax and losses."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import helper
from tests.autodiff.drawing import Builder, Draw, apart, flag, positive, random_of, shape_of, side
from tests.autodiff.finite_differences import Case, Held, Stored, call

__all__ = ["NORMALIZATION"]


def along(operator: str, low: int = 1) -> Builder:
    def build(draw: Draw) -> Case:
        shape = shape_of(draw, low)
        axis = draw(st.integers(-len(shape), len(shape) - 1))
        return call(operator, apart(random_of(draw), shape), **({"axis": axis} if flag(draw) else {}))

    return build


def lp_normalization(draw: Draw) -> Case:
    shape = shape_of(draw)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    return call("LpNormalization", apart(random_of(draw), shape), axis=axis, p=draw(st.sampled_from([1, 2])))


def layer_norm(draw: Draw) -> Case:
    random, shape = random_of(draw), shape_of(draw, 2)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    tail = shape[axis:]
    small = tuple(n if flag(draw) else 1 for n in tail) if flag(draw) else tail
    scale, shift = apart(random, small), [apart(random, tail)] if flag(draw) else []
    given: dict[str, Any] = {"axis": axis, "epsilon": 0.1}
    return call("LayerNormalization", apart(random, shape), scale, *shift, outputs=1, **given)


def rms_norm(draw: Draw) -> Case:
    random, shape = random_of(draw), shape_of(draw, 2)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    scale = apart(random, shape[axis:])
    return call("RMSNormalization", apart(random, shape), scale, opset=23, axis=axis, epsilon=0.1, stash_type=11)


def batch_norm(draw: Draw) -> Case:
    random, channels = random_of(draw), side(draw, 1, 3)
    shape = (side(draw, 1, 3), channels, *(side(draw, 1, 3) for _ in range(draw(st.integers(0, 3)))))
    scale, shift, mean, var = (positive(random, (channels,)) for _ in range(4))
    given = {"epsilon": 0.01} if flag(draw) else {}
    how = draw(st.sampled_from(["stored", "fed", "trained"]))
    wrap = {"stored": Stored, "fed": Held, "trained": np.asarray}[how]
    return call("BatchNormalization", apart(random, shape), scale, shift, wrap(mean), wrap(var), **given)


def instance_norm(draw: Draw) -> Case:
    random = random_of(draw)
    shape = (side(draw, 1, 2), side(draw, 1, 3), *(side(draw, 1, 4) for _ in range(draw(st.integers(1, 2)))))
    return call("InstanceNormalization", apart(random, shape), *(apart(random, (shape[1],)) for _ in "ab"), epsilon=0.1)


def group_norm(draw: Draw) -> Case:
    random, groups = random_of(draw), side(draw, 1, 3)
    shape = (2, groups * side(draw, 1, 2), side(draw, 1, 3), 2)
    more = {"num_groups": groups, "epsilon": 0.1, "stash_type": 11, "opset": 21}
    return call("GroupNormalization", apart(random, shape), *(apart(random, (shape[1],)) for _ in "ab"), **more)


def mean_variance(draw: Draw) -> Case:
    shape = (2, 3, side(draw, 2, 3), 2)
    x = apart(random_of(draw), shape).astype(np.float32)  # its body has a constant in float32
    more: dict[str, Any] = {"step": 0.02, "tolerance": 2e-3}
    return call("MeanVarianceNormalization", x, **more, **({"axes": [0, 2]} if flag(draw) else {}))


def lrn(draw: Draw) -> Case:
    x = apart(random_of(draw), (2, side(draw, 1, 5), side(draw, 1, 3), 2))
    return call(
        "LRN", x, size=draw(st.sampled_from([1, 3, 5])), alpha=0.3, beta=draw(st.sampled_from([0.5, 0.75])), bias=1.5
    )


def dropout(draw: Draw) -> Case:
    return call(
        "Dropout", apart(random_of(draw), shape_of(draw)), Stored(np.array(0.4, np.float32)), outputs=["y0", "mask"]
    )


def cross_entropy(draw: Draw) -> Case:
    random, n, k = random_of(draw), side(draw, 1, 3), side(draw, 2, 4)
    space = tuple(side(draw, 1, 2) for _ in range(draw(st.integers(0, 2))))
    labels = random.integers(0, k, (n, *space))
    given: dict[str, Any] = {"reduction": draw(st.sampled_from(["none", "sum", "mean"]))}
    if flag(draw) and n > 1:
        labels[0] = 1
        given["ignore_index"] = 1
        labels[1:] = 0
    weights = [Held(positive(random, (k,)))] if flag(draw) else []
    return call("SoftmaxCrossEntropyLoss", apart(random, (n, k, *space)), Stored(labels), *weights, **given)


def negative_log_likelihood(draw: Draw) -> Case:
    random, n, k = random_of(draw), side(draw, 1, 3), side(draw, 2, 4)
    labels = Stored(random.integers(0, k, (n, 2)))
    weights = [Held(positive(random, (k,)))] if flag(draw) else []
    given = {"reduction": draw(st.sampled_from(["none", "sum", "mean"]))}
    return call("NegativeLogLikelihoodLoss", apart(random, (n, k, 2)), labels, *weights, **given)


def attention(draw: Draw) -> Case:
    random, heads, length, width = random_of(draw), side(draw, 1, 2), side(draw, 1, 3), side(draw, 1, 3)
    q = apart(random, (2, heads, side(draw, 1, 3), width))
    k, v = apart(random, (2, heads, length, width)), apart(random, (2, heads, length, width))
    given = {"is_causal": 1} if flag(draw) and q.shape[2] == length else {}
    return call("Attention", q, k, v, opset=23, **given)


def rotary(draw: Draw) -> Case:
    random = random_of(draw)
    x, angles = apart(random, (2, 2, 3, 4)), [apart(random, (2, 3, 2)) for _ in "cs"]
    return call(
        "RotaryEmbedding", x, *(Held(a) for a in angles), opset=23, reference=True, interleaved=0
    )  # interleaved is refused


def linear_attention(draw: Draw) -> Case:
    random, length = random_of(draw), side(draw, 1, 3)
    # No float64 form runs anywhere: differences in float32, with a step that suits it.
    q, k, v = (apart(random, (1, length, 4)).astype(np.float32) for _ in "qkv")
    given = {"q_num_heads": 2, "kv_num_heads": 2, "update_rule": "linear", "opset": 27, "step": 0.02, "tolerance": 2e-3}
    return call("LinearAttention", q, k, v, outputs=2, **given)


def causal_conv(draw: Draw) -> Case:
    random, length = random_of(draw), side(draw, 3, 5)
    # Its body is a grouped convolution, of which the general rule has the gradient in x alone.
    x, weight = apart(random, (2, 2, length)), Held(apart(random, (2, 1, 3)))
    bias = [apart(random, (2,))] if flag(draw) else []
    return call("CausalConvWithState", x, weight, *bias, outputs=2, opset=27, reference=True)


def twice(draw: Draw) -> Case:
    """Softmax of something that is also added to its result."""
    x = apart(random_of(draw), (2, 3))
    nodes = [helper.make_node("Softmax", ["x"], ["s"], axis=0), helper.make_node("Add", ["x", "s"], ["y"])]
    return Case(nodes, {"x": x}, ["y", "s"])


def softmax(draw: Draw) -> Case:
    return twice(draw) if draw(st.integers(0, 5)) == 0 else along("Softmax")(draw)


NORMALIZATION: dict[str, Builder] = {
    "Attention": attention, "BatchNormalization": batch_norm, "CausalConvWithState": causal_conv, "Dropout": dropout,
    "GroupNormalization": group_norm, "InstanceNormalization": instance_norm, "LRN": lrn, "LayerNormalization": layer_norm,
    "LinearAttention": linear_attention, "LogSoftmax": along("LogSoftmax"), "LpNormalization": lp_normalization,
    "MeanVarianceNormalization": mean_variance, "NegativeLogLikelihoodLoss": negative_log_likelihood,
    "RMSNormalization": rms_norm, "RotaryEmbedding": rotary, "Softmax": softmax, "SoftmaxCrossEntropyLoss": cross_entropy,
}  # fmt: skip
