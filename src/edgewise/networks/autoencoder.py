"""A convolutional autoencoder, for anomalies: what it cannot rebuild it has not seen."""

from dataclasses import dataclass, field

from onnx import ModelProto

from edgewise.networks.builder import BATCH, Builder
from edgewise.networks.convolution import conv, conv_block, dropout, upsample
from edgewise.networks.inputs import ImageInput, problems_refused

__all__ = ["AutoencoderConfig", "build_autoencoder"]


@dataclass(frozen=True, slots=True)
class AutoencoderConfig:
    """Each of ``widths`` halves the size; ``code`` channels are what passes through the middle.

    dropout: rate on the code.
    """

    input: ImageInput = field(default_factory=lambda: ImageInput(64, 64))
    widths: tuple[int, ...] = (16, 32, 64)
    code: int = 16
    kernel: tuple[int, int] = (3, 3)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        part = 2 ** len(self.widths)
        whole = self.input.height % part == 0 and self.input.width % part == 0
        size = f"{self.input.height} x {self.input.width}"
        problems_refused("autoencoder", (
            (len(self.widths) > 0 and min(self.widths) > 0, "widths must be positive, and at least one"),
            (min(self.code, *self.kernel) > 0, "code and kernel must be positive"),
            (whole, f"{len(self.widths)} halvings need sides that {part} divides, not {size}"),
            (0 <= self.dropout < 1, "dropout must be in [0, 1)"),
        ))  # fmt: skip


def build_autoencoder(config: AutoencoderConfig, seed: int) -> ModelProto:
    """Images to ``score`` (N), the mean squared error of each, and ``reconstruction`` (N, C, H, W).

    Both are in the units of the normalised image; the mean of ``score`` is the loss to train with.
    """
    net = Builder("autoencoder", seed)
    image = x = config.input.write(net)
    for at, width in enumerate(config.widths, 1):
        x = conv_block(net, x, width, f"encoder{at}", kernel=config.kernel, stride=2)
    x = dropout(net, conv_block(net, x, config.code, "code", kernel=(1, 1)), config.dropout, "code.dropout")
    for at, width in reversed(list(enumerate(config.widths, 1))):
        x = upsample(net, x, width, f"decoder{at}.up")
        x = conv_block(net, x, width, f"decoder{at}", kernel=config.kernel)
    rebuilt = conv(net, x, config.input.channels, "head", kernel=config.kernel, bias=True)
    missed = net.node("missed", "Sub", rebuilt, image, shape=net.shape(image))
    squared = net.node("squared", "Mul", missed, missed, shape=net.shape(image))
    score = net.node("score", "ReduceMean", squared, net.writer.ints(1, 2, 3), shape=(BATCH,), keepdims=0)
    return net.finish({"score": score, "reconstruction": rebuilt})
