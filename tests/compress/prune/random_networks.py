"""Small networks drawn by chance: residuals, concatenations, splits, grouped, depthwise and transposed convolutions, gates."""

import numpy as np
from onnx import ModelProto, helper

from edgewise.graph.writer import Writer


class Drawn:
    """A convolutional network that grows by random pieces; all weights are noise."""

    def __init__(self, seed: int) -> None:
        self.chance = np.random.default_rng(seed)
        empty = helper.make_model(helper.make_graph([], "drawn", [], []), opset_imports=[helper.make_opsetid("", 18)])
        self.w = Writer(empty)
        self.w.model.ir_version = 10
        self.x = self.w.input("x", "float32", ["batch", 3, 8, 8])
        self.count = 0

    def weight(self, *shape: int) -> str:
        self.count += 1
        scale = 1 / np.sqrt(max(np.prod(shape[1:]), 1))
        return self.w.store(f"w{self.count}.weight", (self.chance.normal(size=shape) * scale + 0.05).astype(np.float32))

    def channels(self, x: str) -> int:
        self.w.infer()
        shape = self.w.shape(x)
        assert shape is not None
        assert isinstance(shape[1], int)
        return shape[1]

    def conv(self, x: str, out: int, size: int = 1, groups: int = 1) -> str:
        weight, bias = self.weight(out, self.channels(x) // groups, size, size), self.weight(out)
        return self.w.node("Conv", x, weight, bias, group=groups, pads=[size // 2] * 4)

    def norm(self, x: str) -> str:
        count = self.channels(x)
        scale, bias, mean = (self.weight(count) for _ in range(3))
        var = self.w.store(f"{scale}.var", self.chance.uniform(0.5, 2, count).astype(np.float32))
        return self.w.node("BatchNormalization", x, scale, bias, mean, var)

    def piece(self, x: str) -> str:
        pieces = [
            self.plain, self.residual, self.joined, self.depthwise, self.squeezed, self.turned, self.sliced, self.two,
        ]  # fmt: skip
        if self.channels(x) % 2 == 0:
            pieces += [self.grouped, self.gated, self.shuffled]
        return pieces[self.chance.integers(len(pieces))](x)

    def plain(self, x: str) -> str:
        return self.norm(self.w.node("Relu", self.conv(x, 8, 3)))

    def residual(self, x: str) -> str:
        return self.w.node("Add", x, self.conv(self.w.node("Relu", self.conv(x, 6, 3)), self.channels(x)))

    def joined(self, x: str) -> str:
        return self.w.node("Concat", x, self.conv(x, 4), axis=1)

    def depthwise(self, x: str) -> str:
        return self.norm(self.conv(x, self.channels(x) * 2, 3, groups=self.channels(x)))

    def squeezed(self, x: str) -> str:
        gate = self.conv(self.w.node("GlobalAveragePool", x), self.channels(x))
        return self.w.node("Mul", x, self.w.node("Sigmoid", gate))

    def turned(self, x: str) -> str:
        up = self.w.node("ConvTranspose", x, self.weight(self.channels(x), 6, 3, 3), self.weight(6), pads=[1] * 4)
        return self.w.node("PRelu", up, self.weight(6, 1, 1))

    def sliced(self, x: str) -> str:
        cut = self.w.node("Slice", x, self.w.ints(1), self.w.ints(self.channels(x) - 1), self.w.ints(1))
        return self.conv(cut, 5)

    def two(self, x: str) -> str:
        return self.w.node("Sub", self.conv(x, 6), self.conv(x, 6, 3))

    def grouped(self, x: str) -> str:
        return self.w.node("LeakyRelu", self.conv(x, 8, 3, groups=2))

    def gated(self, x: str) -> str:
        first, second = self.w.split("Split", 2, x, axis=1, num_outputs=2)
        return self.w.node("Mul", first, self.w.node("Sigmoid", second))

    def shuffled(self, x: str) -> str:
        count = self.channels(x)
        parted = self.w.node("Reshape", x, self.w.ints(0, 2, count // 2, 8, 8))
        return self.w.node(
            "Reshape", self.w.node("Transpose", parted, perm=[0, 2, 1, 3, 4]), self.w.ints(0, count, 8, 8)
        )

    def model(self, pieces: int) -> ModelProto:
        x = self.conv(self.x, 8, 3)
        for _ in range(pieces):
            x = self.piece(x)
        x = self.w.node("AveragePool", x, kernel_shape=[4, 4], strides=[4, 4])
        count = self.channels(x)
        last = self.chance.integers(0, 3)
        if last == 0:
            x = self.w.node("Flatten", x)
        elif last == 1:  # positions outside, channels inside
            x = self.w.node("Reshape", self.w.node("Transpose", x, perm=[0, 2, 3, 1]), self.w.ints(0, count * 4))
        else:
            x = self.w.node("ReduceMean", x, self.w.ints(2, 3), keepdims=0)
        width = self.channels(x)
        y = self.w.node("Gemm", x, self.weight(4, width), self.weight(4), transB=1)
        self.w.output("y", y, "float32", ["batch", 4])
        self.w.infer()
        return self.w.model
