"""Answers of variants and of an upstream that are drawn, so that what is true of them is known: a population and samples of it."""

from dataclasses import dataclass

import numpy as np

from edgewise.routing.fitting import Fit, Recorded
from edgewise.routing.rules import read_rule

Array = np.ndarray
CLASSES = 10
LABELS = tuple("abcdefghij")


@dataclass(frozen=True)
class Stream:
    """outputs: by variant, (N, classes). upstream: (N, classes). y: (N,)."""

    outputs: dict[str, Array]
    upstream: Array
    y: Array

    def some(self, rows: Array) -> "Stream":
        return Stream({name: each[rows] for name, each in self.outputs.items()}, self.upstream[rows], self.y[rows])

    @property
    def recorded(self) -> list[Recorded]:
        cost = {"small": (0.001, 1000), "big": (0.01, 5000)}
        return [Recorded(name, {"y": each}, *cost.get(name, (0.005, 3000))) for name, each in self.outputs.items()]


def drawn(count: int, seed: int, strength: tuple[float, ...] = (3.2, 4.2)) -> Stream:
    """Harder samples are harder for all; what errors have in common is a third of their noise's variance."""
    chance = np.random.default_rng(seed)
    y, hard = chance.integers(0, CLASSES, count), chance.gamma(1.0, 1.0, count)
    common, made = chance.normal(size=(count, CLASSES)), []
    for height in (*strength, 5.5):
        signal = np.zeros((count, CLASSES))
        signal[np.arange(count), y] = height * np.exp(-0.5 * np.maximum(hard - 1, 0))
        made.append((2 * (signal + 0.6 * common + 0.8 * chance.normal(size=(count, CLASSES)))).astype(np.float32))
    names = ("small", "big") if len(strength) == 2 else ("small",)
    return Stream(dict(zip(names, made[:-1], strict=True)), made[-1], y)


class Truth:
    """What a fit really loses and passes on, by a population."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.decided = stream.upstream.argmax(axis=1)
        self._scores: dict[tuple[str, str], Array] = {}

    def lost(self, variant: str, loss: str) -> Array:
        ours = self.stream.outputs[variant].argmax(axis=1)
        if loss == "gap":
            return (self.decided == self.stream.y).astype(float) - (ours == self.stream.y)
        return (ours != self.decided).astype(float)

    def of(self, fit: Fit) -> tuple[float, float]:
        """(offload, what is lost)."""
        left, lost = np.ones(len(self.decided), bool), 0.0
        for stage in fit.stages:
            rule = read_rule(stage.rule)
            key = (stage.variant, repr(stage.rule))
            if key not in self._scores:
                self._scores[key] = rule.scores({"y": self.stream.outputs[stage.variant]})
            kept = left & (self._scores[key] >= (np.inf if stage.threshold is None else stage.threshold))
            lost += float(self.lost(stage.variant, fit.loss)[kept].sum())
            left &= ~kept
        return float(left.mean()), lost / len(left)

    def oracle(self, fit: Fit, epsilon: float) -> float:
        """The least offload by the rule of a fit with one stage, for one who knows the population."""
        (stage,) = fit.stages
        score = read_rule(stage.rule).scores({"y": self.stream.outputs[stage.variant]})
        order = np.argsort(-score, kind="stable")
        lost = np.cumsum(self.lost(stage.variant, fit.loss)[order]) / len(order)
        within = np.flatnonzero(lost <= epsilon)
        return 1 - (within[-1] + 1) / len(order) if len(within) else 1.0
