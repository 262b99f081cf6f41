"""What a device is told of the calibration samples, so that it can watch over a promise."""

import numpy as np
import pytest

from edgewise.routing.fitting import Recorded, Wanted, calibrate, watching
from edgewise.routing.fitting.types import Against, Fit
from edgewise.routing.risk import Promise
from edgewise.routing.watch.drift import read_sketch


def fitted(against: Against, samples: int = 1200) -> tuple[Fit, Recorded, np.ndarray]:
    chance = np.random.default_rng(0)
    y = chance.integers(0, 3, samples)
    theirs = np.eye(3, dtype=np.float32)[np.where(chance.random(samples) < 0.98, y, (y + 1) % 3)]
    sure = chance.random(samples)
    right = chance.random(samples) < 0.7 + 0.3 * sure
    ours = (np.eye(3)[np.where(right, y, (y + 2) % 3)] * (1 + 8 * sure[:, None])).astype(np.float32)
    recorded = Recorded("int8", {"scores": ours})
    wanted = Wanted(Promise(0.05), against=against, rules=("max-probability",))
    found = calibrate([recorded], theirs, wanted, task="classification", decision="scores", y=y)
    return found.chosen, recorded, ours.argmax(axis=1) != theirs.argmax(axis=1)


def test_a_promise_about_disagreement_brings_a_sketch_of_the_scores_alone() -> None:
    fit, recorded, disagree = fitted("agreement")
    told = watching(fit, recorded.outputs, disagree)["watch"]
    assert set(told) == {"sketch"}
    assert sum(read_sketch(told["sketch"]).gaps) == len(disagree) + 1


def test_a_promise_about_accuracy_says_how_often_what_is_kept_disagrees() -> None:
    fit, recorded, disagree = fitted("gap")
    assert fit.loss == "gap"
    told = watching(fit, recorded.outputs, disagree)["watch"]
    kept = 1 - fit.chosen.offload
    assert kept > 0
    assert max(0.05, disagree.mean() * 0.2) <= told["disagreement"] <= disagree.mean() + 0.03
    nothing = watching(fit, recorded.outputs, np.zeros(len(disagree), bool))["watch"]
    assert nothing["disagreement"] == pytest.approx(0.05), "no more accuracy can be lost than answers differ"


def test_few_samples_bring_no_sketch() -> None:
    fit, recorded, disagree = fitted("agreement")
    few = {name: array[:8] for name, array in recorded.outputs.items()}
    assert watching(fit, few, disagree[:8]) == {}
