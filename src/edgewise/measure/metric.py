"""A number with its uncertainty: the form in which every quality figure is kept, shown and signed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgewise.errors import DataError

__all__ = ["Metric"]

_SLACK = 1e-9  # rounding between a value and its interval's ends


@dataclass(frozen=True, slots=True)
class Metric:
    """value with its confidence interval low..high. ``method`` says how the interval was made, over how many ``samples``."""

    name: str
    value: float
    low: float
    high: float
    samples: int
    method: str
    confidence: float = 0.95
    higher_is_better: bool = True

    def __post_init__(self) -> None:
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
        """Raises DataError for anything that ``to_json`` does not write."""
        try:
            return cls(
                str(value["name"])[:64], float(value["value"]), float(value["low"]), float(value["high"]),
                int(value["samples"]), str(value["method"])[:64], float(value["confidence"]), bool(value["higherIsBetter"]),
            )  # fmt: skip
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not a metric: {error!r:.100}") from None
