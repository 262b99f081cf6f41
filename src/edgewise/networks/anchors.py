"""Anchors of a detector, the offsets of boxes from them, and which anchor answers for which object.

Anchors are (A, 4) as centre x, centre y, width, height; boxes are corners x1, y1, x2, y2; both in pixels of the input.
Offsets are as in ``graph.boxes``: centre = anchor centre + offset * variance * anchor size, size = anchor size *
exp(offset * variance) (Liu et al. 2016, arXiv 1512.02325; the variances are those of the authors' code).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgewise.networks.inputs import problems_refused

__all__ = ["IGNORED", "VARIANCES", "Anchors", "anchor_grid", "assign", "decode", "encode"]

Anchors = npt.NDArray[np.float32]
Classes = npt.NDArray[np.int64]

#: Of the centre and of the size.
VARIANCES = (0.1, 0.2)
#: Class of an anchor that is neither an object nor surely background.
IGNORED = -1
_TINY = 1e-6


def anchor_grid(
    image: tuple[int, int], grids: Sequence[tuple[int, int]], sizes: Sequence[Sequence[float]], ratios: Sequence[float]
) -> Anchors:
    """Anchors of every map: by map, row, column, then size, then ratio.

    image: height and width in pixels; grids: height and width of every map; sizes: sides in pixels for every map;
    ratios: width over height, at the same area.
    """
    found = []
    for (rows, columns), sides in zip(grids, sizes, strict=True):
        y, x = np.meshgrid((np.arange(rows) + 0.5) / rows, (np.arange(columns) + 0.5) / columns, indexing="ij")
        centres = np.stack([x * image[1], y * image[0]], -1)[:, :, None, :]
        shapes = np.array([(side * ratio**0.5, side / ratio**0.5) for side in sides for ratio in ratios])
        whole = (rows, columns, len(shapes), 2)
        found.append(
            np.concatenate([np.broadcast_to(centres, whole), np.broadcast_to(shapes, whole)], -1).reshape(-1, 4)
        )
    return np.concatenate(found).astype(np.float32)


def encode(boxes: npt.ArrayLike, anchors: Anchors) -> npt.NDArray[np.float32]:
    """Offsets (..., A, 4) of ``boxes`` (..., A, 4) from ``anchors``. A box without area counts as a millionth of a pixel."""
    corners = np.asarray(boxes, np.float64)
    size = np.maximum(corners[..., 2:] - corners[..., :2], _TINY)
    centre = (corners[..., :2] + corners[..., 2:]) / 2
    moved = (centre - anchors[:, :2]) / anchors[:, 2:] / VARIANCES[0]
    return np.concatenate([moved, np.log(size / anchors[:, 2:]) / VARIANCES[1]], -1).astype(np.float32)


def decode(offsets: npt.ArrayLike, anchors: Anchors) -> npt.NDArray[np.float32]:
    """Boxes (..., A, 4) from offsets (..., A, 4): the inverse of ``encode``."""
    given = np.asarray(offsets, np.float64)
    centre = anchors[:, :2] + given[..., :2] * VARIANCES[0] * anchors[:, 2:]
    half = anchors[:, 2:] * np.exp(given[..., 2:] * VARIANCES[1]) / 2
    return np.concatenate([centre - half, centre + half], -1).astype(np.float32)


def assign(
    anchors: Anchors, objects: npt.ArrayLike, *, least: float = 0.5, unsure: float = 0.4
) -> tuple[Classes, npt.NDArray[np.float32]]:
    """What every anchor is to answer: classes int64 (N, A) and offsets (N, A, 4).

    objects: (N, objects, 5) rows x1, y1, x2, y2, class, as ``edgewise.measure`` takes them; a negative class is padding.
    An anchor answers for the object it overlaps most, where that is at least ``least`` (intersection over union); and every
    object has the anchor that overlaps it most, of those that no other object has. Classes count from 1; 0 is background, and
    IGNORED an overlap between ``unsure`` and ``least``. Offsets are 0 where there is no object. Raises InputError for other
    shapes and limits.
    """
    rows = np.asarray(objects, np.float64)
    problems_refused("detection targets", (
        (rows.ndim == 3 and rows.shape[-1] == 5, f"objects are (N, objects, 5), not {rows.shape}"),
        (bool(np.all(np.isfinite(rows))), "objects hold a value that is not finite"),
        (0 < unsure <= least <= 1, "0 < unsure <= least <= 1"),
    ))  # fmt: skip
    classes = np.zeros((len(rows), len(anchors)), np.int64)
    offsets = np.zeros((len(rows), len(anchors), 4), np.float32)
    for image, found in enumerate(rows):
        there = found[found[:, 4] >= 0]
        if not len(there):
            continue
        overlap = _overlaps(anchors, there[:, :4])
        best, owner = overlap.max(axis=1), overlap.argmax(axis=1)
        for anchor, one in _best_anchors(overlap):
            best[anchor], owner[anchor] = 1.0, one
        taken = best >= least
        classes[image, (best >= unsure) & ~taken] = IGNORED
        classes[image, taken] = there[owner[taken], 4].astype(np.int64) + 1
        offsets[image, taken] = encode(there[owner[taken], :4], anchors[taken])
    return classes, offsets


def _best_anchors(overlap: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    # Best pair first, so that two objects never claim one anchor (bipartite matching of Erhan et al. 2014, greedily).
    left, pairs = overlap.copy(), []
    for _ in range(min(overlap.shape)):
        anchor, one = np.unravel_index(int(left.argmax()), left.shape)
        if left[anchor, one] <= 0:
            break
        pairs.append((int(anchor), int(one)))
        left[anchor, :], left[:, one] = 0, 0
    return pairs


def _overlaps(anchors: Anchors, boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    low, high = anchors[:, :2] - anchors[:, 2:] / 2, anchors[:, :2] + anchors[:, 2:] / 2
    shared = np.clip(
        np.minimum(high[:, None], boxes[None, :, 2:]) - np.maximum(low[:, None], boxes[None, :, :2]), 0, None
    )
    inner: npt.NDArray[np.float64] = np.prod(shared, axis=2)
    own = (
        np.prod(anchors[:, 2:], axis=1)[:, None] + np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1)[None]
    )
    return inner / (own - inner)
