"""How much boxes overlap."""

import numpy as np

from edgewise.runtime.engine import Array

__all__ = ["overlaps"]


def overlaps(a: Array, b: Array) -> Array:
    """Intersection over union of boxes x1, y1, x2, y2: (n, 4) and (m, 4) -> (n, m)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:4], b[None, :, 2:4])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    area_a, area_b = (np.prod(np.clip(boxes[:, 2:4] - boxes[:, :2], 0, None), axis=1) for boxes in (a, b))
    union = area_a[:, None] + area_b[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared, dtype=float), where=union > 0)
