"""What a person says of his examples as the arrays that a step takes: labels as classes, sets of labels as rows."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from edgewise.bundle.safetensors import Array
from edgewise.errors import DataError
from edgewise.training.data.batches import SAMPLE_WEIGHT
from edgewise.training.run.step_spec import ValueSpec

__all__ = ["as_targets", "refuse_not_finite"]

_SHOWN = 12


def as_targets(y: Any, specs: tuple[ValueSpec, ...], labels: Sequence[str], count: int) -> dict[str, Array]:
    """``y`` as target name -> array, for ``count`` examples.

    labels: names of the classes, in the model's order. Raises DataError that names the example where one is no class of the
    model, and where the number of examples is another one.
    """
    wanted = [spec for spec in specs if spec.name != SAMPLE_WEIGHT]
    if isinstance(y, Mapping):
        return {name: np.asarray(array) for name, array in y.items()}
    if len(wanted) != 1:
        names = ", ".join(spec.name for spec in wanted) or "no targets"
        raise DataError(f"this model learns from {names}", remedy="Pass y as {name: array, ...}.")
    (spec,) = wanted
    alone = isinstance(y, str) or not hasattr(y, "__len__") or (isinstance(y, np.ndarray) and not y.ndim)
    values = [y] if alone else y
    if len(values) != count:
        raise DataError(f"there are {count} examples and {len(values)} values of y", remedy="Give one value for each.")
    array = _classes(values, spec, labels) if spec.below is not None else _numbers(values, spec, labels)
    return {spec.name: array}


def refuse_not_finite(arrays: Mapping[str, Array]) -> None:
    """Raises DataError that names the examples with NaN or infinity: by the time they are in a batch their places are others."""
    for name, array in arrays.items():
        if array.dtype.kind == "f":
            rows = np.flatnonzero(~np.isfinite(array).reshape(len(array), -1).all(axis=1))
            if len(rows):
                raise DataError(
                    f"{name} is not finite in {'example' if len(rows) == 1 else 'examples'} {', '.join(map(str, rows[:_SHOWN]))}",
                    remedy="Fill or leave out these examples.",
                )


def _classes(values: Any, spec: ValueSpec, labels: Sequence[str]) -> Array:
    """Class numbers, shaped as the target is."""
    found = [_class_of(value, at, labels) for at, value in enumerate(values)]
    assert spec.below is not None
    if bad := [at for at, index in enumerate(found) if not 0 <= index < spec.below]:
        raise DataError(
            f"example {bad[0]} is of class {found[bad[0]]}; there are {spec.below}",
            remedy=f"Use 0 to {spec.below - 1}.",
        )
    return np.array(found, spec.dtype).reshape(len(found), *[1] * (len(spec.shape) - 1))


def _class_of(value: Any, at: int, labels: Sequence[str]) -> int:
    if isinstance(value, str):  # numpy's texts are texts, too
        if value in labels:
            return list(labels).index(value)
        shown = ", ".join(labels[:_SHOWN]) + (", ..." if len(labels) > _SHOWN else "")
        raise DataError(
            f"example {at} is labelled {value[:60]!r}, which is no class of this model",
            remedy=f"It has {shown}." if labels else "It names no classes; use their numbers.",
        )
    plain = np.asarray(value)
    if plain.size != 1 or plain.dtype.kind not in "iub":
        raise DataError(
            f"example {at} is labelled {value!r:.60}, which is no class",
            remedy="Use the number or the label of a class.",
        )
    return int(plain.reshape(()))


def _numbers(values: Any, spec: ValueSpec, labels: Sequence[str]) -> Array:
    """Numbers in the target's form: one class of two as 0 or 1, sets of labels as rows of 0 and 1."""
    rest = spec.shape[1:]
    if all(isinstance(value, str) for value in values):
        values = [_class_of(value, at, labels) for at, value in enumerate(values)]
    elif any(isinstance(item, str) for value in values if isinstance(value, list | tuple | set) for item in value):
        values = [_row(value, at, labels) for at, value in enumerate(values)]
    try:
        array = np.asarray(values)
        if array.dtype.kind not in "iubf":
            raise ValueError
        array = array.astype(spec.dtype)
        sizes = [dim for dim in rest if isinstance(dim, int)]
        if len(sizes) == len(rest) and array.size == len(array) * prod(sizes):
            array = array.reshape(len(array), *sizes)
    except ValueError:
        raise DataError(
            f"y does not fit {spec}", remedy="Give numbers in that shape, one row for each example."
        ) from None
    return array


def _row(value: Any, at: int, labels: Sequence[str]) -> list[float]:
    marked = {_class_of(item, at, labels) for item in value}
    return [float(index in marked) for index in range(len(labels))]
