"""Timing calls on machines that do other things too: medians, short blocks, candidates in turns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgewise.clock import Clock
from edgewise.errors import DataError
from edgewise.measure.metric import figure, whole

__all__ = ["Latency", "interleave", "time_calls"]

_BLOCK_SECONDS = 0.01  # one candidate's turn: long enough to warm its caches, short against the drift of a busy machine
_MAX_CALLS = 20_000
_FIELDS = ("p50Ms", "p95Ms", "p99Ms", "meanMs", "throughputPerSecond")


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds per call, and calls per second of one caller that waits for each answer."""

    p50_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    throughput_per_second: float
    runs: int

    def to_json(self) -> dict[str, Any]:
        values = (self.p50_ms, self.p95_ms, self.p99_ms, self.mean_ms, self.throughput_per_second)
        return {name: round(value, 6) for name, value in zip(_FIELDS, values, strict=True)} | {"runs": self.runs}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Latency":
        """What ``to_json`` wrote; fields that it does not know are passed over. Raises DataError for any other form."""
        p50, p95, p99, mean, rate = (figure(value, name) for name in _FIELDS)
        runs = whole(value, "runs")
        if runs < 1 or not 0 <= p50 <= p95 <= p99 or mean < 0 or rate < 0:
            raise DataError("not a latency: numbers must be positive, percentiles must rise, over at least one run")
        return cls(p50, p95, p99, mean, rate, runs)

    @classmethod
    def of(cls, seconds: list[float]) -> "Latency":
        """From the duration of each call. Raises DataError where there is none."""
        if not seconds:
            raise DataError("no call was timed")
        p50, p95, p99 = (float(value) * 1000 for value in np.quantile(seconds, [0.5, 0.95, 0.99]))
        mean = float(np.mean(seconds))
        return cls(p50, p95, p99, mean * 1000, 1 / mean if mean > 0 else 0.0, len(seconds))


def time_calls(
    call: Callable[[], object], *, clock: Clock, min_runs: int = 50, max_seconds: float = 1.0, warmup: int = 5
) -> Latency:
    """Time ``call`` until ``max_seconds`` are over, but at least ``min_runs`` times."""
    return interleave({"": call}, clock=clock, min_runs=min_runs, max_seconds=max_seconds, warmup=warmup)[""]


def interleave(
    calls: Mapping[str, Callable[[], object]],
    *,
    clock: Clock,
    min_runs: int = 50,
    max_seconds: float = 1.0,
    warmup: int = 5,
) -> dict[str, Latency]:
    """Time several candidates in turns, in an order that rotates, so that whatever else the machine does hits all alike.

    ``max_seconds`` is for all of them together; each runs at least ``min_runs`` times all the same.
    """
    if min_runs < 1:
        raise DataError(f"a call is timed at least once; min_runs is {min_runs}")
    names = list(calls)
    most = max(_MAX_CALLS, min_runs)
    times: dict[str, list[float]] = {name: [] for name in names}
    for call in calls.values():
        for _ in range(warmup):
            call()
    start, turn = clock.seconds(), 0
    while names:
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            _block(calls[name], times[name], clock, most)
        turn += 1
        fewest = min(map(len, times.values()))
        if fewest >= most or (fewest >= min_runs and clock.seconds() - start >= max_seconds):
            break
    return {name: Latency.of(taken) for name, taken in times.items()}


def _block(call: Callable[[], object], times: list[float], clock: Clock, most: int) -> None:
    now = begin = clock.seconds()
    while True:
        call()
        after = clock.seconds()
        times.append(after - now)
        now = after
        if now - begin >= _BLOCK_SECONDS or len(times) >= most:
            return
