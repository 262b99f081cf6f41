"""Detection fragments: what a detector's heads give, decoded to corner boxes and thinned out by non-maximum suppression."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from onnx import ModelProto

from edgewise.errors import InputError
from edgewise.graph.draft import Draft

__all__ = ["detections"]

#: Larger than any number of candidates; NonMaxSuppression reads 0 as "none".
_ALL = 1 << 30


def detections(
    *,
    classes: int,
    candidates: int | str = "candidates",
    anchors: npt.ArrayLike | None = None,
    variances: tuple[float, float] = (1.0, 1.0),
    corners: bool = False,
    score_threshold: float = 0.25,
    iou_threshold: float = 0.5,
    per_class: int = 0,
    names: Sequence[str] = ("raw_boxes", "raw_scores"),
    prefix: str = "",
) -> ModelProto:
    """Raw boxes and scores to a list of detections, for the whole batch.

    In: boxes float32 (batch, candidates, 4) and scores float32 (batch, candidates, classes), called ``names``.
    Out: ``boxes`` (n, 4) as x1, y1, x2, y2; ``scores`` (n); ``classes`` int64 (n); ``images`` int64 (n), the row of the
    batch. By image, then class, then falling score. ``prefix`` goes before the four names.

    Boxes are centre x, centre y, width, height, unless ``corners``. With ``anchors`` (candidates, 4), in that same centre
    form, they are deltas: centre = anchor centre + delta * variance[0] * anchor size, size = anchor size *
    exp(delta * variance[1]) (SSD, Liu et al. 2016; Faster R-CNN without variances).
    A candidate counts when its score is above ``score_threshold``, and goes when it overlaps a better one of its class by
    more than ``iou_threshold``. per_class: at most so many per image and class, 0 for all.
    """
    if len(names) != 2 or not (0 <= score_threshold <= 1 and 0 <= iou_threshold <= 1) or per_class < 0:
        raise InputError("detections needs two input names, thresholds in 0..1 and a count of 0 or more")
    draft = Draft("detections")
    boxes, scores = names
    decoded = boxes
    if anchors is not None:
        if corners:
            raise InputError("deltas to anchors are never corners")
        candidates, decoded = _from_deltas(draft, boxes, np.asarray(anchors, np.float32), variances)
    if not corners:
        decoded = _to_corners(draft, decoded)
    by_class = draft.node("Transpose", scores, perm=[0, 2, 1])
    chosen = draft.node(
        "NonMaxSuppression", decoded, by_class, draft.ints(per_class or _ALL), draft.constant([iou_threshold]),
        draft.constant([score_threshold]),
    )  # fmt: skip
    image, kind, box = draft.split("Split", 3, chosen, draft.ints(1, 1, 1), axis=1)
    last = draft.ints(1)
    results = (
        draft.node("GatherND", decoded, draft.node("Concat", image, box, axis=1)),
        draft.node("GatherND", by_class, chosen),
        draft.node("Squeeze", kind, last),
        draft.node("Squeeze", image, last),
    )
    return draft.finish(
        {boxes: ("float32", ["batch", candidates, 4]), scores: ("float32", ["batch", candidates, classes])},
        {
            f"{prefix}boxes": ("float32", ["detections", 4]),
            f"{prefix}scores": ("float32", ["detections"]),
            f"{prefix}classes": ("int64", ["detections"]),
            f"{prefix}images": ("int64", ["detections"]),
        },
        results,
    )


def _from_deltas(
    draft: Draft, deltas: str, anchors: npt.NDArray[np.float32], variances: tuple[float, float]
) -> tuple[int, str]:
    """Number of candidates, and boxes in centre form."""
    if anchors.ndim != 2 or anchors.shape[1] != 4 or not np.all(anchors[:, 2:] > 0):
        raise InputError("anchors are (candidates, 4): centre x, centre y, width, height, the sizes above 0")
    moved, grown = draft.split("Split", 2, deltas, draft.ints(2, 2), axis=2)
    offset = draft.node("Mul", moved, draft.constant(anchors[:, 2:] * variances[0]))
    centre = draft.node("Add", offset, draft.constant(anchors[:, :2]))
    factor = draft.node("Exp", draft.node("Mul", grown, draft.constant(variances[1])))
    return len(anchors), draft.node("Concat", centre, draft.node("Mul", factor, draft.constant(anchors[:, 2:])), axis=2)


def _to_corners(draft: Draft, boxes: str) -> str:
    centre, size = draft.split("Split", 2, boxes, draft.ints(2, 2), axis=2)
    half = draft.node("Mul", size, draft.constant(0.5))
    return draft.node("Concat", draft.node("Sub", centre, half), draft.node("Add", centre, half), axis=2)
