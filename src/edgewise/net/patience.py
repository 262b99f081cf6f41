"""When to ask once more, and after how long."""

import re

from edgewise.errors import HttpStatusError, NetworkError

__all__ = ["DELAYS", "pause"]

DELAYS = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further attempt."""
_LONGEST_WAIT = 60.0  # seconds, whatever Retry-After says
_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_SECONDS = re.compile(r"[0-9]{1,18}")


def pause(error: NetworkError | HttpStatusError, delay: float | None) -> float | None:
    """Seconds to wait before the next attempt, or None where there is none. delay: of this attempt, None for the last."""
    if delay is None or isinstance(error, NetworkError):
        return delay
    if error.details["status"] not in _TRANSIENT:
        return None
    asked = str(error.details["retry_after"])
    return max(delay, min(float(asked), _LONGEST_WAIT)) if _SECONDS.fullmatch(asked) else delay
