"""Streams that a watch is tried on: drawn numbers, and digits as they come from a camera in the field."""

from functools import cache
from typing import Any

import numpy as np
import onnxruntime as ort

from edgewise.digits import load_split, model_bytes
from edgewise.measure.intervals import binomial_at_most
from edgewise.routing.watch.audit import Audit
from edgewise.routing.watch.events import KEEP, Broken, Refit, Trusted
from edgewise.routing.watch.widen import Watch, fit_exactly

Array = np.ndarray
Pool = tuple[Array, Array]  # scores and disagreement


def most_often(share: float, draws: int) -> int:
    """So many of ``draws`` are more in one of a thousand cases where each has the chance ``share``."""
    return next(k for k in range(draws) if binomial_at_most(k, draws, share) > 0.999)


def audited(audit: Audit, risk: float, inputs: int, chance: np.random.Generator) -> tuple[Audit, int]:
    """So many inputs, all kept, with coins and answers drawn: until the alarm. The state, and how many inputs that took.

    What lies between two disagreements of an audit is passed in one go: a tenth of a million inputs take a millisecond.
    """
    seen = 0
    while seen < inputs and not audit.broken:
        room = min(audit.room, inputs - seen)
        gap = int(chance.geometric(audit.share * risk)) if risk else room + 1
        if gap > room:
            audit, seen = audit.unaudited(room), seen + room
        else:
            audit, seen = audit.unaudited(gap - 1).observe(kept=True, audited=True, disagree=True), seen + gap
    return audit, seen


def alarms(make: Any, risk: float, inputs: int, runs: int, seed: int = 0) -> int:
    """In how many runs an audit that ``make`` begins claims a break."""
    return sum(audited(make(), risk, inputs, np.random.default_rng((seed, run)))[0].broken for run in range(runs))


def drive(
    watch: Watch, scores: Array, disagree: Array, chance: np.random.Generator
) -> tuple[Watch, Array, list[tuple[int, Broken | Trusted]]]:
    """Each input in turn, upstream answering at once: the last state, which were kept (N,), and what was reported when."""
    kept, reports = np.zeros(len(scores), bool), []
    coins = chance.random(len(scores)).tolist()
    for at, (score, other, coin) in enumerate(zip(scores.tolist(), disagree.tolist(), coins, strict=True)):
        watch, verdict, ticket, first = watch.decide(score, coin)
        kept[at] = verdict != "defer"
        todo = list(first)
        if verdict != KEEP:
            watch, more = watch.learnt(score, other, ticket)
            todo += more
        for instruction in todo:
            if isinstance(instruction, Refit):
                watch, more = watch.fitted(fit_exactly(instruction))
                reports += [(at, report) for report in more if not isinstance(report, Refit)]
            else:
                reports.append((at, instruction))
    return watch, kept, reports


def drawn(pool: Pool, count: int, chance: np.random.Generator) -> Pool:
    """So many of a pool, with replacement: inputs that are drawn alike."""
    at = chance.integers(0, len(pool[0]), count)
    return pool[0][at], pool[1][at]


def confident(pool: Pool, share: float, count: int, chance: np.random.Generator) -> Pool:
    """As ``drawn``, but the device errs on ``share`` of all inputs with its usual confidence: scores are none the wiser."""
    scores, disagree = drawn(pool, count, chance)
    return scores, disagree | ((scores > np.median(pool[0])) & (chance.random(count) < 2 * share))


@cache
def digits(noisiest: float, count: int = 10_000) -> Pool:
    """Digits with field noise: the deviation of each image's noise is drawn from 0 to ``noisiest``, of 0 to 1 for a pixel.

    The device has the int8 network, which was learnt from clean images; upstream is kernel regression on noisy ones.
    """
    chance = np.random.default_rng(round(noisiest * 1000))
    images = np.concatenate([load_split(name)[0] for name in ("calibration", "eval")]) / 16
    at = chance.integers(0, len(images), count)
    noise = chance.normal(size=(count, 8, 8)) * chance.uniform(0, noisiest, (count, 1, 1))
    x = np.clip(images[at] + noise, 0, 1).astype(np.float32)
    session = ort.InferenceSession(model_bytes("int8"))
    logits = np.asarray(session.run(None, {session.get_inputs()[0].name: x[:, None]})[0], np.float64)
    share = np.exp(logits - logits.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    return share.max(axis=1), logits.argmax(axis=1) != _upstream(x.reshape(count, 64))


def _upstream(x: Array) -> Array:
    centres, weights = _learnt()
    found = [(_kernel(part, centres) @ weights).argmax(axis=1) for part in np.array_split(x, max(1, len(x) // 1000))]
    return np.concatenate(found)


@cache
def _learnt() -> tuple[Array, Array]:
    images, y = load_split("train")
    chance = np.random.default_rng(0)
    noise = chance.normal(size=(1000, 8, 8)) * chance.uniform(0, 0.3, (1000, 1, 1))
    centres = np.clip(np.concatenate([images]) / 16 + noise, 0, 1).reshape(1000, 64).astype(np.float32)
    system = _kernel(centres, centres) + 0.1 * np.eye(1000, dtype=np.float32)
    return centres, np.linalg.solve(system, np.eye(10, dtype=np.float32)[y])


def _kernel(first: Array, second: Array) -> Array:
    apart = np.square(first).sum(axis=1)[:, None] + np.square(second).sum(axis=1) - 2 * first @ second.T
    return np.exp(-apart / (2 * 1.2**2))
