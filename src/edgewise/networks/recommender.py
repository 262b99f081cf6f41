"""A two-tower recommender: a user is what he chose, and every item of the catalogue gets a score."""

from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from edgewise.networks.builder import BATCH, Builder
from edgewise.networks.convolution import dropout
from edgewise.networks.dense import Activation, BagPooling, bag, dense, hidden_layers, shares, table
from edgewise.networks.inputs import one_of, problems_refused

__all__ = ["TwoTowerConfig", "build_two_tower"]


@dataclass(frozen=True, slots=True)
class TwoTowerConfig:
    """Matrix factorisation with the user's factors made from his history (Koren 2008, SVD++; Covington et al. 2016).

    Inputs: ``history`` int64 (N, length) of item ids from 1 to ``items``, padded with 0; with ``weighted`` also ``weights``
    float32 (N, length), recency or ratings. length None leaves it open. shared: one table for history and scores, else two.
    hidden: dense layers over the pooled history; a last one brings it to ``width`` again. history_dropout: rate at which
    entries of the history are left out, at training. biased: a popularity for each item.
    """

    items: int = 1000
    length: int | None = None
    weighted: bool = False
    width: int = 32
    pooling: BagPooling = "sqrtn"
    shared: bool = True
    hidden: tuple[int, ...] = ()
    activation: Activation = "relu"
    biased: bool = True
    history_dropout: float = 0.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        problems_refused("two-tower", (
            (min(self.items, self.width, *self.hidden) > 0, "items, width and hidden must be positive"),
            (self.length is None or self.length > 0, "length must be positive"),
            one_of("pooling", self.pooling, BagPooling),
            one_of("activation", self.activation, Activation),
            (0 <= self.dropout < 1 and 0 <= self.history_dropout < 1, "dropout must be in [0, 1)"),
        ))  # fmt: skip


def build_two_tower(config: TwoTowerConfig, seed: int) -> ModelProto:
    """Histories to ``logits`` (N, items + 1): the column is the item's id, and column 0, the padding, stands for nothing."""
    net = Builder("two-tower", seed)
    length = "length" if config.length is None else config.length
    history = net.input("history", "int64", (length,))
    weights = shares(net, history, weighted=config.weighted, rate=config.history_dropout)
    rows, deviation = config.items + 1, config.width**-0.5
    scored = table(net, rows, config.width, "items", deviation)
    chosen = scored if config.shared else table(net, rows, config.width, "history_items", deviation)
    user = bag(net, history, weights, chosen, "user.bag", config.pooling)
    user = dropout(net, user, config.dropout, "user.dropout")
    if config.hidden:
        user = hidden_layers(net, user, config.hidden, "user.hidden", activation=config.activation, rate=config.dropout)
        user = dense(net, user, config.width, "user")
    offset = [net.parameter("items.bias", np.zeros(rows))] if config.biased else []
    return net.finish({"logits": net.node("scores", "Gemm", user, scored, *offset, shape=(BATCH, rows), transB=1)})
