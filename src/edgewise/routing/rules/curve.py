"""A line through knots: what is known of a quantity as a function of another, in a few numbers."""

from bisect import bisect_right
from itertools import pairwise
from typing import final

import numpy as np

from edgewise.bundle.fields import Form
from edgewise.records import dataclass
from edgewise.runtime.engine import Array

__all__ = ["Curve", "read_curve"]

_MOST = 1024  # knots
_LARGEST = 1e30


@final
@dataclass(frozen=True, slots=True)
class Curve:
    """Straight between the knots ``at`` (rising) with the values ``value``, level beyond them."""

    at: tuple[float, ...]
    value: tuple[float, ...]

    def one(self, x: float) -> float:
        """The value at a finite number."""
        at, value = self.at, self.value
        right = bisect_right(at, x)
        if right == 0 or right == len(at):
            return value[right - 1 if right else 0]
        low = at[right - 1]
        return value[right - 1] + (value[right] - value[right - 1]) * ((x - low) / (at[right] - low))

    def many(self, x: Array) -> Array:
        """(N,) values at (N,); NaN where ``x`` is not finite."""
        found: Array = np.where(np.isfinite(x), np.interp(x, self.at, self.value), np.nan)
        return found

    def to_json(self) -> dict[str, list[float]]:
        return {"at": list(self.at), "value": list(self.value)}


def read_curve(form: Form, field: str) -> Curve:
    """As ``Curve.to_json`` gives it; notes every problem in ``form``."""
    found = form.child(field, _read)
    if found is None:
        form.problem(field, "is missing")
        return Curve((0.0,), (0.0,))
    return found


def _read(form: Form) -> Curve:
    at = form.values("at", _is_number, "a number", limit=_MOST)
    value = form.values("value", _is_number, "a number", limit=_MOST)
    if not at or len(at) != len(value):
        form.problem("value", f"as many values as knots are needed, at least one, not {len(value)} and {len(at)}")
    elif all(map(_is_number, at)) and any(after <= before for before, after in pairwise(at)):
        form.problem("at", "knots rise")
    for name in form.rest():
        form.problem(name[:60], "is not a field of this rule")
    if form.problems:
        return Curve((0.0,), (0.0,))
    return Curve(tuple(map(float, at)), tuple(map(float, value)))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -_LARGEST <= value <= _LARGEST
