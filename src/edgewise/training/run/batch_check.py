"""Looking at a batch before it reaches the graph: a step that met a NaN has already spoilt the weights.

The usual case costs one sum over each tensor; only where that is not finite is the tensor looked at closely.
"""

import math
from collections.abc import Mapping
from typing import SupportsFloat

import numpy as np

from edgewise.bundle.safetensors import Array
from edgewise.errors import TensorError
from edgewise.training.run.step_spec import ScalarSpec, ValueSpec

__all__ = ["check_batch", "check_scalars"]


def check_batch(specs: tuple[ValueSpec, ...], batch: Mapping[str, Array]) -> int:
    """How many samples ``batch`` has, if it fits ``specs``: names, dtypes, shapes, ranges, nothing that is not finite.

    Dimensions of one name must agree over the whole batch. Raises TensorError that names the tensor and what was expected.
    """
    names = [spec.name for spec in specs]
    if missing := [name for name in names if name not in batch]:
        raise TensorError(
            f"the batch lacks {', '.join(missing)}; it has {', '.join(batch) or 'nothing'}", inputs=missing
        )
    if unknown := [name for name in batch if name not in names]:
        raise TensorError(f"the step takes no {', '.join(unknown)}; it takes {', '.join(names)}", inputs=unknown)
    sizes: dict[str, tuple[int, str]] = {}  # name of a dimension -> its size, and where that was seen
    for spec in specs:
        array = batch[spec.name]
        if not isinstance(array, np.ndarray) or array.dtype != np.dtype(spec.dtype):
            found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
            raise _misfit(spec, f"elements of {found}", f"Convert it: array.astype({spec.dtype!r}).")
        _check_shape(spec, array, sizes)
        _check_values(spec, array)
    first = batch[specs[0].name]
    return len(first) if first.ndim else 1


def check_scalars(specs: tuple[ScalarSpec, ...], scalars: Mapping[str, float]) -> dict[str, float]:
    """Every scalar of a step: what was given, and the defaults. Raises TensorError for unknown names and unfit values."""
    names = {spec.name for spec in specs}
    if unknown := [name for name in scalars if name not in names]:
        raise TensorError(
            f"the step has no scalar {', '.join(unknown)}; it has {', '.join(sorted(names)) or 'none'}",
            remedy="Leave it out, or build the step with what uses it.", inputs=unknown,
        )  # fmt: skip
    values: dict[str, float] = {}
    for spec in specs:
        value: object = scalars.get(spec.name, spec.default)
        if not isinstance(value, SupportsFloat) or isinstance(value, bool) or not math.isfinite(number := float(value)):
            raise TensorError(f"the scalar {spec.name} is to be a finite number, not {value!r:.60}", inputs=[spec.name])
        if spec.dtype.startswith("int") and (number != int(number) or abs(number) > np.iinfo(spec.dtype).max):
            raise TensorError(f"the scalar {spec.name} is to be a whole number ({spec.dtype}), not {value!r:.60}")
        values[spec.name] = int(number) if spec.dtype.startswith("int") else number
    return values


def _check_shape(spec: ValueSpec, array: Array, sizes: dict[str, tuple[int, str]]) -> None:
    if array.ndim != len(spec.shape):
        raise _misfit(spec, f"the shape {array.shape}")
    for at, (wanted, found) in enumerate(zip(spec.shape, array.shape, strict=True)):
        if isinstance(wanted, int) and wanted != found:
            raise _misfit(spec, f"the shape {array.shape}")
        if isinstance(wanted, str):
            size, where = sizes.setdefault(wanted, (found, spec.name))
            if size != found:
                raise _misfit(spec, f"{found} at {wanted} (dimension {at}), and {where} has {size} there")
    if not array.size:
        raise _misfit(spec, f"no elements: the shape {array.shape}", "Leave out empty batches.")


def _check_values(spec: ValueSpec, array: Array) -> None:
    if array.dtype.kind == "f":
        with np.errstate(all="ignore"):
            if np.isfinite(np.add.reduce(array, axis=None)):
                return
        bad = ~np.isfinite(array)
        if bad.any():
            at, value = _first(bad), array[bad].flat[0]
            raise _misfit(spec, f"{value} in sample {at}", "Fill or leave out the samples that are not finite.")
    elif spec.below is not None:
        bad = np.logical_or(array < 0, array >= spec.below)
        if bad.any():
            raise _misfit(
                spec, f"{array[bad].flat[0]} in sample {_first(bad)}", f"Every value must lie in 0..{spec.below - 1}."
            )


def _first(bad: Array) -> int:
    return int(np.argwhere(bad)[0][0]) if bad.ndim else 0


def _misfit(spec: ValueSpec, found: str, remedy: str | None = None) -> TensorError:
    return TensorError(f"{spec.name} has {found}; {spec} is needed", remedy=remedy, input=spec.name)
