"""Time as a parameter: production passes ``SystemClock``, tests pass ``FixedClock``."""

import time
from typing import Protocol

__all__ = ["Clock", "FixedClock", "SystemClock"]


class Clock(Protocol):
    """What time it is, and how long something took."""

    def timestamp(self) -> str:
        """The time now, as RFC 3339 in UTC with whole seconds: ``2026-01-31T12:00:00Z``."""
        ...

    def seconds(self) -> float:
        """A monotonic reading in seconds, for differences only."""
        ...


class SystemClock:
    """The machine's clock."""

    def timestamp(self) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

    seconds = staticmethod(time.perf_counter)  # no frame of its own: it is read twice for each answer of a node


class FixedClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, timestamp: str = "2026-01-31T12:00:00Z") -> None:
        self._timestamp = timestamp
        self._seconds = 0.0

    def timestamp(self) -> str:
        return self._timestamp

    def seconds(self) -> float:
        return self._seconds

    def advance(self, seconds: float) -> None:
        """Move the monotonic reading on."""
        self._seconds += seconds
