"""A small transformer encoder over feature frames, sensor windows or tokens."""

from dataclasses import dataclass, field

from onnx import ModelProto

from edgewise.networks.builder import Builder
from edgewise.networks.convolution import Pooling, dropout
from edgewise.networks.dense import dense, embed, present, table
from edgewise.networks.initial import normal
from edgewise.networks.inputs import SequenceInput, TokenInput, one_of, problems_refused
from edgewise.networks.sequence import encoder_layer, layer_norm, pool_steps

__all__ = ["EncoderConfig", "build_encoder"]

_DEVIATION = 0.02  # of embeddings and positions (BERT: Devlin et al. 2018, arXiv 1810.04805)


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """Pre-LN layers with GELU, learnt positions, and ``pooling`` over the steps behind a last layer normalisation.

    Padding (id 0) is neither attended to nor pooled. feed_forward: inner width of the dense part.
    """

    input: SequenceInput | TokenInput = field(default_factory=lambda: SequenceInput(49, 10))
    classes: int = 10
    width: int = 64
    layers: int = 2
    heads: int = 4
    feed_forward: int = 128
    pooling: Pooling = "mean"
    dropout: float = 0.1

    def __post_init__(self) -> None:
        positive = min(self.classes, self.width, self.layers, self.heads, self.feed_forward)
        problems_refused("encoder", (
            (positive > 0, "classes, width, layers, heads and feed_forward must be positive"),
            (self.width % max(self.heads, 1) == 0, f"width {self.width} does not divide among {self.heads} heads"),
            (self.input.steps is not None, "learnt positions need a fixed number of steps"),
            one_of("pooling", self.pooling, Pooling),
            (0 <= self.dropout < 1, "dropout must be in [0, 1)"),
        ))  # fmt: skip


def build_encoder(config: EncoderConfig, seed: int) -> ModelProto:
    """Sequences or tokens to ``logits`` (N, classes)."""
    net = Builder("encoder", seed)
    x, mask = config.input.write(net), ""
    if isinstance(config.input, TokenInput):
        mask = present(net, x, "present")
        x = embed(net, x, table(net, config.input.vocabulary, config.width, "embedding", _DEVIATION), "embedding")
    else:
        x = dense(net, x, config.width, "embedding")
    steps = net.known(x, 1)
    positions = net.parameter("positions.weight", normal(net.random, (steps, config.width), _DEVIATION))
    x = net.node("positions", "Add", x, positions, shape=net.shape(x))
    x = dropout(net, x, config.dropout, "positions.dropout")
    for at in range(1, config.layers + 1):
        x = encoder_layer(net, x, config.heads, config.feed_forward, f"layer{at}", mask=mask, rate=config.dropout)
    x = pool_steps(net, layer_norm(net, x, "norm"), config.pooling, "pool", mask=mask)
    return net.finish({"logits": dense(net, x, config.classes, "head")})
