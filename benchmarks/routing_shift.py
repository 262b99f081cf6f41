"""Streams that change: whether a watch notices, how soon, how often for nothing, and what is lost from then on.

A run: a threshold is fitted on calibration samples of the calm part, and a node's watch keeps to it over calm samples and then
over others. Upstream answers at once. What the watch does when it alarms is its own: it defers everything, learns a threshold from
upstream's answers, and goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.routing_draws import DELTA
from benchmarks.routing_pool import Pool
from edgewise.measure.npz import Array
from edgewise.routing.risk import Promise, fit_agreement
from edgewise.routing.watch.drift import sketch
from edgewise.routing.watch.events import DEFER, Broken, Refit
from edgewise.routing.watch.widen import Terms, Watch, begin_watch, fit_exactly

RUNS = 200
EPSILON = 0.01
CALM = 5_000  # inputs of a stream before the change
PATIENCE = 40_000  # behind it, until nobody waits for an alarm any more
AFTER = 10_000  # behind the alarm


@dataclass
class _Log:
    """alarms: (input, cause). lost, passed: of each input."""

    alarms: list[tuple[int, str]] = field(default_factory=list)
    lost: list[bool] = field(default_factory=list)
    passed: list[bool] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """kept: the threshold keeps its promise over the calm pool. alarm: cause of one before the change, or "". unguarded: what it
    loses over the pool of the others. delay: inputs behind the change until the alarm, -1 for none; cause: of it. before, after:
    lost, in parts of the inputs from the change to the alarm, and from there to the end. passed: share passed on behind the alarm.
    """

    kept: bool
    alarm: str
    unguarded: float
    delay: int
    cause: str
    before: float
    after: float
    passed: float


def run(calm: Pool, other: Pool, samples: int, seed: int) -> Run:
    rng = np.random.default_rng(seed)
    score, loss = calm.score(), calm.disagree()
    score_other, loss_other = other.score(), other.disagree()
    rows = rng.integers(0, len(calm), samples)
    threshold = fit_agreement(score[rows], loss[rows], Promise(EPSILON, DELTA)).threshold
    state = begin_watch(Terms(EPSILON, DELTA, seed=seed), threshold, sketch(score[rows], rng))
    log = _Log()
    state = _stream(state, score, loss, rng.integers(0, len(calm), CALM), rng, log)
    alarm = log.alarms[0][1] if log.alarms else ""
    log.alarms.clear()
    state = _stream(state, score_other, loss_other, rng.integers(0, len(other), PATIENCE), rng, log, waiting=True)
    at, cause = log.alarms[0] if log.alarms else (CALM + PATIENCE, "")
    if cause:
        _stream(state, score_other, loss_other, rng.integers(0, len(other), AFTER), rng, log)
    lost, passed = np.array(log.lost), np.array(log.passed)
    return Run(
        float((loss & (score >= threshold)).mean()) <= EPSILON, alarm,
        float((loss_other & (score_other >= threshold)).mean()), at - CALM if cause else -1, cause,
        float(lost[CALM:at].mean()) if at > CALM else 0.0, float(lost[at:].mean()) if cause else float("nan"),
        float(passed[at:].mean()) if cause else float("nan"),
    )  # fmt: skip


def _stream(
    state: Watch, score: Array, loss: Array, rows: Array, rng: np.random.Generator, log: _Log, *, waiting: bool = False
) -> Watch:
    for one, coin in zip(rows.tolist(), rng.random(len(rows)).tolist(), strict=True):
        value, differs = float(score[one]), bool(loss[one])
        state, verdict, ticket, todo = state.decide(value, coin)
        log.lost.append(differs and verdict != DEFER)
        log.passed.append(verdict == DEFER)
        queue = list(todo)
        if verdict != "keep":
            state, more = state.learnt(value, differs, ticket)
            queue += more
        for each in queue:
            if isinstance(each, Broken):
                log.alarms.append((len(log.lost), each.cause))
            elif isinstance(each, Refit):
                state, _ = state.fitted(fit_exactly(each))
        if waiting and log.alarms:
            break
    return state


def runs(pairs: Sequence[tuple[Pool, Pool]], samples: int, count: int = RUNS) -> list[Run]:
    """So many runs, over the ``pairs`` of calm and other in turn."""
    return [run(*pairs[at % len(pairs)], samples, 1000 + at) for at in range(count)]


def by_group(pool: Pool) -> list[tuple[Pool, Pool]]:
    """Each group in turn is what comes new, and all others are what was calibrated on."""
    names = np.unique(pool.group)
    return [(pool.take(pool.group != name), pool.take(pool.group == name)) for name in names]
