"""One variant: its rule and test by the samples that choose, its threshold by those of the promise."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.npz import Array
from edgewise.routing.fitting.groups import fit_classes
from edgewise.routing.fitting.judging import Judged, tests_for
from edgewise.routing.fitting.points import Part, curve_of, enough_to_be_near, point_of, sample_weights, tuned
from edgewise.routing.fitting.predicting import drawn_again, predicted_offload
from edgewise.routing.fitting.split import Split
from edgewise.routing.fitting.types import Cost, Fit, Loss, Point, Stage
from edgewise.routing.rejection import Test
from edgewise.routing.risk import Promise, fit_threshold, least_samples
from edgewise.routing.rule import Rule

__all__ = ["Choice", "Scored", "choose_rule", "fit_single", "slack"]

_SURE = 1.3  # standard deviations of a difference by which another rule has to be better
_LOSSES = 12.0  # among those that choose; with fewer two rules differ by chance alone
_SLACK = 1e-9  # of a threshold: a score that a node computes for one row alone may differ in its last digits


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A rule and its scores (N,) on all samples. trial: (C,) those of the samples that choose, by a rule that has not seen them."""

    rule: Rule
    score: Array
    trial: Array


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What the samples that choose decided for one variant. offload, cost: what a fit with it is expected to come to."""

    judged: Judged
    scored: Scored
    loss: Loss
    test: Test
    offload: float
    cost: float


_Option = tuple[Scored, Loss, Test]


def choose_rule(
    judged: Judged,
    scored: Sequence[Scored],
    losses: Sequence[Loss],
    chance: Split,
    promise: Promise,
    cost: Cost,
    block: Array | None = None,
) -> Choice:
    """The rule, the meaning of loss and the test that are expected to pass on least; the first where nothing is to be chosen.

    Another takes the place of one before it only where it is better by more than chance makes of a difference: rules are often
    nearly equal, and the first of a task is its best bet. They are compared where there are some losses to compare by, which for a
    strict promise is at a laxer one.
    """
    seconds, rows = judged.recorded.seconds, chance.choosing
    units = len(chance.promising) if block is None else len(np.unique(block[chance.promising]))
    kinds = [
        (loss, test)
        for loss in losses
        for test in tests_for(loss, judged.losses[loss], units, blocks=block is not None)
    ]
    if not scored or not kinds:
        raise DataError(f"there is no rule for the variant {judged.recorded.variant}")
    if not len(rows):
        return Choice(judged, scored[0], kinds[0][0], kinds[0][1], 1.0, cost.expected(seconds, 1.0))
    own = None if block is None else block[rows]
    again = drawn_again(len(rows), own)
    compared = replace(promise, epsilon=min(max(promise.epsilon, _LOSSES / len(rows)), 0.5))

    def passed(option: _Option, promise: Promise) -> Array:
        candidate, loss, test = option
        return predicted_offload(candidate.trial, judged.losses[loss][rows], promise, test, units, again, own)

    each = [
        _best([(rule, loss, test) for rule in scored], lambda option: passed(option, compared)) for loss, test in kinds
    ]
    best = _best(each, lambda option: passed(option, promise))
    offload = float(passed(best, promise).mean())
    return Choice(judged, best[0], best[1], best[2], offload, cost.expected(seconds, offload))


def _best(options: Sequence[_Option], passed: Callable[[_Option], Array]) -> _Option:
    best, least = options[0], passed(options[0]) if len(options) > 1 else np.zeros(1)
    for option in options[1:]:
        found = passed(option)
        if float((found - least).mean() + _SURE * (found - least).std()) < 0:
            best, least = option, found
    return best


def fit_single(
    choice: Choice, chance: Split, promise: Promise, cost: Cost, block: Array | None = None, seed: int = 0
) -> Fit:
    """The threshold of ``choice`` on the samples of the promise, and what is shown beside it.

    Raises DataError where those are too few for it.
    """
    rows = chance.promising
    judged, score = choice.judged.of(rows), choice.scored.score[rows]
    loss, own = judged.losses[choice.loss], None if block is None else block[rows]
    weight, recorded = sample_weights(len(rows), own), judged.recorded
    by_group: Mapping[str, float | None] = {}
    if judged.group is None:
        fitted = fit_threshold(score, loss, promise, choice.test, block=own, seed=seed)
        threshold, kept = fitted.threshold, fitted.keeps(score)
        oracle = score >= tuned(score, loss, promise.epsilon, own)
    else:
        limits = fit_classes(score, loss, judged.group, promise, choice.test, block=own, seed=seed)
        by_group = {name: _stored(score[judged.group == name], limit) for name, limit in limits.items()}
        threshold = math.inf
        kept = score >= np.array([limits[name] for name in judged.group])
        oracle = _each(
            judged.group, lambda part: score[part] >= tuned(score[part], loss[part], promise.epsilon, _at(own, part))
        )

    def point(kept: Array, threshold: float = math.inf) -> Point:
        return point_of([Part(kept, loss, judged.right)], judged.upstream_right, weight, _known(threshold))

    chosen, everything = point(kept, threshold), np.ones(len(rows), bool)
    best = point(oracle, float(score[oracle].min(initial=math.inf)) if not by_group else math.inf)
    curve = curve_of(score, loss, judged.right, judged.upstream_right, weight)
    blocks = 0 if own is None else len(np.unique(own))
    units = blocks or len(rows)
    return Fit(
        promise,
        (
            Stage(
                recorded.variant, choice.scored.rule.to_json(), _stored(score, threshold), by_group, 1.0, float(kept.mean())
            ),
        ),
        choice.loss, choice.test, len(rows), len(chance.choosing), chosen, best,
        _naive(choice, chance, promise, block, seed), point(everything, float(score.min())), point(~everything), curve,
        recorded.seconds, recorded.bytes, cost.expected(recorded.seconds, chosen.offload),
        cost.parts(recorded.seconds, chosen.offload), blocks, least_samples(promise),
        None if by_group else enough_to_be_near(curve, promise, chosen.lost, best.offload, units),
    )  # fmt: skip


def slack(score: Array, threshold: float) -> float:
    """A threshold a hair lower that keeps exactly the same of ``score`` (N,): it has been tested as well."""
    below = score[score < threshold]
    room = float(threshold - below.max()) / 2 if len(below) else math.inf
    return threshold - min(room, _SLACK * max(1.0, abs(threshold)))


def _stored(score: Array, threshold: float) -> float | None:
    return None if math.isinf(threshold) else slack(score, threshold)


def _known(threshold: float) -> float | None:
    return None if math.isinf(threshold) else threshold


def _at(block: Array | None, part: Array) -> Array | None:
    return None if block is None else block[part]


def _each(group: Array, kept: Callable[[Array], Array]) -> Array:
    found = np.zeros(len(group), bool)
    for name in np.unique(group):
        part = group == name
        found[part] = kept(part)
    return found


def _naive(choice: Choice, chance: Split, promise: Promise, block: Array | None, seed: int) -> Point:
    """What is usual: tuned on some samples until they lose no more than epsilon, seen on others."""
    tuning, seen = chance.choosing, chance.promising
    if not len(tuning):
        mixed = np.random.default_rng(seed).permutation(seen)
        tuning, seen = mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]
    score, loss = choice.scored.score, choice.judged.losses[choice.loss]
    threshold = tuned(score[tuning], loss[tuning], promise.epsilon, _at(block, tuning))
    judged = choice.judged.of(seen)
    part = Part(score[seen] >= threshold, judged.losses[choice.loss], judged.right)
    return point_of([part], judged.upstream_right, sample_weights(len(seen), _at(block, seen)), _known(threshold))
