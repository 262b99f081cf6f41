"""Inputs to time a model with: a golden one where there is one, else made from the interface until the model takes one."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import EdgewiseError
from edgewise.runtime.engine import Array
from edgewise.runtime.golden_set import read_golden
from edgewise.runtime.session import Session

__all__ = ["ATTEMPTS", "fitting_inputs", "synthetic"]

#: Size for dimensions that vary, and highest whole number: an interface does not say how long a signal has to be or how many
#: tokens there are, so these are tried in turn.
ATTEMPTS = ((64, 255), (64, 1), (16, 255), (16, 1), (224, 255), (512, 255), (512, 1), (1, 255), (1, 1), (16_000, 255))


def fitting_inputs(bundle: Bundle, session: Session) -> dict[str, Array] | None:
    """Input name -> array with a batch of one that ``session`` answers, None where nothing that was tried is; states left out."""
    for inputs in _candidates(bundle):
        try:
            session.predict(inputs)
        except EdgewiseError:
            continue
        return inputs
    return None


def _candidates(bundle: Bundle) -> Iterator[dict[str, Array]]:
    golden = read_golden(bundle)
    if golden is not None:
        yield golden.sample(0)
        return
    states = {state.input for state in bundle.document.states}
    specs = [spec for spec in bundle.document.inputs if spec.name not in states]
    for free, top in ATTEMPTS:
        yield {spec.name: synthetic(spec, free=free, top=top) for spec in specs}


def synthetic(spec: TensorSpec, seed: int = 0, *, free: int = 64, top: int = 255) -> Array:
    """A repeatable array that fits ``spec``: a batch of one, values spread over its range.

    free: size of dimensions that vary. top: highest whole number where the range is not stated.
    """
    chance = np.random.default_rng(seed)
    shape = [dim if isinstance(dim, int) else 1 if at == 0 else free for at, dim in enumerate(spec.shape)]
    if spec.dtype == "str":
        return np.full(shape, "text", dtype=object)
    dtype: np.dtype[Any] = np.dtype(spec.dtype)
    if dtype.kind == "b":
        return chance.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        low, high = spec.range or (0, min(int(np.iinfo(dtype).max), top))
        return chance.integers(int(low), int(high), shape, endpoint=True, dtype=np.int64).astype(dtype)
    low, high = spec.range or (-1.0, 1.0)
    return chance.uniform(low, high, shape).astype(dtype)
