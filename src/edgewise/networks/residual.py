"""ResNet8, the picture classifier of MLPerf Tiny."""

from dataclasses import dataclass, field

from onnx import ModelProto

from edgewise.networks.builder import Builder
from edgewise.networks.convolution import Pooling, batch_norm, conv, conv_block, dropout, global_pool, relu
from edgewise.networks.dense import dense
from edgewise.networks.inputs import ImageInput, one_of, problems_refused

__all__ = ["ResNetConfig", "build_resnet"]


@dataclass(frozen=True, slots=True)
class ResNetConfig:
    """One stage for each of ``widths``, of ``blocks`` residual blocks (He et al. 2015, arXiv 1512.03385).

    Every stage but the first halves the size, with a 1 x 1 convolution on its shortcut, as in MLPerf Tiny. As it stands 78
    thousand parameters; ``blocks`` 3 gives ResNet20. stem, stem_stride: kernel and stride of the first convolution; larger ones
    save most of the work on images beyond 32 pixels.
    """

    input: ImageInput = field(default_factory=lambda: ImageInput(32, 32, 3))
    classes: int = 10
    widths: tuple[int, ...] = (16, 32, 64)
    blocks: int = 1
    stem: tuple[int, int] = (3, 3)
    stem_stride: int = 1
    pooling: Pooling = "mean"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        problems_refused("resnet8", (
            (len(self.widths) > 0 and min(self.widths) > 0, "widths must be positive, and at least one"),
            (min(self.classes, self.blocks, self.stem_stride, *self.stem) > 0, "classes, blocks and stem must be positive"),
            one_of("pooling", self.pooling, Pooling),
            (0 <= self.dropout < 1, "dropout must be in [0, 1)"),
        ))  # fmt: skip


def build_resnet(config: ResNetConfig, seed: int) -> ModelProto:
    """Images to ``logits`` (N, classes)."""
    net = Builder("resnet8", seed)
    x = conv_block(
        net, config.input.write(net), config.widths[0], "stem", kernel=config.stem, stride=config.stem_stride
    )
    for stage, width in enumerate(config.widths, 1):
        for at in range(1, config.blocks + 1):
            name = f"stage{stage}" if config.blocks == 1 else f"stage{stage}.block{at}"
            x = _block(net, x, width, 2 if at == 1 and stage > 1 else 1, name)
    x = dropout(net, global_pool(net, x, "pool", config.pooling), config.dropout, "pool.dropout")
    return net.finish({"logits": dense(net, x, config.classes, "head")})


def _block(net: Builder, x: str, width: int, stride: int, name: str) -> str:
    y = conv_block(net, x, width, f"{name}.first", kernel=(3, 3), stride=stride)
    y = batch_norm(net, conv(net, y, width, f"{name}.second.conv", kernel=(3, 3)), f"{name}.second.bn")
    if stride > 1 or net.shape(x)[1] != width:
        x = conv(net, x, width, f"{name}.shortcut", kernel=(1, 1), stride=stride, bias=True)
    return relu(net, net.node(f"{name}.added", "Add", x, y, shape=net.shape(y)), f"{name}.relu")
