"""A small U-Net for segmentation."""

from dataclasses import dataclass, field

from onnx import ModelProto

from edgewise.networks.builder import Builder
from edgewise.networks.convolution import conv, conv_block, dropout, pool, separable_block, upsample
from edgewise.networks.inputs import ImageInput, problems_refused

__all__ = ["UnetConfig", "build_unet"]


@dataclass(frozen=True, slots=True)
class UnetConfig:
    """Two blocks at each of ``widths``, halving between them, and the same way up again with what was kept on the way down.

    After Ronneberger et al. 2015, arXiv 1505.04597, with padding and batch normalisation. separable: depthwise and pointwise
    convolutions in place of full ones, but for the first. dropout: rate at the bottom.
    """

    input: ImageInput = field(default_factory=lambda: ImageInput(64, 64))
    classes: int = 2
    widths: tuple[int, ...] = (16, 32, 64)
    separable: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        part = 2 ** (len(self.widths) - 1)
        whole = self.input.height % part == 0 and self.input.width % part == 0
        size = f"{self.input.height} x {self.input.width}"
        problems_refused("unet", (
            (len(self.widths) > 1 and min(self.widths) > 0, "widths must be positive, and at least two"),
            (self.classes > 0, "classes must be positive"),
            (whole, f"{len(self.widths) - 1} halvings need sides that {part} divides, not {size}"),
            (0 <= self.dropout < 1, "dropout must be in [0, 1)"),
        ))  # fmt: skip


def build_unet(config: UnetConfig, seed: int) -> ModelProto:
    """Images to ``logits`` (N, classes, H, W)."""
    net = Builder("unet", seed)
    x, kept = config.input.write(net), []
    for at, width in enumerate(config.widths, 1):
        if at > 1:
            kept.append(x)
            x = pool(net, x, f"down{at}.pool")
        x = _two(net, x, width, f"down{at}", separable=config.separable, first=at == 1)
    x = dropout(net, x, config.dropout, "bottom.dropout")
    for at, width in reversed(list(enumerate(config.widths[:-1], 1))):
        x, aside = upsample(net, x, width, f"up{at}.up"), kept.pop()
        batch, _, *sizes = net.shape(x)
        x = net.node(f"up{at}.joined", "Concat", aside, x, shape=(batch, 2 * width, *sizes), axis=1)
        x = _two(net, x, width, f"up{at}", separable=config.separable)
    return net.finish({"logits": conv(net, x, config.classes, "head", kernel=(1, 1), bias=True)})


def _two(net: Builder, x: str, width: int, name: str, *, separable: bool, first: bool = False) -> str:
    for at in (1, 2):
        block = separable_block if separable and not (first and at == 1) else conv_block
        x = block(net, x, width, f"{name}.block{at}", kernel=(3, 3))
    return x
