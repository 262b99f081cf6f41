"""A compact convolutional network: stages of convolution, each half the size of the one before."""

from dataclasses import dataclass, field
from typing import Literal

from onnx import ModelProto

from edgewise.networks.builder import Builder
from edgewise.networks.convolution import Pooling, conv_block, dropout, global_pool, pool, separable_block
from edgewise.networks.dense import dense, hidden_layers
from edgewise.networks.inputs import ImageInput, one_of, problems_refused

__all__ = ["CnnConfig", "Reduction", "build_cnn"]

#: How a stage gets to half the size.
Reduction = Literal["max", "mean", "stride"]


@dataclass(frozen=True, slots=True)
class CnnConfig:
    """``convolutions`` blocks of each width in ``widths``, then ``reduce``; at the end ``pooling`` over what is left.

    reduce: ``max`` or ``mean`` over 2 x 2 behind every stage but the last, or ``stride`` 2 in the first convolution of every
    stage but the first. strides: of the first convolution of every stage; where they are given there is no ``reduce``.
    separable: depthwise and pointwise convolutions in place of full ones, but for the first. hidden: widths of dense layers
    before the classes. dropout: rate before every dense layer.
    """

    input: ImageInput = field(default_factory=lambda: ImageInput(64, 64))
    classes: int = 10
    widths: tuple[int, ...] = (16, 32, 64)
    convolutions: int = 1
    kernel: tuple[int, int] = (3, 3)
    first_kernel: tuple[int, int] | None = None
    reduce: Reduction = "max"
    strides: tuple[int, ...] = ()
    separable: bool = False
    pooling: Pooling = "mean"
    hidden: tuple[int, ...] = ()
    dropout: float = 0.0

    def __post_init__(self) -> None:
        pooled = self.reduce != "stride" and not self.strides
        halvings = 2 ** (len(self.widths) - 1) if pooled else 1  # a stride rounds up, pooling down
        size, stages = f"{self.input.height} x {self.input.width}", len(self.widths)
        problems_refused("cnn", (
            (len(self.widths) > 0 and min(self.widths) > 0, "widths must be positive, and at least one"),
            (min(self.classes, self.convolutions, *self.kernel) > 0, "classes, convolutions and kernel must be positive"),
            (min(self.input.height, self.input.width) >= halvings, f"{stages} stages need sides of {halvings}, not {size}"),
            (len(self.strides) in {0, len(self.widths)}, f"{len(self.strides)} strides for {len(self.widths)} widths"),
            (all(stride > 0 for stride in self.strides), "strides must be positive"),
            one_of("reduce", self.reduce, Reduction),
            one_of("pooling", self.pooling, Pooling),
            (0 <= self.dropout < 1, "dropout must be in [0, 1)"),
        ))  # fmt: skip


def build_cnn(config: CnnConfig, seed: int) -> ModelProto:
    """Images to ``logits`` (N, classes)."""
    net = Builder("cnn", seed)
    x = config.input.write(net)
    striding = config.strides or tuple(2 if config.reduce == "stride" and at else 1 for at in range(len(config.widths)))
    for stage, (width, reduction) in enumerate(zip(config.widths, striding, strict=True), 1):
        for at in range(1, config.convolutions + 1):
            first = stage == at == 1
            block = separable_block if config.separable and not first else conv_block
            stride = reduction if at == 1 else 1
            kernel = (config.first_kernel or config.kernel) if first else config.kernel
            name = f"stage{stage}" if config.convolutions == 1 else f"stage{stage}.block{at}"
            x = block(net, x, width, name, kernel=kernel, stride=stride)
        if config.reduce != "stride" and not config.strides and stage < len(config.widths):
            x = pool(net, x, f"stage{stage}.pool", config.reduce)
    x = dropout(net, global_pool(net, x, "pool", config.pooling), config.dropout, "pool.dropout")
    x = hidden_layers(net, x, config.hidden, "hidden", rate=config.dropout)
    return net.finish({"logits": dense(net, x, config.classes, "head")})
