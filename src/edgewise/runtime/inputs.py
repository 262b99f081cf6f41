"""Checking an input against the interface, on the way to every answer.

The common case (right dtype, right rank) costs two comparisons; whatever fails them is looked at again slowly, to say what
was expected and what came, or to add the batch axis that a single example lacks.

Nothing is cast silently: a photograph in 0..1 that becomes an image of zeros still gets an answer, and a wrong one. Arrays
have a type and keep it. Python values have none, so they may become what is wanted where that keeps their meaning.
"""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

import numpy as np

from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import TensorError
from edgewise.runtime.engine import Array

__all__ = ["InputCheck", "checks_for", "convert_values", "form_of"]

_lowest, _highest = np.minimum.reduce, np.maximum.reduce
_FULL_RANGE = {
    np.dtype(name): (np.iinfo(name).min, np.iinfo(name).max) for name in ("int8", "uint8", "int16", "uint16")
}
#: Kind of the wanted type -> kinds of values that it takes, in NumPy's letters. None, texts and complex numbers are in no row.
_TAKEN = {"f": "iuf", "i": "iu", "u": "iu", "b": "b"}
_PRINTED = 1 << 128  # Python refuses to print integers of more than 4300 digits
_SCALARS = (bool, int, float, complex, str, bytes, type(None))


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
        # Texts never take the fast way: an array of objects can hold anything, and onnxruntime makes a text "None" of None.
        self._plain = spec.dtype != "str" and all(isinstance(dim, str) for dim in behind[:start])
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
            value = convert_values(value, self.spec)
        elif self.spec.dtype == "str" and value.dtype.kind in "UO":
            value = _checked_texts(value, self.spec)
        elif value.dtype != self._dtype:
            raise self._error("dtype", f"{value.dtype}, shape {value.shape}", "dtype", value)
        single = self._batched and value.ndim == self._rank - 1
        array: Array = value[np.newaxis] if single else value
        if array.ndim != self._rank or not all(
            isinstance(wanted, str) or wanted == found
            for wanted, found in zip(self.spec.shape, array.shape, strict=True)
        ):
            raise self._error("shape", str(value.shape), "shape", value)
        return array, single

    def _error(self, what: str, got: str, fault: str, value: Array) -> TensorError:
        remedy = None
        if fault == "dtype" and value.dtype.kind == "S":
            remedy = "Turn the bytes into texts: numpy.char.decode(array)."
        elif fault == "dtype" and self.spec.dtype != "str":
            remedy = f"Convert it: array.astype({self.spec.dtype!r}), after scaling if the values need it."
        elif fault == "range":
            remedy = "Scale the values; the range is what the model was made for."
        elif fault == "shape":
            remedy = _shape_remedy(self.spec, value.shape)
        return _misfit(self.spec, f"{what} {got}", fault, value, remedy)


def checks_for(specs: tuple[TensorSpec, ...]) -> Mapping[str, Callable[[Any], tuple[Array, bool]]]:
    """Input name -> its check."""
    return {spec.name: InputCheck(spec).check for spec in specs}


def form_of(spec: TensorSpec) -> str:
    """What an input takes, without its name: ``float32 (batch, 3) in 0..1``."""
    return str(spec).removeprefix(f"{spec.name}: ")


def convert_values(value: Any, spec: TensorSpec) -> Array:
    """Python values as an array of the type that ``spec`` names: a number or text, nested lists of them, a list of arrays.

    Floats take numbers, rounded to their precision; integers take whole numbers of integer type within their range;
    booleans take booleans and texts take texts. The shape is that of the nesting; whether it fits is for InputCheck to say.
    Raises TensorError, with what was expected and what came, for anything else, for lists of different lengths and for
    empty ones.
    """
    dtype = np.dtype(object if spec.dtype == "str" else spec.dtype)
    try:
        # Never with a dtype of numbers: numpy would cast to it, 300 to 44 and "1" to 1.
        array = np.asarray(value, dtype if spec.dtype == "str" else None)
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        uneven = "inhomogeneous" in str(error)
        got = "lists of different lengths" if uneven else f"a {type(value).__name__} ({error})"
        raise _misfit(spec, got, "shape" if uneven else "dtype") from None
    if not array.size:
        raise _misfit(spec, f"shape {array.shape}", "shape", array)
    if spec.dtype == "str":
        return _checked_texts(array, spec)
    wrong = sorted(name for name, kind in _elements(value) if kind not in _TAKEN[dtype.kind])
    if wrong:
        got = f"values of type {', '.join(wrong)}" if isinstance(value, list | tuple) else f"a {type(value).__name__}"
        raise _misfit(spec, got, "dtype", remedy="Convert the values first: none is cast silently.")
    return _as_floats(array, dtype, spec) if dtype.kind == "f" else _as_whole(value, array, dtype, spec)


def _checked_texts(array: Array, spec: TensorSpec) -> Array:
    texts = array.astype(object, copy=False)
    wrong = sorted({type(item).__name__ for item in texts.flat if not isinstance(item, str)})
    if "list" in wrong or "tuple" in wrong:
        raise _misfit(spec, "lists of different lengths", "shape")
    if wrong:
        raise _misfit(spec, f"values of type {', '.join(wrong)}", "dtype", remedy="Pass texts, every one a str.")
    return texts


def _elements(value: Any) -> set[tuple[str, str]]:
    """Type and kind of all that nested lists hold, level by level; an array among them counts as what it holds."""
    found: set[tuple[str, str]] = set()
    level: list[Any] = [value]
    while level:
        types = set(map(type, level))
        if types == {list}:  # as a table or an image is, down to its last level
            level = list(chain.from_iterable(level))
            continue
        plain = {kind for kind in types if kind in _SCALARS or issubclass(kind, np.generic)}
        found |= {("None" if kind is type(None) else kind.__name__, np.dtype(kind).kind) for kind in plain}
        others = [item for item in level if type(item) not in plain] if types - plain else []
        for item in others:
            if not isinstance(item, list | tuple):
                held = np.asarray(item).dtype
                found.add((type(item).__name__ if held.kind == "O" else held.name, held.kind))
        level = list(chain.from_iterable(item for item in others if isinstance(item, list | tuple)))
    return found


def _as_floats(array: Array, dtype: np.dtype[Any], spec: TensorSpec) -> Array:
    try:
        given = array.astype(np.float64) if array.dtype.kind == "O" else array
    except OverflowError:
        raise _misfit(spec, "a number beyond 1e308", "range") from None
    with np.errstate(over="ignore"):
        result = given.astype(dtype)
    lost = np.isfinite(given) & ~np.isfinite(result)
    if lost.any():
        raise _misfit(spec, f"the value {given[lost].flat[0]:g}, which {dtype} cannot hold", "range")
    return result


def _as_whole(value: Any, array: Array, dtype: np.dtype[Any], spec: TensorSpec) -> Array:
    if dtype.kind == "b":
        return array
    if (
        array.dtype.kind not in "iu"
    ):  # beyond 64 bits, or on both sides of what int64 and uint64 share: numpy took floats
        array = np.asarray(value, dtype=object)
    low, high, limits = int(array.min()), int(array.max()), np.iinfo(dtype)
    if low < limits.min or high > limits.max:
        seen = f"values {low}..{high}" if max(-low, high) < _PRINTED else "whole numbers beyond 2^128"
        got = f"{seen}, where {dtype} holds {limits.min}..{limits.max}"
        raise _misfit(spec, got, "range", remedy="Scale the values, or leave out what is beyond.")
    return array.astype(dtype)


def _misfit(
    spec: TensorSpec, got: str, fault: str, value: Array | None = None, remedy: str | None = None
) -> TensorError:
    facts: dict[str, Any] = {"input": spec.name, "expected": str(spec), "fault": fault}
    if value is not None:
        facts["got"] = {"dtype": str(value.dtype), "shape": list(value.shape)}
    return TensorError(f"{spec.name} should be {form_of(spec)}; got {got}", remedy=remedy, **facts)


def _shape_remedy(spec: TensorSpec, shape: tuple[int, ...]) -> str | None:
    wanted = spec.shape[1:]
    if spec.content == "audio" and len(wanted) == 1 and isinstance(wanted[0], int):
        return f"Cut or pad it to {wanted[0]} samples."
    image = spec.content == "image" or (spec.dtype == "uint8" and wanted[2:] in {(1,), (3,)})
    if not image or len(wanted) != 3 or len(shape) not in {3, 4} or not all(isinstance(dim, int) for dim in wanted):
        return None
    if shape[-3:-1] == wanted[:2]:
        return None  # the size is right, something else is not
    size = f"{wanted[0]}x{wanted[1]}"
    return f"Resize it to {size}, or pack the model with `--before image:size={size}`, which resizes in the graph."


def _needed_range(spec: TensorSpec, dtype: np.dtype[Any]) -> tuple[float, float] | None:
    """The range, unless the dtype allows nothing else anyway."""
    if spec.range is None or dtype.kind not in "iuf":
        return None
    full = _FULL_RANGE.get(dtype)
    return None if full is not None and spec.range[0] <= full[0] and spec.range[1] >= full[1] else spec.range
