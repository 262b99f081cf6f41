"""Checking an input against the interface, on the way to every answer.

The common case (right dtype, right rank) costs two comparisons; whatever fails them is looked at again slowly, to say what
was expected and what came, or to add the batch axis that a single example lacks.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import TensorError
from edgewise.runtime.engine import Array

__all__ = ["InputCheck"]

_lowest, _highest = np.minimum.reduce, np.maximum.reduce
_FULL_RANGE = {
    np.dtype(name): (np.iinfo(name).min, np.iinfo(name).max) for name in ("int8", "uint8", "int16", "uint16")
}


class InputCheck:
    """One input of the interface. ``check(array) -> (array, whether the batch axis was added)``."""

    def __init__(self, spec: TensorSpec) -> None:
        self.spec = spec
        self._dtype = np.dtype(object if spec.dtype == "str" else spec.dtype)
        self._rank = len(spec.shape)
        # Fixed dimensions behind the batch axis, in one piece at the end: (3, 32, 32), or (1,) where height and width are free.
        behind = spec.shape[1:]
        start = max((at + 1 for at, dim in enumerate(behind) if isinstance(dim, str)), default=0)
        self._tail = behind[start:]
        self._tail_from = 1 + start
        self._plain = all(isinstance(dim, str) for dim in behind[:start])
        self._batched = bool(spec.shape) and (isinstance(spec.shape[0], str) or spec.shape[0] == 1)
        self._free_first = bool(spec.shape) and isinstance(spec.shape[0], str)
        self._range = _needed_range(spec, self._dtype)

    def check(self, value: Any) -> tuple[Array, bool]:
        """Raises TensorError with what was expected and what came."""
        single = False
        if not (
            type(value) is np.ndarray
            and value.dtype is self._dtype
            and value.ndim == self._rank
            and self._free_first
            and self._plain
            and value.shape[self._tail_from :] == self._tail
        ):
            value, single = self._look_again(value)
        limits = self._range
        if (
            limits is not None
            and value.size
            and not (limits[0] <= _lowest(value, axis=None) and _highest(value, axis=None) <= limits[1])
        ):
            raise self._error(
                "values", f"{_lowest(value, axis=None):g}..{_highest(value, axis=None):g}", "range", value
            )
        return value, single

    def _look_again(self, value: Any) -> tuple[Array, bool]:
        if not isinstance(value, np.ndarray):
            value = self._convert(value)
        if value.dtype != self._dtype and not (self.spec.dtype == "str" and value.dtype.kind in "US"):
            raise self._error("dtype", str(value.dtype), "dtype", value)
        if value.dtype.kind in "US":
            value = value.astype(object)
        single = self._batched and value.ndim == self._rank - 1
        array: Array = value[np.newaxis] if single else value
        if array.ndim != self._rank or not all(
            isinstance(wanted, str) or wanted == found
            for wanted, found in zip(self.spec.shape, array.shape, strict=True)
        ):
            raise self._error("shape", str(value.shape), "shape", value)
        return array, single

    def _convert(self, value: Any) -> Array:
        # Python numbers and nested lists have no dtype of their own; arrays do, and are never cast silently.
        try:
            return np.asarray(value, dtype=self._dtype)
        except (ValueError, TypeError, OverflowError) as error:
            raise TensorError(
                f"{self.spec.name}: expected {self.spec}; got a {type(value).__name__} ({error})"
            ) from None

    def _error(self, what: str, got: str, kind: str, value: Array) -> TensorError:
        remedy = None
        if kind == "dtype":
            remedy = f"Convert it: array.astype({self.spec.dtype!r}), after scaling if the values need it."
        elif kind == "range":
            remedy = "Scale the values; the range is what the model was made for."
        return TensorError(
            f"{self.spec.name}: expected {self.spec}; got {what} {got}", remedy=remedy, input=self.spec.name,
            expected=str(self.spec), got={"dtype": str(value.dtype), "shape": list(value.shape)}, fault=kind,
        )  # fmt: skip


def checks_for(specs: tuple[TensorSpec, ...]) -> Mapping[str, Callable[[Any], tuple[Array, bool]]]:
    """Input name -> its check."""
    return {spec.name: InputCheck(spec).check for spec in specs}


def _needed_range(spec: TensorSpec, dtype: np.dtype[Any]) -> tuple[float, float] | None:
    """The range, unless the dtype allows nothing else anyway."""
    if spec.range is None or dtype.kind not in "iuf":
        return None
    full = _FULL_RANGE.get(dtype)
    return None if full is not None and spec.range[0] <= full[0] and spec.range[1] >= full[1] else spec.range
