"""One input to time a model with: a golden one where there is one, else made from the interface."""

from typing import Any

import numpy as np

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.tensors import TensorSpec
from edgewise.runtime.engine import Array
from edgewise.runtime.golden_set import read_golden

__all__ = ["sample_inputs", "synthetic"]

_FREE = 64  # for a dimension that varies and of which nothing is known


def sample_inputs(bundle: Bundle) -> dict[str, Array]:
    """Input name -> array with a batch of one; states are left out (they start as zeros)."""
    golden = read_golden(bundle)
    if golden is not None:
        return golden.sample(0)
    states = {state.input for state in bundle.document.states}
    return {spec.name: synthetic(spec) for spec in bundle.document.inputs if spec.name not in states}


def synthetic(spec: TensorSpec, seed: int = 0) -> Array:
    """A repeatable array that fits ``spec``: a batch of one, values spread over its range."""
    chance = np.random.default_rng(seed)
    shape = [dim if isinstance(dim, int) else 1 if at == 0 else _FREE for at, dim in enumerate(spec.shape)]
    if spec.dtype == "str":
        return np.full(shape, "text", dtype=object)
    dtype: np.dtype[Any] = np.dtype(spec.dtype)
    if dtype.kind == "b":
        return chance.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        low, high = spec.range or (0, min(int(np.iinfo(dtype).max), 255))
        return chance.integers(int(low), int(high), shape, endpoint=True, dtype=np.int64).astype(dtype)
    low, high = spec.range or (-1.0, 1.0)
    return chance.uniform(low, high, shape).astype(dtype)
