"""Recall of embeddings: is a sample of the same class among the nearest?"""

import numpy as np

from edgewise.errors import DataError
from edgewise.measure.estimator import Estimator, share_of
from edgewise.measure.rows import flat_rows, one_label_each
from edgewise.runtime.engine import Array

__all__ = ["recall_at_k_estimator"]

_BLOCK = 1 << 21  # similarities at a time: 16 MiB of float64


def recall_at_k_estimator(
    outputs: Array, y: Array, k: int = 1, gallery: Array | None = None, gallery_y: Array | None = None
) -> Estimator:
    """outputs (N, d) against gallery (M, d), by cosine; without a gallery each sample is sought among the others."""
    queries, among, among_y = _unit(outputs, y), None, y
    if gallery is not None and gallery_y is not None:
        among, among_y = _unit(gallery, gallery_y), gallery_y
        if among.shape[1] != queries.shape[1]:
            raise DataError(f"embeddings have {queries.shape[1]} values and those of the gallery {among.shape[1]}")
    elif gallery is not None or gallery_y is not None:
        raise DataError("a gallery needs both its embeddings and its labels")
    others = len(queries) - 1 if among is None else len(among)
    if not 1 <= k <= others:
        raise DataError(f"recall@{k} needs at least {k} other samples to seek among; there are {others}")
    hits = np.empty(len(y), bool)
    size = max(1, _BLOCK // len(among_y))
    for start in range(0, len(y), size):
        far = -(queries[start : start + size] @ (queries if among is None else among).T)
        if among is None:
            far[np.arange(len(far)), start + np.arange(len(far))] = np.inf  # never itself
        best = np.argpartition(far, k - 1, axis=1)[:, :k]
        hits[start : start + size] = (among_y[best] == y[start : start + size, None]).any(axis=1)
    return share_of(f"recall@{k}", hits)


def _unit(outputs: Array, y: Array) -> Array:
    one_label_each(outputs, y)
    rows = flat_rows(outputs).astype(np.float64)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
