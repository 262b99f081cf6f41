"""Detection fragments: what a detector's heads give, decoded to corner boxes and thinned out by non-maximum suppression."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto

from edgewise.errors import InputError
from edgewise.graph.draft import Draft

__all__ = ["detection_table", "detections"]

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
    _check(names, score_threshold, iou_threshold, per_class)
    draft = Draft("detections")
    boxes, scores = names
    decoded, candidates = _decoded(draft, boxes, candidates, anchors, variances, corners)
    by_class = draft.node("Transpose", scores, perm=[0, 2, 1])
    chosen = _suppressed(draft, decoded, by_class, per_class, iou_threshold, score_threshold)
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


def detection_table(
    *,
    classes: int,
    keep: int = 100,
    candidates: int | str = "candidates",
    anchors: npt.ArrayLike | None = None,
    variances: tuple[float, float] = (1.0, 1.0),
    corners: bool = False,
    score_threshold: float = 0.25,
    iou_threshold: float = 0.5,
    per_class: int = 0,
    names: Sequence[str] = ("raw_boxes", "raw_scores"),
    output_name: str = "detections",
) -> ModelProto:
    """Raw boxes and scores to one table of a fixed size: what ``edgewise eval`` measures and an application reads.

    Arguments and thinning out as for ``detections``. Out: float32 (batch, keep, 6), rows x1, y1, x2, y2, score, class, the
    best first; images with fewer than ``keep`` objects end in rows of zeros with the class -1.
    """
    _check(names, score_threshold, iou_threshold, per_class)
    if keep < 1 or classes < 1:
        raise InputError(f"a table of {keep} rows for {classes} classes holds nothing")
    draft = Draft("detection_table")
    boxes, scores = names
    decoded, candidates = _decoded(draft, boxes, candidates, anchors, variances, corners)
    by_class = draft.node("Transpose", scores, perm=[0, 2, 1])
    chosen = _suppressed(draft, decoded, by_class, per_class, iou_threshold, score_threshold)
    # Every score that was not chosen becomes -1, then the best of all classes are taken; -1 also fills up to ``keep``.
    nothing = draft.node("Expand", draft.constant(-1.0), draft.node("Shape", by_class))
    kept = draft.node("ScatterND", nothing, chosen, draft.node("GatherND", by_class, chosen))
    flat = draft.node("Flatten", kept, axis=1)
    padded = draft.node("Pad", flat, draft.ints(0, 0, 0, keep), draft.constant(-1.0))
    best, at = draft.split("TopK", 2, padded, draft.ints(keep), axis=-1, largest=1, sorted=1)
    count = draft.node("Shape", decoded, start=1, end=2)
    box = draft.node("Unsqueeze", draft.node("Mod", at, count), draft.ints(2))
    corner = draft.node("GatherElements", decoded, draft.node("Expand", box, draft.ints(1, 1, 4)), axis=1)
    kind = draft.node("Cast", draft.node("Div", at, count), to=TensorProto.FLOAT)
    columns = [draft.node("Unsqueeze", column, draft.ints(2)) for column in (best, kind)]
    found = draft.node("Concat", corner, *columns, axis=2)
    there = draft.node("GreaterOrEqual", columns[0], draft.constant(0.0))
    table = draft.node("Where", there, found, draft.constant([0, 0, 0, 0, 0, -1]))
    return draft.finish(
        {boxes: ("float32", ["batch", candidates, 4]), scores: ("float32", ["batch", candidates, classes])},
        {output_name: ("float32", ["batch", keep, 6])},
        [table],
    )


def _check(names: Sequence[str], score_threshold: float, iou_threshold: float, per_class: int) -> None:
    if len(names) != 2 or not (0 <= score_threshold <= 1 and 0 <= iou_threshold <= 1) or per_class < 0:
        raise InputError("detections needs two input names, thresholds in 0..1 and a count of 0 or more")


def _decoded(
    draft: Draft,
    boxes: str,
    candidates: int | str,
    anchors: npt.ArrayLike | None,
    variances: tuple[float, float],
    corners: bool,
) -> tuple[str, int | str]:
    """Corner boxes (batch, candidates, 4), and how many candidates there are."""
    if anchors is not None:
        if corners:
            raise InputError("deltas to anchors are never corners")
        candidates, boxes = _from_deltas(draft, boxes, np.asarray(anchors, np.float32), variances)
    return (boxes if corners else _to_corners(draft, boxes)), candidates


def _suppressed(
    draft: Draft, boxes: str, by_class: str, per_class: int, iou_threshold: float, score_threshold: float
) -> str:
    """Which are left, int64 (n, 3): image, class, candidate."""
    return draft.node(
        "NonMaxSuppression", boxes, by_class, draft.ints(per_class or _ALL), draft.constant([iou_threshold]),
        draft.constant([score_threshold]),
    )  # fmt: skip


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
