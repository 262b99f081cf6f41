"""Networks of depthwise-separable blocks: DS-CNN for keywords, MobileNet for pictures."""

from dataclasses import dataclass, field

from onnx import ModelProto

from edgewise.networks.builder import Builder
from edgewise.networks.convolution import Pooling, conv_block, dropout, global_pool, separable_block
from edgewise.networks.dense import dense
from edgewise.networks.inputs import ImageInput, one_of, problems_refused

__all__ = ["DsCnnConfig", "MobileNetConfig", "build_ds_cnn", "build_mobilenet"]


@dataclass(frozen=True, slots=True)
class DsCnnConfig:
    """DS-CNN (Zhang et al. 2017, arXiv 1711.07128; the form of MLPerf Tiny), 24 thousand parameters as it stands.

    input: time steps by features. strides: of each block, or one number for all. dropout: rates behind the first convolution,
    before the pooling and behind it (MLPerf: 0.2, 0.4, 0).
    """

    input: ImageInput = field(default_factory=lambda: ImageInput(49, 10))
    classes: int = 12
    width: int = 64
    blocks: int = 4
    first_kernel: tuple[int, int] = (10, 4)
    first_stride: tuple[int, int] = (2, 2)
    kernel: tuple[int, int] = (3, 3)
    strides: tuple[int, ...] = (1,)
    pooling: Pooling = "mean"
    dropout: tuple[float, float, float] = (0.2, 0.4, 0.0)

    def __post_init__(self) -> None:
        sides = (*self.first_kernel, *self.first_stride, *self.kernel, *self.strides)
        positive = min(self.classes, self.width, self.blocks, *sides)
        problems_refused("ds-cnn", (
            (positive > 0, "classes, width, blocks, kernels and strides must be positive"),
            (len(self.strides) in {1, self.blocks}, f"{len(self.strides)} strides for {self.blocks} blocks"),
            (len(self.dropout) == 3, "dropout has three rates"),
            one_of("pooling", self.pooling, Pooling),
            (all(0 <= rate < 1 for rate in self.dropout), "dropout must be in [0, 1)"),
        ))  # fmt: skip


def build_ds_cnn(config: DsCnnConfig, seed: int) -> ModelProto:
    """Feature frames to ``logits`` (N, classes)."""
    net = Builder("ds-cnn", seed)
    x = config.input.write(net)
    x = conv_block(net, x, config.width, "stem", kernel=config.first_kernel, stride=config.first_stride)
    x = dropout(net, x, config.dropout[0], "stem.dropout")
    strides = config.strides * (config.blocks // len(config.strides))
    for at, stride in enumerate(strides, 1):
        x = separable_block(net, x, config.width, f"block{at}", kernel=config.kernel, stride=stride)
    x = dropout(net, x, config.dropout[1], "features.dropout")
    x = dropout(net, global_pool(net, x, "pool", config.pooling), config.dropout[2], "pool.dropout")
    return net.finish({"logits": dense(net, x, config.classes, "head")})


#: Width and stride of the thirteen blocks at full width (Howard et al. 2017, arXiv 1704.04861, table 1).
_MOBILENET = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))
_STEM = 32


@dataclass(frozen=True, slots=True)
class MobileNetConfig:
    """MobileNetV1 (Howard et al. 2017); as it stands the person detector of MLPerf Tiny: width 0.25 at 96 x 96."""

    input: ImageInput = field(default_factory=lambda: ImageInput(96, 96, 3))
    classes: int = 2
    width: float = 0.25
    dropout: float = 0.0

    def __post_init__(self) -> None:
        problems_refused("mobilenet", (
            (self.classes > 0, "classes must be positive"),
            (self.width * _STEM >= 1, f"width must be at least {1 / _STEM}"),
            (0 <= self.dropout < 1, "dropout must be in [0, 1)"),
        ))  # fmt: skip


def build_mobilenet(config: MobileNetConfig, seed: int) -> ModelProto:
    """Images to ``logits`` (N, classes)."""
    net = Builder("mobilenet", seed)
    x = conv_block(net, config.input.write(net), int(_STEM * config.width), "stem", kernel=(3, 3), stride=2)
    for at, (width, stride) in enumerate(_MOBILENET, 1):
        x = separable_block(net, x, int(width * config.width), f"block{at}", kernel=(3, 3), stride=stride)
    x = dropout(net, global_pool(net, x, "pool"), config.dropout, "pool.dropout")
    return net.finish({"logits": dense(net, x, config.classes, "head")})
