"""A small variant, then a bigger one, then upstream: two thresholds that hold one promise together.

Two thresholds make a plane, and testing all of it would cost what is gained. So the samples that choose draw a *path* through
the plane, from "nothing is kept" to "all is", and those of the promise are asked how far along it one may go: fixed-sequence
testing, which is valid for any path that was drawn without them.

A path has one number that makes it: how large a risk the second variant may take where the first one takes a risk r of r. What is
kept at the first saves the second's time and perhaps upstream's; at the second, upstream's alone. So some such ratio is the best
for a given cost (the condition of Lagrange), and of nine the one that is expected to cost least is taken.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from edgewise.measure.npz import Array
from edgewise.routing.fitting.points import NEAR, Part, point_of, sample_weights
from edgewise.routing.fitting.predicting import levels, unit_means
from edgewise.routing.fitting.single import Choice, slack
from edgewise.routing.fitting.split import Split
from edgewise.routing.fitting.types import Cost, Curve, Fit, Point, Stage
from edgewise.routing.rejection import Test
from edgewise.routing.risk import Promise, fit_sequence, least_samples

__all__ = ["Path", "draw_path", "fit_cascade", "plan_cascade"]

_RATIOS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0, np.inf)
_STEPS = 300  # of risk along a path
_LEAP = 0.005  # share of the samples that one step of it adds at most
_WINDOW = 25  # samples on each side over which a risk is averaged; a fifteenth of all where that is more


@dataclass(frozen=True, slots=True, eq=False)
class Path:
    """first, second: (K,) thresholds of the two variants, none ever rising; both begin at infinity."""

    first: Array
    second: Array


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """Two variants in turn and the path between their thresholds; cost: what a fit along it is expected to come to."""

    first: Choice
    second: Choice
    path: Path
    test: Test
    cost: float


def draw_path(first: Array, first_loss: Array, second: Array, second_loss: Array, ratio: float) -> Path:
    """first, second: (N,) scores; what each loses: (N,). ratio: of the second's risk at the margin to the first's."""
    one, other = _risks(first, first_loss), _risks(second, second_loss)
    most = max(one[1].max(), other[1].max(), 1e-9)
    allowed = np.linspace(0, 1, _STEPS) ** 2 * most * 1.001
    if ratio > 1:
        pairs = (allowed / ratio if np.isfinite(ratio) else np.full(_STEPS, -1.0)), allowed
    else:
        pairs = allowed, (allowed * ratio if ratio else np.full(_STEPS, -1.0))
    kept = _gradually(_kept_at(one, pairs[0]), _kept_at(other, pairs[1]), len(first), ratio)
    return Path(_thresholds(first, kept[0]), _thresholds(second, kept[1]))


def plan_cascade(
    first: Choice, second: Choice, chance: Split, promise: Promise, cost: Cost, block: Array | None = None
) -> Plan:
    """The path that is expected to cost least, by the samples that choose. Both choices mean the same by a loss."""
    rows = chance.choosing
    own = None if block is None else block[rows]
    weight = sample_weights(len(rows), own)
    units = len(chance.promising) if block is None else len(np.unique(block[chance.promising]))
    scores = first.scored.score[rows], second.scored.score[rows]
    losses = first.judged.losses[first.loss][rows], second.judged.losses[second.loss][rows]
    allowed = levels(first.test, np.concatenate([unit_means(each, own) for each in losses]), promise, units)
    found: Plan | None = None
    for ratio in _RATIOS:
        path = draw_path(scores[0], losses[0], scores[1], losses[1], ratio)
        lost, costs = [], []
        for one, other in zip(path.first, path.second, strict=True):
            kept = scores[0] >= one
            rest = ~kept & (scores[1] >= other)
            lost.append(float((weight * losses[0])[kept].sum() + (weight * losses[1])[rest].sum()))
            seconds = first.judged.recorded.seconds + float((~kept).mean()) * second.judged.recorded.seconds
            costs.append(cost.expected(seconds, float((~kept & ~rest).mean())))
        expected = float(np.mean([costs[_reached(np.array(lost), each)] for each in allowed]))
        if found is None or expected < found.cost:
            found = Plan(first, second, path, first.test, expected)
    assert found is not None
    return found


def fit_cascade(
    plan: Plan, chance: Split, promise: Promise, cost: Cost, block: Array | None = None, seed: int = 0
) -> Fit:
    """How far along the path of ``plan`` the samples of the promise allow to go."""
    rows = chance.promising
    own = None if block is None else block[rows]
    there = _Walk.of(plan, rows, own)
    best = fit_sequence(there.losses(), promise, plan.test, seed)
    points = [there.point(step) for step in range(len(plan.path.first))]
    lost = np.array([point.lost for point in points])
    step = max(best - 1, 0)
    chosen, oracle = points[step], points[_reached(lost, promise.epsilon)]
    tuning = _Walk.of(plan, chance.choosing, None if block is None else block[chance.choosing])
    usual = _reached(np.array([tuning.point(step).lost for step in range(len(lost))]), promise.epsilon)
    first, second = there.kept(step)
    pair = plan.first.judged.recorded, plan.second.judged.recorded
    seconds = pair[0].seconds + float((~first).mean()) * pair[1].seconds
    accuracy = [point.accuracy for point in points]
    limits = _limit(plan.first, rows, plan.path.first[step]), _limit(plan.second, rows, plan.path.second[step])
    return Fit(
        promise,
        (
            Stage(pair[0].variant, plan.first.scored.rule.to_json(), limits[0], {}, 1.0, float(first.mean())),
            Stage(
                pair[1].variant, plan.second.scored.rule.to_json(), limits[1], {}, float((~first).mean()), float(second.mean())
            ),
        ),
        plan.first.loss, plan.test, len(rows), len(chance.choosing), chosen, oracle, points[usual], there.alone(), points[0],
        Curve(
            plan.path.first, np.array([point.offload for point in points]), lost,
            None if None in accuracy else np.array(accuracy, np.float64),
        ),
        seconds, pair[0].bytes + pair[1].bytes, cost.expected(seconds, chosen.offload), cost.parts(seconds, chosen.offload),
        0 if own is None else len(np.unique(own)), least_samples(promise),
        0 if chosen.offload <= NEAR * oracle.offload else None,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Walk:
    """Some samples along a path."""

    path: Path
    scores: tuple[Array, Array]
    lost: tuple[Array, Array]
    right: tuple[Array | None, Array | None]
    upstream_right: Array | None
    block: Array | None

    @classmethod
    def of(cls, plan: Plan, rows: Array, block: Array | None) -> "_Walk":
        pair = plan.first, plan.second
        judged = [choice.judged.of(rows) for choice in pair]
        return cls(
            plan.path, (pair[0].scored.score[rows], pair[1].scored.score[rows]),
            (judged[0].losses[pair[0].loss], judged[1].losses[pair[1].loss]),
            (judged[0].right, judged[1].right), judged[0].upstream_right, block,
        )  # fmt: skip

    def kept(self, step: int) -> tuple[Array, Array]:
        """(N,) of bool: what each variant answers at that step."""
        first = self.scores[0] >= self.path.first[step]
        return first, ~first & (self.scores[1] >= self.path.second[step])

    def losses(self) -> Iterator[Array]:
        """Of every step, by sample or by block."""
        unit = None if self.block is None else np.unique(self.block, return_inverse=True)[1]
        for step in range(len(self.path.first)):
            first, second = self.kept(step)
            found = np.where(first, self.lost[0], 0.0) + np.where(second, self.lost[1], 0.0)
            yield found if unit is None else np.bincount(unit, found) / np.bincount(unit)

    def point(self, step: int) -> Point:
        return self._point(step, *self.kept(step))

    def alone(self) -> Point:
        """Nothing passed on: what the first variant does not keep at the end of the path, the second one answers."""
        first, _ = self.kept(-1)
        return self._point(-1, first, ~first)

    def _point(self, step: int, first: Array, second: Array) -> Point:
        parts: Sequence[Part] = (Part(first, self.lost[0], self.right[0]), Part(second, self.lost[1], self.right[1]))
        threshold = float(self.path.first[step])
        weight = sample_weights(len(first), self.block)
        return point_of(parts, self.upstream_right, weight, threshold if np.isfinite(threshold) else None)


def _risks(score: Array, loss: Array) -> tuple[Array, Array]:
    """Scores from the surest on, and what is lost near each: a running mean that never falls as scores do."""
    order = np.argsort(-score, kind="stable")
    wide = max(_WINDOW, len(score) // 15)
    sums = np.concatenate([[0.0], np.cumsum(loss[order])])
    place = np.arange(len(score))
    low, high = np.maximum(place - wide, 0), np.minimum(place + wide + 1, len(score))
    near = (sums[high] - sums[low]) / (high - low)
    return score[order], np.maximum.accumulate(near)


def _kept_at(risks: tuple[Array, Array], allowed: Array) -> Array:
    """How many samples have at most that risk, for each that is allowed."""
    found: Array = np.searchsorted(risks[1], allowed, side="right")
    return found


def _gradually(first: Array, second: Array, samples: int, ratio: float) -> tuple[Array, Array]:
    """From none to all, and with steps between where many samples come at once: the surest are often all without a loss."""
    last = (first[-1], samples) if ratio else (samples, 0)
    first, second = np.concatenate([[0], first, [last[0]]]), np.concatenate([[0], second, [last[1]]])
    leap = np.maximum(np.diff(first), np.diff(second))
    at = np.concatenate([[0], np.cumsum(np.ceil(leap / max(_LEAP * samples, 1)))])
    every = np.arange(at[-1] + 1)
    return np.interp(every, at, first).astype(int), np.interp(every, at, second).astype(int)


def _thresholds(score: Array, kept: Array) -> Array:
    """Those that keep so many of ``score``, and what ties with them."""
    ranked = np.sort(score)[::-1]
    return np.where(kept > 0, ranked[np.maximum(kept, 1) - 1], np.inf)


def _reached(lost: Array, allowed: float) -> int:
    """The last step before the first that loses more."""
    above = np.flatnonzero(lost > allowed + 1e-12)
    return int(above[0]) - 1 if len(above) and above[0] else (len(lost) - 1 if not len(above) else 0)


def _limit(choice: Choice, rows: Array, threshold: float) -> float | None:
    return None if np.isinf(threshold) else slack(choice.scored.score[rows], float(threshold))
