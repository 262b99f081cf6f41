"""Small networks drawn by chance in which linear layers feed linear layers, through all that may stand between."""

import numpy as np
from onnx import ModelProto, helper

from edgewise.compress.samples import Samples
from edgewise.graph.writer import Writer
from edgewise.measure.dataset import Dataset


class Net:
    """Pieces with noise as weights; ``x`` is what they read."""

    def __init__(self, seed: int) -> None:
        self.chance = np.random.default_rng(seed)
        empty = helper.make_model(helper.make_graph([], "drawn", [], []), opset_imports=[helper.make_opsetid("", 18)])
        self.w = Writer(empty)
        self.w.model.ir_version = 10
        self.count = 0

    def weight(self, *shape: int) -> str:
        self.count += 1
        values = self.chance.normal(size=shape) / np.sqrt(max(shape[-1], 1)) + 0.05
        return self.w.store(f"w{self.count}.weight", values.astype(np.float32))

    def norm(self, x: str, width: int) -> str:
        var = self.w.store(self.w.fresh("var"), self.chance.uniform(0.5, 2, width).astype(np.float32))
        return self.w.node("BatchNormalization", x, *(self.weight(width) for _ in range(3)), var)

    def gemm(self, x: str, inputs: int, outputs: int) -> str:
        if self.chance.integers(2):
            return self.w.node("Gemm", x, self.weight(outputs, inputs), self.weight(outputs), transB=1)
        return self.w.node("Gemm", x, self.weight(inputs, outputs))

    def conv(self, x: str, inputs: int, outputs: int, size: int = 1) -> str:
        bias = [self.weight(outputs)] * int(self.chance.integers(2))
        return self.w.node("Conv", x, self.weight(outputs, inputs, size, size), *bias, pads=[size // 2] * 4)

    def finish(self, x: str) -> ModelProto:
        self.w.infer()
        self.w.output("y", x, "float32", self.w.shape(x))
        return self.w.model


def bag(seed: int) -> ModelProto:
    """ids (N, 5) -> rows of a table, summed with weights of their own, normalised -> one or two dense layers."""
    net = Net(seed)
    w, ids = net.w, net.w.input("x", "int64", ["batch", 5])
    rows = w.node("Gather", net.weight(30, 12), ids)
    shares = w.node("Sigmoid", w.node("Squeeze", w.node("Gather", net.weight(30, 1), ids), w.ints(2)))
    how = net.chance.integers(3)
    if how == 0:
        made = w.node("MatMul", w.node("Unsqueeze", shares, w.ints(1)), rows)
        x = w.node("Squeeze", made, w.ints(1))
    elif how == 1:
        x = w.node("ReduceSum", w.node("Mul", rows, w.node("Unsqueeze", shares, w.ints(2))), w.ints(1), keepdims=0)
    else:
        x = w.node("ReduceMean", w.node("Add", rows, net.weight(12)), w.ints(1), keepdims=0)
    if net.chance.integers(2):
        x = w.node("Dropout", net.norm(x, 12))
    if net.chance.integers(2):
        x = w.node("Mul", x, net.weight(12))
    left = w.node("Relu", net.gemm(x, 12, 9))
    right = w.node("Add", w.node("MatMul", x, net.weight(12, 9)), net.weight(9))
    return net.finish(w.node("Mul", left, right))


def residual(seed: int) -> ModelProto:
    """x (N, 3, 6, 6) -> a linear stream of 10 channels to which blocks add, and which they read by points (MobileNetV2)."""
    net = Net(seed)
    w = net.w
    stream = net.norm(net.conv(w.input("x", "float32", ["batch", 3, 6, 6]), 3, 10, 3), 10)
    for _ in range(int(net.chance.integers(1, 4))):
        inner = w.node("Relu", net.norm(net.conv(stream, 10, 14), 14))
        made = net.conv(inner, 14, 10, 3)
        stream = w.node("Add", stream, net.norm(made, 10) if net.chance.integers(2) else made)
    pooled = w.node("Flatten", w.node("GlobalAveragePool", stream), axis=1)
    return net.finish(w.node("Tanh", net.gemm(pooled, 10, 4)))


def chain(seed: int) -> ModelProto:
    """x (N, 7) -> layers without activations: what reads one space makes the next."""
    net = Net(seed)
    x, width = net.w.input("x", "float32", ["batch", 7]), 7
    for _ in range(3):
        after = int(net.chance.integers(5, 12))
        x = net.w.node("MatMul", x, net.weight(width, after)) if net.chance.integers(2) else net.gemm(x, width, after)
        width = after
    return net.finish(net.w.node("Relu", net.gemm(x, width, 3)))


def gates(seed: int) -> ModelProto:
    """ids (N, 5) -> rows of a table -> a recurrent layer, both ways."""
    net = Net(seed)
    w = net.w
    rows = w.node(
        "Transpose", w.node("Gather", net.weight(30, 12), w.input("x", "int64", ["batch", 5])), perm=[1, 0, 2]
    )
    kind, count = [("GRU", 3), ("LSTM", 4), ("RNN", 1)][int(net.chance.integers(3))]
    bias = [net.weight(2, 2 * count * 6)] * int(net.chance.integers(2))
    parts = (rows, net.weight(2, count * 6, 12), net.weight(2, count * 6, 6), *bias)
    return net.finish(w.split(kind, 2, *parts, hidden_size=6, direction="bidirectional")[1])


def samples(model: ModelProto, count: int = 64, seed: int = 0) -> Samples:
    """Noise of the model's input."""
    chance, value = np.random.default_rng(seed), model.graph.input[0]
    shape = (count, *(dim.dim_value for dim in value.type.tensor_type.shape.dim[1:]))
    whole = value.type.tensor_type.elem_type == 7
    x = chance.integers(0, 30, shape) if whole else chance.normal(size=shape).astype(np.float32)
    return Samples(Dataset(x, np.zeros(count, np.int64)), "classification", "x", "y")
