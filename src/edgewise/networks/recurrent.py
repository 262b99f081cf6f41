"""A GRU classifier over feature frames, sensor windows or tokens."""

from dataclasses import dataclass, field
from typing import Literal

from onnx import ModelProto

from edgewise.networks.builder import Builder
from edgewise.networks.convolution import Pooling, dropout
from edgewise.networks.dense import dense, embed, hidden_layers, present, table
from edgewise.networks.inputs import SequenceInput, TokenInput, one_of, problems_refused
from edgewise.networks.sequence import gru, pool_steps

__all__ = ["GruConfig", "build_gru"]


@dataclass(frozen=True, slots=True)
class GruConfig:
    """``layers`` of ``hidden`` units, ``both_ways`` or forward; then ``pooling`` over time.

    pooling ``last`` takes the state at the end of each way, whatever is there: pad tokens on the left for it. embedding: width
    of the vectors of tokens. dropout: rate behind every layer.
    """

    input: SequenceInput | TokenInput = field(default_factory=lambda: SequenceInput(49, 10))
    classes: int = 10
    hidden: int = 64
    layers: int = 1
    both_ways: bool = False
    pooling: Pooling | Literal["last"] = "last"
    embedding: int = 32
    dense: tuple[int, ...] = ()
    dropout: float = 0.0

    def __post_init__(self) -> None:
        positive = min(self.classes, self.hidden, self.layers, self.embedding, *self.dense)
        problems_refused("gru", (
            (positive > 0, "classes, hidden, layers, embedding and dense must be positive"),
            one_of("pooling", self.pooling, Pooling, "last"),
            (0 <= self.dropout < 1, "dropout must be in [0, 1)"),
        ))  # fmt: skip


def build_gru(config: GruConfig, seed: int) -> ModelProto:
    """Sequences or tokens to ``logits`` (N, classes)."""
    net = Builder("gru", seed)
    x, mask = config.input.write(net), ""
    if isinstance(config.input, TokenInput):
        mask = present(net, x, "present")
        weight = table(net, config.input.vocabulary, config.embedding, "embedding", config.embedding**-0.5)
        x = embed(net, x, weight, "embedding")
    for at in range(1, config.layers + 1):
        last = at == config.layers and config.pooling == "last"
        x = gru(net, x, config.hidden, f"gru{at}", both_ways=config.both_ways, last=last)
        if at < config.layers:
            x = dropout(net, x, config.dropout, f"gru{at}.dropout")
    if config.pooling != "last":
        x = pool_steps(net, x, config.pooling, "pool", mask=mask)
    x = dropout(net, x, config.dropout, "pool.dropout")
    x = hidden_layers(net, x, config.dense, "hidden", rate=config.dropout)
    return net.finish({"logits": dense(net, x, config.classes, "head")})
