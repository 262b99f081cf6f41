"""A threshold that was fitted for the floats, used for what was compressed; beside one that was fitted for that itself."""

from dataclasses import dataclass

import numpy as np

from benchmarks.routing_draws import DELTA, DRAWS, EPSILONS, at_thresholds
from benchmarks.routing_pool import Pool
from edgewise.routing.risk import Promise, fit_agreement, oracle_offload


@dataclass(frozen=True)
class Borrowed:
    """Shares of draws that broke the promise, and mean offload: of the threshold of fp32 on ``form``, and of its own."""

    form: str
    epsilon: float
    broken: float
    offload: float
    own_broken: float
    own_offload: float
    oracle: float


def borrowed(pool: Pool, form: str, samples: int, draws: int = DRAWS, seed: int = 1) -> list[Borrowed]:
    """For each epsilon, by disagreement with upstream; the same draws for both."""
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, len(pool), samples) for _ in range(draws)]
    score = {name: pool.score(name) for name in ("fp32", form)}
    loss = {name: pool.disagree(name) for name in ("fp32", form)}
    found = []
    for epsilon in EPSILONS:
        promise = Promise(epsilon, DELTA)
        thresholds = {
            name: np.array([fit_agreement(score[name][one], loss[name][one], promise).threshold for one in rows])
            for name in score
        }
        lost, offload = at_thresholds(pool.score(form, "fp32"), loss[form], thresholds["fp32"])
        own_lost, own_offload = at_thresholds(score[form], loss[form], thresholds[form])
        found.append(Borrowed(
            form, epsilon, float((lost > epsilon).mean()), float(offload.mean()), float((own_lost > epsilon).mean()),
            float(own_offload.mean()), oracle_offload(score[form], loss[form], epsilon),
        ))  # fmt: skip
    return found
