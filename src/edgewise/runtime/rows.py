"""Many samples as one array and one by one: what a model is given for sample ``at``, and its answers put together again."""

from collections.abc import Sequence

import numpy as np

from edgewise.runtime.engine import Array

__all__ = ["join_rows", "row_at"]


def row_at(samples: Array, at: int, rank: int) -> Array:
    """Sample ``at`` of ``samples`` (N, ...) for an input of ``rank``: a batch of one where the input has the batch axis."""
    return samples[at] if samples.ndim > rank else samples[at : at + 1]


def join_rows(rows: Sequence[Array], *, batched: bool) -> Array:
    """Answers to one sample each as one array, samples first. batched: each has a batch axis already."""
    if batched and rows[0].ndim:
        return np.concatenate(rows)
    return np.stack(rows)
