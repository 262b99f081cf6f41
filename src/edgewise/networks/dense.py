"""Dense layers, embeddings and pooled bags of them."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from onnx import TensorProto

from edgewise.networks.builder import Builder
from edgewise.networks.convolution import dropout, relu
from edgewise.networks.initial import glorot, normal

__all__ = ["Activation", "BagPooling", "activate", "bag", "dense", "embed", "gelu", "hidden_layers", "present", "table"]

Activation = Literal["relu", "tanh", "gelu"]
#: How the vectors of a bag become one: their sum, weighted mean, or sum over the root of the sum of squared weights.
BagPooling = Literal["sum", "mean", "sqrtn"]
_SQRT2 = 2**0.5
_LEAST = 1e-6  # an empty bag divides by this and stays 0


def dense(net: Builder, x: str, width: int, name: str, *, bias: bool = True) -> str:
    """Affine map of the last axis, Glorot-initialised.

    On (N, C) a Gemm with ``weight`` (width, C); on more axes a MatMul with ``weight`` (C, width) and an Add.
    """
    *front, entering = net.shape(x)
    assert isinstance(entering, int)
    flat = len(front) == 1
    shape = (width, entering) if flat else (entering, width)
    weight = net.parameter(f"{name}.weight", glorot(net.random, shape, entering, width))
    offset = [net.parameter(f"{name}.bias", np.zeros(width))] if bias else []
    result = (*front, width)
    if flat:
        return net.node(name, "Gemm", x, weight, *offset, shape=result, transB=1)
    product = net.node(f"{name}.matmul" if bias else name, "MatMul", x, weight, shape=result)
    return net.node(name, "Add", product, *offset, shape=result) if bias else product


def activate(net: Builder, x: str, kind: Activation, name: str) -> str:
    """One of the activations, by name."""
    if kind == "gelu":
        return gelu(net, x, name)
    return relu(net, x, name) if kind == "relu" else net.node(name, "Tanh", x, shape=net.shape(x))


def gelu(net: Builder, x: str, name: str) -> str:
    """x times the normal distribution function of x, by erf (Hendrycks and Gimpel 2016, arXiv 1606.08415).

    Written in the order that onnxruntime fuses to one kernel.
    """
    shape, constant = net.shape(x), net.writer.constant
    scaled = net.node(f"{name}.scaled", "Div", x, constant(_SQRT2), shape=shape)
    erf = net.node(f"{name}.erf", "Erf", scaled, shape=shape)
    raised = net.node(f"{name}.raised", "Add", erf, constant(1.0), shape=shape)
    doubled = net.node(f"{name}.doubled", "Mul", x, raised, shape=shape)
    return net.node(name, "Mul", doubled, constant(0.5), shape=shape)


def hidden_layers(
    net: Builder, x: str, widths: Sequence[int], name: str, *, activation: Activation = "relu", rate: float = 0.0
) -> str:
    """Dense layers with an activation and dropout behind each."""
    for at, width in enumerate(widths, 1):
        x = dense(net, x, width, f"{name}{at}")
        x = dropout(net, activate(net, x, activation, f"{name}{at}.{activation}"), rate, f"{name}{at}.dropout")
    return x


def table(net: Builder, rows: int, width: int, name: str, deviation: float, *, padding: bool = True) -> str:
    """An embedding table (rows, width), normal; row 0 is 0 where it stands for padding."""
    values = normal(net.random, (rows, width), deviation)
    if padding:
        values[0] = 0
    return net.parameter(f"{name}.weight", values)


def embed(net: Builder, ids: str, weight: str, name: str) -> str:
    """Rows of a table: ids int64 (...) to (..., width)."""
    return net.node(name, "Gather", weight, ids, shape=(*net.shape(ids), net.known(weight, 1)), axis=0)


def present(net: Builder, ids: str, name: str) -> str:
    """1.0 where an id is not 0, the padding; 0.0 elsewhere."""
    shape = net.shape(ids)
    padded = net.node(f"{name}.padded", "Equal", ids, net.writer.constant(0, "int64"), shape=shape, dtype="bool")
    there = net.node(f"{name}.not", "Not", padded, shape=shape, dtype="bool")
    return net.node(name, "Cast", there, shape=shape, to=TensorProto.FLOAT)


def shares(net: Builder, ids: str, *, weighted: bool, rate: float) -> str:
    """How much each id counts in its bag: 1, or what the input ``weights`` says; 0 for padding, and dropped at ``rate``."""
    weights = present(net, ids, "present")
    if weighted:
        size = net.shape(ids)
        weights = net.node("weighted", "Mul", net.input("weights", "float32", size[1:]), weights, shape=size)
    return dropout(net, weights, rate, "present.dropout")


def bag(net: Builder, ids: str, weights: str, weight: str, name: str, how: BagPooling) -> str:
    """Rows of a table, weighted and pooled: ids int64 (N, L), weights (N, L), 0 where there is no id, to (N, width).

    An empty bag gives 0. ``sqrtn`` keeps the size of the result when rows are independent.
    """
    batch, length = net.shape(ids)
    vectors = embed(net, ids, weight, f"{name}.rows")
    width = net.known(weight, 1)
    one = net.writer.ints(1)
    row = net.node(f"{name}.weights", "Unsqueeze", weights, one, shape=(batch, 1, length))
    summed = net.node(f"{name}.products", "MatMul", row, vectors, shape=(batch, 1, width))
    if how == "sum":
        return net.node(name, "Squeeze", summed, one, shape=(batch, width))
    total = net.node(f"{name}.sum", "Squeeze", summed, one, shape=(batch, width))
    size = (batch, 1)
    if how == "mean":
        scale = net.node(f"{name}.total", "ReduceSum", weights, one, shape=size, keepdims=1)
    else:
        squares = net.node(f"{name}.total", "ReduceSumSquare", weights, one, shape=size, keepdims=1)
        scale = net.node(f"{name}.root", "Sqrt", squares, shape=size)
    scale = net.node(f"{name}.scale", "Max", scale, net.writer.constant(_LEAST), shape=size)
    return net.node(name, "Div", total, scale, shape=(batch, width))
