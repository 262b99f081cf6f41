"""A number with its uncertainty: the form in which every quality figure is kept, shown and signed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgewise.errors import DataError

__all__ = ["Metric", "figure", "whole"]

_SLACK = 1e-9  # rounding between a value and its interval's ends
_WORDS = 64  # characters in a name or a method


@dataclass(frozen=True, slots=True)
class Metric:
    """value with its confidence interval low..high. ``method`` says how the interval was made, over how many ``samples``.

    Raises DataError when built from numbers that are not finite or from a value outside its interval.
    """

    name: str
    value: float
    low: float
    high: float
    samples: int
    method: str
    confidence: float = 0.95
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        if not 0 < len(self.name) <= _WORDS or not 0 < len(self.method) <= _WORDS:
            raise DataError(f"a metric's name and method have 1 to {_WORDS} characters each, not {self.name!r:.80}")
        numbers = (self.value, self.low, self.high, self.confidence)
        if not all(math.isfinite(number) for number in numbers) or self.samples < 1 or not 0 < self.confidence < 1:
            raise DataError(f"the metric {self.name} is not a finite number over at least one sample")
        if not self.low - _SLACK <= self.value <= self.high + _SLACK:
            raise DataError(f"the metric {self.name} has the value {self.value} outside {self.low}..{self.high}")

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g}..{self.high:.4g})"

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name, "value": self.value, "low": self.low, "high": self.high, "confidence": self.confidence,
            "method": self.method, "samples": self.samples, "higherIsBetter": self.higher_is_better,
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Metric":
        """What ``to_json`` wrote; fields that it does not know are passed over. Raises DataError for any other form."""
        name, method, higher = value.get("name"), value.get("method"), value.get("higherIsBetter")
        if not isinstance(name, str) or not isinstance(method, str) or not isinstance(higher, bool):
            raise DataError("not a metric: name and method are texts and higherIsBetter is true or false")
        return cls(
            name, figure(value, "value"), figure(value, "low"), figure(value, "high"), whole(value, "samples"), method,
            figure(value, "confidence"), higher,
        )  # fmt: skip


def figure(value: Mapping[str, Any], name: str) -> float:
    """The finite number ``value[name]`` of a JSON object. Raises DataError for a text, true, or what a float cannot hold."""
    number = value.get(name)
    if isinstance(number, int | float) and not isinstance(number, bool):
        try:
            number = float(number)
        except OverflowError:  # JSON integers have no bound
            raise DataError(f"{name} is larger than any number that is measured") from None
        if math.isfinite(number):
            return number
    raise DataError(f"{name} is to be a finite number, not {str(value.get(name))[:24] if name in value else 'absent'}")


def whole(value: Mapping[str, Any], name: str) -> int:
    """The whole number ``value[name]`` of a JSON object. Raises DataError for anything else."""
    number = figure(value, name)
    if number != int(number):
        raise DataError(f"{name} is to be a whole number, not {number}")
    return int(number)
