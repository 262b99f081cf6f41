"""Weights that were learnt, in a file of their own, bound to the training step that they were learnt with."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgewise.bundle.limits import Limits
from edgewise.bundle.safetensors import Array, dump_arrays, parse_arrays
from edgewise.errors import HostileBundleError, MismatchError, TensorError
from edgewise.store.files import read_bounded, write_bytes

__all__ = ["read_weights", "step_of", "write_weights"]

_STEP = "edgewise/step"  # the digest of the step that they belong to
_REMEDY = "Put back a copy of what was saved, or learn again; without it the model answers as it came."
_LARGEST = (2 << 30) - 1  # bytes


def write_weights(path: Path, states: Mapping[str, Array], step: str) -> None:
    """Keep ``states`` (input -> array), learnt with the step of this digest. Raises StorageError."""
    digest = np.frombuffer(step.encode(), np.uint8)
    write_bytes(path, dump_arrays({**states, _STEP: digest}), mode=0o600)


def step_of(path: Path) -> str:
    """The digest of the step that the weights in ``path`` were learnt with; "" where the file names none.

    Raises NotFoundError, HostileBundleError for what is no such file.
    """
    return _digest(_arrays(path))


def read_weights(path: Path, step: str) -> dict[str, Array]:
    """The states in ``path``, if they were learnt with the step of this digest.

    Raises NotFoundError, HostileBundleError for a damaged file, MismatchError for the weights of another step, TensorError for
    weights that are not finite.
    """
    arrays = _arrays(path)
    if _digest(arrays) != step:
        raise MismatchError(
            f"the weights in {path} belong to another training step",
            remedy="Load them with the model that they were trained with.",
            path=str(path),
        )
    del arrays[_STEP]
    if bad := [name for name, array in arrays.items() if array.dtype.kind == "f" and np.isnan(array).any()]:
        raise TensorError(f"the weights in {path} have NaN in {', '.join(bad[:5])}", path=str(path))
    return arrays


def _arrays(path: Path) -> dict[str, Array]:
    data = read_bounded(path, _LARGEST, "the file of weights")
    try:
        return parse_arrays(data, str(path), Limits(array_bytes=_LARGEST))
    except HostileBundleError as error:
        # No publisher has another copy: it was learnt here.
        raise HostileBundleError(
            error.rule, f"the file of weights is damaged: {error.what.removesuffix(f' [{error.rule}]')}", remedy=_REMEDY
        ) from None


def _digest(arrays: Mapping[str, Array]) -> str:
    found = arrays.get(_STEP)
    return "" if found is None else found.tobytes().decode("ascii", "replace")
