"""What a device is told of the calibration samples, so that it can watch over the promise: how sure it was of them, how often it
disagreed.
"""

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.intervals import clopper_pearson
from edgewise.measure.npz import Array
from edgewise.routing.fitting.types import Fit
from edgewise.routing.rules.reading import read_rule
from edgewise.routing.watch.drift import sketch

__all__ = ["watching"]


def watching(fit: Fit, outputs: Mapping[str, Array], disagree: Array, seed: int = 0) -> dict[str, Any]:
    """For ``Calibration.extra``: {"watch": {"sketch": ..., "disagreement": ...}}, or what of it can be said.

    outputs: of the first variant on the calibration samples, by name. disagree: (N,) of bool, its decision against upstream's.
    disagreement: where the promise is not about disagreement itself, the share of all inputs that are kept and disagree, at most,
    but for a chance of delta: labels are missing in use, and this can be seen without.
    """
    first = fit.stages[0]
    told: dict[str, Any] = {}
    score = np.asarray(read_rule(first.rule).scores(outputs), np.float64)
    finite = score[np.isfinite(score)]
    with suppress(DataError):  # too few to tell other scores from these
        told["sketch"] = sketch(finite, np.random.default_rng(seed)).to_json()
    if fit.loss != "disagreement" and len(fit.stages) == 1 and first.threshold is not None and not first.by_group:
        kept = int((disagree & (score >= first.threshold)).sum())
        most = clopper_pearson(kept, len(score), 1 - 2 * fit.promise.delta)[1]
        told["disagreement"] = max(most, fit.promise.epsilon)  # no more accuracy can be lost than answers differ
    return {"watch": told} if told else {}
