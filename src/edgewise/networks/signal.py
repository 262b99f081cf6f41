"""A one-dimensional convolutional network, for sensor windows and raw sound."""

from dataclasses import dataclass, field

from onnx import ModelProto

from edgewise.networks.builder import Builder
from edgewise.networks.convolution import Pooling, conv_block, dropout, global_pool, separable_block
from edgewise.networks.dense import dense, hidden_layers
from edgewise.networks.inputs import SequenceInput, one_of, problems_refused

__all__ = ["Cnn1dConfig", "build_cnn1d"]


@dataclass(frozen=True, slots=True)
class Cnn1dConfig:
    """One convolution block for each of ``widths``; ``kernels`` and ``strides`` alike, or one number for all of them.

    separable: depthwise and pointwise in place of full convolutions, but for the first. hidden: widths of dense layers before
    the classes. dropout: rate before every dense layer.
    """

    input: SequenceInput = field(default_factory=lambda: SequenceInput(64, 3))
    classes: int = 10
    widths: tuple[int, ...] = (32, 32, 64, 64)
    kernels: tuple[int, ...] = (5, 5, 5, 3)
    strides: tuple[int, ...] = (1, 2, 2, 2)
    separable: bool = False
    pooling: Pooling = "mean+max"
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0

    def __post_init__(self) -> None:
        stages = len(self.widths)
        positive = min(self.classes, *self.widths, *self.kernels, *self.strides)
        problems_refused("cnn1d", (
            (stages > 0, "at least one width is needed"),
            (len(self.kernels) in {1, stages}, f"{len(self.kernels)} kernels for {stages} widths"),
            (len(self.strides) in {1, stages}, f"{len(self.strides)} strides for {stages} widths"),
            (positive > 0, "classes, widths, kernels and strides must be positive"),
            one_of("pooling", self.pooling, Pooling),
            (0 <= self.dropout < 1, "dropout must be in [0, 1)"),
        ))  # fmt: skip


def build_cnn1d(config: Cnn1dConfig, seed: int) -> ModelProto:
    """Sequences to ``logits`` (N, classes)."""
    net = Builder("cnn1d", seed)
    x = config.input.write(net)
    batch, steps, channels = net.shape(x)
    x = net.node("front.channels", "Transpose", x, shape=(batch, channels, steps), perm=[0, 2, 1])
    stages = len(config.widths)
    kernels = config.kernels * (stages // len(config.kernels))
    strides = config.strides * (stages // len(config.strides))
    for at, (width, kernel, stride) in enumerate(zip(config.widths, kernels, strides, strict=True), 1):
        block = separable_block if config.separable and at > 1 else conv_block
        x = block(net, x, width, f"stage{at}", kernel=(kernel,), stride=stride)
    x = dropout(net, global_pool(net, x, "pool", config.pooling), config.dropout, "pool.dropout")
    x = hidden_layers(net, x, config.hidden, "hidden", rate=config.dropout)
    return net.finish({"logits": dense(net, x, config.classes, "head")})
