"""Timing: every candidate gets its turns, and numbers survive JSON."""

from collections.abc import Callable

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
    for fault in ({"p50Ms": 5}, {"p99Ms": "3"}, {"meanMs": 10**400}, {"runs": 0}, {"runs": 1.5}, {"runs": True}):
        with pytest.raises(DataError):
            Latency.from_json({**taken.to_json(), **fault})


def test_the_order_rotates_so_that_none_is_always_after_the_same_one() -> None:
    clock = FixedClock()
    order: list[str] = []

    def named(name: str) -> Callable[[], None]:
        def call() -> None:
            order.append(name)
            clock.advance(0.02)

        return call

    interleave({name: named(name) for name in "abc"}, clock=clock, min_runs=3, max_seconds=0, warmup=0)
    assert "".join(order) == "abcbcacab"


def test_drift_hits_all_candidates_alike() -> None:
    """A machine that slows down all the time: equal work measured in turns stays equal, one after the other it would not."""
    clock = FixedClock()

    def work() -> None:
        clock.advance(0.001 * (1 + clock.seconds()))

    timed = interleave({"a": work, "b": work}, clock=clock, max_seconds=2.0)
    assert timed["a"].p50_ms == pytest.approx(timed["b"].p50_ms, rel=0.02)
    alone = [time_calls(work, clock=clock, max_seconds=1.0).p50_ms for _ in range(2)]
    assert alone[1] > 1.2 * alone[0]


def test_warm_up_is_not_measured() -> None:
    clock = FixedClock()
    lengths = iter([1.0] * 5 + [0.01] * 1000)
    taken = time_calls(lambda: clock.advance(next(lengths)), clock=clock, max_seconds=0.1, warmup=5)
    assert taken.p99_ms == pytest.approx(10)
    assert taken.runs == 50


def test_a_call_too_short_for_the_clock_ends_all_the_same() -> None:
    assert time_calls(lambda: None, clock=FixedClock(), max_seconds=1.0).throughput_per_second == 0.0


def test_nothing_to_time_is_refused() -> None:
    with pytest.raises(DataError, match="at least once"):
        time_calls(lambda: None, clock=FixedClock(), min_runs=0)
    with pytest.raises(DataError, match="no call"):
        Latency.of([])
