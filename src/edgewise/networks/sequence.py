"""Layers over sequences (N, T, C): recurrent, attention, layer normalisation, pooling over time."""

import numpy as np

from edgewise.networks.builder import Builder
from edgewise.networks.convolution import Pooling, dropout
from edgewise.networks.dense import dense, gelu
from edgewise.networks.initial import glorot, orthogonal

__all__ = ["attention", "encoder_layer", "gru", "layer_norm", "pool_steps"]

_EPSILON = 1e-5
_FAR = -1e9  # added to what must not count: exp of it is 0, and a row of nothing else stays finite


def layer_norm(net: Builder, x: str, name: str) -> str:
    """LayerNormalization over the last axis (Ba et al. 2016, arXiv 1607.06450)."""
    width = net.known(x, -1)
    scale, bias = net.parameter(f"{name}.scale", np.ones(width)), net.parameter(f"{name}.bias", np.zeros(width))
    return net.node(name, "LayerNormalization", x, scale, bias, shape=net.shape(x), axis=-1, epsilon=_EPSILON)


def gru(net: Builder, x: str, hidden: int, name: str, *, both_ways: bool = False, last: bool = False) -> str:
    """GRU over (N, T, C) to (N, T, D hidden), D = 2 both ways (Cho et al. 2014, in the form of cuDNN and torch).

    last: only the state at the end of each way, (N, D hidden).
    Parameters as the operator wants them, gates in the order update, reset, new: ``weight`` (D, 3 hidden, C), ``recurrent``
    (D, 3 hidden, hidden), ``bias`` (D, 6 hidden). Entering weights Glorot, recurrent ones a rotation for each gate.
    """
    batch, steps, entering = net.shape(x)
    assert isinstance(entering, int)
    ways = 2 if both_ways else 1
    weight = np.stack([
        np.concatenate([glorot(net.random, (hidden, entering), entering, hidden) for _gate in range(3)])
        for _way in range(ways)
    ])  # fmt: skip
    recurrent = np.stack([
        np.concatenate([orthogonal(net.random, hidden) for _gate in range(3)]) for _way in range(ways)
    ])  # fmt: skip
    stored = (
        net.parameter(f"{name}.weight", weight),
        net.parameter(f"{name}.recurrent", recurrent),
        net.parameter(f"{name}.bias", np.zeros((ways, 6 * hidden))),
    )
    turned = net.node(f"{name}.turned", "Transpose", x, shape=(steps, batch, entering), perm=[1, 0, 2])
    y, state = net.split(
        name, "GRU", turned, *stored, shapes=(None if last else (steps, ways, batch, hidden), (ways, batch, hidden)),
        hidden_size=hidden, linear_before_reset=1, direction="bidirectional" if both_ways else "forward",
    )  # fmt: skip
    if last:
        state = net.node(f"{name}.back", "Transpose", state, shape=(batch, ways, hidden), perm=[1, 0, 2])
        return net.node(f"{name}.last", "Flatten", state, shape=(batch, ways * hidden), axis=1)
    if not both_ways:
        flat = net.node(f"{name}.steps", "Squeeze", y, net.writer.ints(1), shape=(steps, batch, hidden))
        return net.node(f"{name}.back", "Transpose", flat, shape=(batch, steps, hidden), perm=[1, 0, 2])
    back = net.node(f"{name}.back", "Transpose", y, shape=(batch, steps, ways, hidden), perm=[2, 0, 1, 3])
    return net.node(
        f"{name}.joined", "Reshape", back, net.writer.ints(0, 0, 2 * hidden), shape=(batch, steps, 2 * hidden)
    )


def attention(net: Builder, x: str, heads: int, name: str, *, mask: str = "", rate: float = 0.0) -> str:
    """Self-attention over (N, T, C) (Vaswani et al. 2017, arXiv 1706.03762), one projection for query, key and value.

    mask: (N, T) of 1 where a step counts and 0 where it is padding. rate: dropout on the attention weights.
    """
    batch, steps, width = net.shape(x)
    assert isinstance(width, int)
    size = width // heads
    # Three Glorot blocks side by side, each with a fan of its own.
    projection = np.concatenate([glorot(net.random, (width, width), width, width) for _ in range(3)], axis=1)
    weight = net.parameter(f"{name}.qkv.weight", projection)
    bias = net.parameter(f"{name}.qkv.bias", np.zeros(3 * width))
    wide = (batch, steps, 3 * width)
    qkv = net.node(f"{name}.qkv.matmul", "MatMul", x, weight, shape=wide)
    qkv = net.node(f"{name}.qkv", "Add", qkv, bias, shape=wide)
    parts = net.split(f"{name}.parts", "Split", qkv, shapes=((batch, steps, width),) * 3, axis=-1, num_outputs=3)
    turned = []
    for part, label, key in zip(parts, ("query", "key", "value"), (False, True, False), strict=True):
        split = net.node(
            f"{name}.{label}.heads",
            "Reshape",
            part,
            net.writer.ints(0, 0, heads, size),
            shape=(batch, steps, heads, size),
        )
        shape = (batch, heads, size, steps) if key else (batch, heads, steps, size)
        turned.append(
            net.node(f"{name}.{label}", "Transpose", split, shape=shape, perm=[0, 2, 3, 1] if key else [0, 2, 1, 3])
        )
    query, key_, value = turned
    query = net.node(f"{name}.scaled", "Mul", query, net.writer.constant(size**-0.5), shape=(batch, heads, steps, size))
    square = (batch, heads, steps, steps)
    scores = net.node(f"{name}.scores", "MatMul", query, key_, shape=square)
    if mask:
        away = _away(net, mask, f"{name}.away")
        away = net.node(f"{name}.mask", "Unsqueeze", away, net.writer.ints(1, 2), shape=(batch, 1, 1, steps))
        scores = net.node(f"{name}.masked", "Add", scores, away, shape=square)
    weights = dropout(
        net, net.node(f"{name}.softmax", "Softmax", scores, shape=square, axis=-1), rate, f"{name}.dropout"
    )
    mixed = net.node(f"{name}.mixed", "MatMul", weights, value, shape=(batch, heads, steps, size))
    back = net.node(f"{name}.back", "Transpose", mixed, shape=(batch, steps, heads, size), perm=[0, 2, 1, 3])
    joined = net.node(f"{name}.joined", "Reshape", back, net.writer.ints(0, 0, width), shape=(batch, steps, width))
    return dense(net, joined, width, f"{name}.out")


def encoder_layer(net: Builder, x: str, heads: int, wide: int, name: str, *, mask: str = "", rate: float = 0.0) -> str:
    """Attention and a GELU feed-forward part, each behind its own layer normalisation (pre-LN: Xiong et al. 2020, 2002.04745)."""
    shape = net.shape(x)
    y = attention(net, layer_norm(net, x, f"{name}.norm1"), heads, f"{name}.attention", mask=mask, rate=rate)
    x = net.node(f"{name}.added1", "Add", x, dropout(net, y, rate, f"{name}.dropout1"), shape=shape)
    y = dense(net, layer_norm(net, x, f"{name}.norm2"), wide, f"{name}.up")
    y = dropout(net, gelu(net, y, f"{name}.gelu"), rate, f"{name}.dropout2")
    y = dense(net, y, net.known(x, -1), f"{name}.down")
    return net.node(f"{name}.added2", "Add", x, dropout(net, y, rate, f"{name}.dropout3"), shape=shape)


def pool_steps(net: Builder, x: str, how: Pooling, name: str, *, mask: str = "") -> str:
    """(N, T, C) to (N, C), or (N, 2 C) for both kinds; steps where ``mask`` (N, T) is 0 are left out."""
    batch, _, width = net.shape(x)
    assert isinstance(width, int)
    parts = [_pooled(net, x, part, f"{name}.{part}" if "+" in how else name, mask) for part in how.split("+")]
    if len(parts) == 1:
        return parts[0]
    return net.node(name, "Concat", *parts, shape=(batch, len(parts) * width), axis=1)


def _pooled(net: Builder, x: str, how: str, name: str, mask: str) -> str:
    batch, steps, width = net.shape(x)
    shape, one, last = (batch, width), net.writer.ints(1), net.writer.ints(2)
    if not mask:
        return net.node(name, "ReduceMean" if how == "mean" else "ReduceMax", x, one, shape=shape, keepdims=0)
    if how == "max":
        away = net.node(f"{name}.away", "Unsqueeze", _away(net, mask, f"{name}.far"), last, shape=(batch, steps, 1))
        return net.node(
            name,
            "ReduceMax",
            net.node(f"{name}.kept", "Add", x, away, shape=net.shape(x)),
            one,
            shape=shape,
            keepdims=0,
        )
    row = net.node(f"{name}.row", "Unsqueeze", mask, one, shape=(batch, 1, steps))
    total = net.node(f"{name}.products", "MatMul", row, x, shape=(batch, 1, width))
    total = net.node(f"{name}.sum", "Squeeze", total, one, shape=shape)
    count = net.node(f"{name}.count", "ReduceSum", mask, one, shape=(batch, 1), keepdims=1)
    count = net.node(f"{name}.least", "Max", count, net.writer.constant(1.0), shape=(batch, 1))
    return net.node(name, "Div", total, count, shape=shape)


def _away(net: Builder, mask: str, name: str) -> str:
    absent = net.node(f"{name}.absent", "Sub", net.writer.constant(1.0), mask, shape=net.shape(mask))
    return net.node(name, "Mul", absent, net.writer.constant(_FAR), shape=net.shape(mask))
