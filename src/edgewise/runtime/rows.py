"""Many samples as one array and one by one: what a model is given for sample ``at``, and its answers put together again."""

from collections.abc import Sequence

import numpy as np

from edgewise.errors import DataError
from edgewise.runtime.engine import Array

__all__ = ["join_rows", "row_at"]


def row_at(samples: Array, at: int, rank: int) -> Array:
    """Sample ``at`` of ``samples`` (N, ...) for an input of ``rank``: a batch of one where the input has the batch axis."""
    return samples[at] if samples.ndim > rank else samples[at : at + 1]


def join_rows(rows: Sequence[Array], *, batched: bool) -> Array:
    """Answers to one sample each as one array, samples first. batched: each has a batch axis already.

    Raises DataError where they do not fit together.
    """
    try:
        return np.concatenate(rows) if batched and rows[0].ndim else np.stack(rows)
    except ValueError:
        shapes = sorted({str(row.shape) for row in rows})
        raise DataError(
            f"the answers have different shapes from one input to the next: {', '.join(shapes[:4])}",
            remedy="Give the output one size (for detectors `--after boxes:...`), or pack with --golden-count 0.",
        ) from None
