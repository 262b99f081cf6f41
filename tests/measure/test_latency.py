"""Timing: every candidate gets its turns, and numbers survive JSON."""

import pytest

from edgewise.clock import FixedClock
from edgewise.errors import DataError
from edgewise.measure.latency import Latency, interleave, time_calls


def test_a_call_of_known_length_is_measured_as_such() -> None:
    clock = FixedClock()
    taken = time_calls(lambda: clock.advance(0.002), clock=clock, max_seconds=0.5)
    assert taken.p50_ms == pytest.approx(2.0)
    assert taken.throughput_per_second == pytest.approx(500)
    assert taken.runs >= 250


def test_slow_and_fast_candidates_both_reach_the_least_number_of_runs() -> None:
    clock = FixedClock()
    order: list[str] = []

    def slow() -> None:
        order.append("slow")
        clock.advance(0.05)

    def fast() -> None:
        order.append("fast")
        clock.advance(0.001)

    timed = interleave({"slow": slow, "fast": fast}, clock=clock, min_runs=20, max_seconds=0.1, warmup=0)
    assert timed["slow"].p50_ms == pytest.approx(50)
    assert timed["fast"].p50_ms == pytest.approx(1)
    assert min(timed["slow"].runs, timed["fast"].runs) >= 20
    turns = [name for name, before in zip(order, ["", *order], strict=False) if name != before]
    assert len(turns) >= 20, "candidates take turns instead of running one after the other"


def test_latency_survives_json_and_is_validated() -> None:
    taken = Latency.of([0.001, 0.002, 0.003])
    assert Latency.from_json(taken.to_json()) == Latency.from_json(Latency.from_json(taken.to_json()).to_json())
    with pytest.raises(DataError):
        Latency.from_json({**taken.to_json(), "p50Ms": -1})
    with pytest.raises(DataError):
        Latency.from_json({})
