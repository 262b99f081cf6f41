"""Two thresholds that hold one promise together."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.routing.fitting.streams import LABELS, drawn

from edgewise.routing.fitting import Cost, Wanted, calibrate
from edgewise.routing.fitting.cascade import draw_path
from edgewise.routing.risk import Promise
from edgewise.routing.rules import read_rule

STREAM = drawn(3000, 21)
BOTH = Wanted(Promise(0.02), against="agreement", rules=("max-probability",), cascade=True)


def scores(name: str) -> np.ndarray:
    return read_rule({"name": "max-probability", "of": {"output": "y", "form": "scores"}}).scores(
        {"y": STREAM.outputs[name]}
    )


def lost(name: str) -> np.ndarray:
    return (STREAM.outputs[name].argmax(1) != STREAM.upstream.argmax(1)).astype(float)


@settings(max_examples=20, deadline=None)
@given(ratio=st.sampled_from([0.0, 0.1, 0.5, 1.0, 4.0, float("inf")]), seed=st.integers(0, 50))
def test_a_path_goes_from_nothing_to_everything_in_small_steps(ratio: float, seed: int) -> None:
    rows = np.random.default_rng(seed).choice(3000, 500, replace=False)
    first, second = scores("small")[rows], scores("big")[rows]
    path = draw_path(first, lost("small")[rows], second, lost("big")[rows], ratio)
    assert path.first[0] == path.second[0] == np.inf
    assert (path.first[1:] <= path.first[:-1]).all()
    assert (path.second[1:] <= path.second[:-1]).all()
    kept = np.array([(first >= one) | (second >= other) for one, other in zip(path.first, path.second, strict=True)])
    assert kept[-1].all()
    # By half a percent of each variant's samples; scores of probability 1 come all at once.
    assert np.diff(kept.mean(axis=1)).max() <= 0.02 + (np.mean(first == 1) + np.mean(second == 1))


@pytest.mark.parametrize(("ratio", "silent"), [(0.0, "second"), (float("inf"), "first")])
def test_a_path_may_leave_one_variant_out(ratio: float, silent: str) -> None:
    path = draw_path(scores("small"), lost("small"), scores("big"), lost("big"), ratio)
    assert np.isinf(getattr(path, silent)).all()


def test_what_a_cascade_says_is_what_its_stages_do() -> None:
    found = calibrate(
        STREAM.recorded, STREAM.upstream, BOTH, task="classification", decision="y", labels=LABELS, y=STREAM.y
    )
    fit = found.cascade
    assert fit is not None
    assert fit.name == "small -> big"
    first, second = fit.stages
    # The samples of the promise, by what was left for them; the seed of the split is the fit's.
    from edgewise.routing.fitting.split import split

    rows = split(3000, choice=True).promising
    one = read_rule(first.rule).scores({"y": STREAM.outputs["small"]})[rows] >= (first.threshold or np.inf)
    other = ~one & (read_rule(second.rule).scores({"y": STREAM.outputs["big"]})[rows] >= (second.threshold or np.inf))
    assert (first.reached, first.kept) == (1, pytest.approx(one.mean()))
    assert (second.reached, second.kept) == (pytest.approx(1 - one.mean()), pytest.approx(other.mean()))
    assert fit.chosen.offload == pytest.approx(1 - one.mean() - other.mean())
    assert fit.chosen.lost == pytest.approx((lost("small")[rows] * one + lost("big")[rows] * other).mean())
    assert fit.chosen.lost <= 0.02
    assert fit.seconds == pytest.approx(0.001 + 0.01 * (1 - one.mean()))
    assert fit.cost == pytest.approx(fit.seconds + 0.1 * fit.chosen.offload)
    assert fit.local.offload == 0
    assert fit.upstream == replace(fit.upstream, offload=1.0, lost=0.0)
    assert fit.bytes == 6000
    assert fit.oracle.offload < fit.chosen.offload


def test_a_cascade_is_taken_where_the_small_variants_time_is_worth_it() -> None:
    dear = replace(BOTH, cost=Cost(upstream_seconds=0.05))
    found = calibrate(STREAM.recorded, STREAM.upstream, dear, task="classification", decision="y")
    assert found.chosen is found.cascade
    assert found.cascade.cost < min(fit.cost for fit in found.each)
    slow = [replace(each, seconds=1.0) if each.variant == "small" else each for each in STREAM.recorded]
    found = calibrate(slow, STREAM.upstream, dear, task="classification", decision="y")
    assert found.chosen.variant == "big"
    assert len(found.chosen.stages) == 1 or found.chosen.stages[1].variant == "small"


def test_a_cascade_of_blocks_counts_blocks() -> None:
    wanted = replace(BOTH, promise=Promise(0.04), block=np.arange(3000) // 5)
    found = calibrate(STREAM.recorded, STREAM.upstream, wanted, task="classification", decision="y")
    assert found.cascade is not None
    assert (found.cascade.blocks, found.cascade.test) == (480, "betting")
    assert found.cascade.chosen.lost <= 0.04
