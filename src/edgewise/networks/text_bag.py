"""A text classifier over a bag of token or n-gram embeddings."""

from dataclasses import dataclass
from typing import Literal

from onnx import ModelProto

from edgewise.networks.builder import Builder
from edgewise.networks.convolution import batch_norm, dropout
from edgewise.networks.dense import Activation, BagPooling, bag, dense, hidden_layers, shares, table
from edgewise.networks.inputs import one_of, problems_refused
from edgewise.networks.sequence import layer_norm

__all__ = ["Norm", "TextBagConfig", "build_text_bag"]

#: What brings pooled vectors to one size.
Norm = Literal["none", "layer", "batch"]


@dataclass(frozen=True, slots=True)
class TextBagConfig:
    """fastText's classifier (Joulin et al. 2016, arXiv 1607.01759), with weights and hidden layers where they are wanted.

    Inputs: ``ids`` int64 (N, length), 0 is padding; with ``weighted`` also ``weights`` float32 (N, length), tf-idf say.
    length None leaves it open. word_dropout: rate at which whole entries are left out, at training. norm: over the batch or
    within each sample, behind the pooling. dropout: rate before every dense layer.
    """

    vocabulary: int = 32768
    classes: int = 10
    length: int | None = None
    weighted: bool = False
    width: int = 64
    pooling: BagPooling = "mean"
    norm: Norm = "none"
    hidden: tuple[int, ...] = (128,)
    activation: Activation = "relu"
    word_dropout: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        problems_refused("text-bag", (
            (self.vocabulary > 1, "the vocabulary needs an id beside the padding"),
            (min(self.classes, self.width, *self.hidden) > 0, "classes, width and hidden must be positive"),
            (self.length is None or self.length > 0, "length must be positive"),
            one_of("pooling", self.pooling, BagPooling),
            one_of("norm", self.norm, Norm),
            one_of("activation", self.activation, Activation),
            (0 <= self.dropout < 1 and 0 <= self.word_dropout < 1, "dropout must be in [0, 1)"),
        ))  # fmt: skip


def build_text_bag(config: TextBagConfig, seed: int) -> ModelProto:
    """Bags of ids to ``logits`` (N, classes)."""
    net = Builder("text-bag", seed)
    length = "length" if config.length is None else config.length
    ids = net.input("ids", "int64", (length,))
    weights = shares(net, ids, weighted=config.weighted, rate=config.word_dropout)
    rows = table(net, config.vocabulary, config.width, "embedding", config.width**-0.5)
    x = bag(net, ids, weights, rows, "bag", config.pooling)
    if config.norm != "none":
        x = layer_norm(net, x, "bag.norm") if config.norm == "layer" else batch_norm(net, x, "bag.bn")
    x = dropout(net, x, config.dropout, "bag.dropout")
    x = hidden_layers(net, x, config.hidden, "hidden", activation=config.activation, rate=config.dropout)
    return net.finish({"logits": dense(net, x, config.classes, "head")})
