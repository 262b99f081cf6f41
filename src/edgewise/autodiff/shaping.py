"""Gradients of operators that only move elements."""

import numpy as np
from onnx import TensorProto

from edgewise.autodiff.broadcast import reshape_like, shape_of, unbroadcast
from edgewise.autodiff.call import Call, Gradients, NoGradient

__all__ = [
    "concat", "depth_to_space", "expand", "gather", "one_hot", "pad", "reshape", "slice_",
    "space_to_depth", "split", "tile", "transpose",
]  # fmt: skip

_FAR = 2**62


def reshape(c: Call, dy: str) -> Gradients:
    """Reshape, Flatten, Squeeze, Unsqueeze."""
    return {0: reshape_like(c.w, dy, c.x(0))}


def transpose(c: Call, dy: str) -> Gradients:
    rank = c.rank(c.x(0))
    perm = [int(axis) for axis in c.attr("perm", list(reversed(range(rank))))]
    return {0: c.op("Transpose", dy, perm=[perm.index(axis) for axis in range(rank)])}


def expand(c: Call, dy: str) -> Gradients:
    return {0: unbroadcast(c, dy, c.x(0), c.y())}


def tile(c: Call, dy: str) -> Gradients:
    shape, repeats = c.shape(c.x(0)), c.integers(1)
    if shape is None or sum(not isinstance(d, int) for d in shape) > 1:
        raise LookupError("the tiled shape is not known")
    split = [part for n, d in zip(repeats, shape, strict=True) for part in (n, d if isinstance(d, int) else -1)]
    folded = c.op("Reshape", dy, c.w.ints(*split))
    return {0: c.op("ReduceSum", folded, c.w.ints(*range(0, 2 * len(shape), 2)), keepdims=0)}


def concat(c: Call, dy: str) -> Gradients:
    rank = c.rank(c.y())
    axis = int(c.attr("axis")) % rank
    result: dict[int, str] = {}
    start = 0
    for at in range(len(c.node.input)):
        end = start + c.size(c.x(at), axis)
        if c.wants(at):
            result[at] = c.op("Slice", dy, c.w.ints(start), c.w.ints(end), c.w.ints(axis))
        start = end
    return result


def split(c: Call, gradients: list[str]) -> Gradients:
    axis = int(c.attr("axis", 0)) % c.rank(c.x(0))
    parts = [
        gradient or c.op("Expand", c.number(0, c.x(0)), shape_of(c.w, c.y(at))) for at, gradient in enumerate(gradients)
    ]
    return {0: c.op("Concat", *parts, axis=axis)}


def slice_(c: Call, dy: str) -> Gradients:
    """A slice with stored bounds: zeros around, and between where the step is not 1."""
    rank = c.rank(c.x(0))
    if c.w.array(c.x(1)) is None or c.w.array(c.x(2)) is None:
        return {0: _slice_at_run_time(c, dy, rank)}
    starts, ends = c.integers(1), c.integers(2)
    axes = [axis % rank for axis in c.integers(3, default=range(len(starts)))]
    steps = c.integers(4, default=[1] * len(starts))
    before, after = [0] * rank, [0] * rank
    gradient, shape = dy, list(c.shape(c.y()) or ())
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        if step == 1 and start == 0 and end >= _FAR // 2:
            continue
        length = c.size(c.x(0), axis)
        picked = range(length)[slice(start, None if step < 0 and end < -length else end, step)]
        if not picked:
            raise LookupError("an empty slice is left to the general rule")
        if step < 0:
            gradient = c.op("Slice", gradient, c.w.ints(-1), c.w.ints(-_FAR), c.w.ints(axis), c.w.ints(-1))
            picked = picked[::-1]
        before[axis] = picked[0]
        if abs(step) > 1:
            gradient = _spaced(c, gradient, shape, axis, abs(step))
            # What the spacing added past the last element is part of what follows it, or has to go.
            after[axis] = length - picked[-1] - abs(step)
        else:
            after[axis] = length - picked[-1] - 1
    if any(before) or any(after):
        gradient = c.op("Pad", gradient, c.w.ints(*before, *after), c.number(0, c.x(0)))
    return {0: gradient}


def _slice_at_run_time(c: Call, dy: str, rank: int) -> str:
    """With computed bounds: what lies before the first element, and what is left over, as pads."""
    shape = c.shape(c.x(1))
    count = shape[0] if shape else None
    if not isinstance(count, int):
        raise LookupError("how many axes are sliced is not known")
    axes = [axis % rank for axis in c.integers(3, default=range(count))]
    if any(step != 1 for step in c.integers(4, default=[1] * count)):
        raise NoGradient("a slice with computed bounds and a step")
    long, short = (c.op("Gather", c.op("Shape", name), c.w.ints(*axes)) for name in (c.x(0), c.y()))
    zero = c.w.ints(*[0] * count)
    start = c.op("Cast", c.x(1), to=TensorProto.INT64)
    from_end = c.op("Where", c.op("Less", start, zero), c.op("Add", start, long), start)
    before = c.op("Max", c.op("Min", from_end, long), zero)
    after = c.op("Sub", c.op("Sub", long, before), short)
    return c.op("Pad", dy, c.op("Concat", before, after, axis=0), c.number(0, c.x(0)), c.w.ints(*axes))


def _spaced(c: Call, gradient: str, shape: list[int | str | None], axis: int, step: int) -> str:
    """``gradient`` with step-1 zeros after each element along ``axis``, the last one too; ``shape`` is kept up."""
    rank, count = len(shape), shape[axis]
    if not isinstance(count, int) or sum(not isinstance(d, int) for d in shape) > 1:
        raise LookupError("the sliced shape is not known")
    inserted = c.op("Unsqueeze", gradient, c.w.ints(axis + 1))
    pads = [0] * (2 * (rank + 1))
    pads[rank + 1 + axis + 1] = step - 1
    wide = c.op("Pad", inserted, c.w.ints(*pads), c.number(0, c.x(0)))
    shape[axis] = count * step
    return c.op("Reshape", wide, c.w.ints(*(d if isinstance(d, int) else -1 for d in shape)))


def pad(c: Call, dy: str) -> Gradients:
    rank, mode = c.rank(c.x(0)), c.attr("mode", "constant")
    pads = c.integers(1)
    axes = [axis % rank for axis in c.integers(3, default=range(rank))]
    half = len(axes)
    before, after = pads[:half], pads[half:]
    if mode != "constant":
        return {0: _unfolded(c, dy, mode, axes, before, after)}
    # What was padded is cut off, what was cut off is zero.
    starts, ends = [max(v, 0) for v in before], [-max(v, 0) or _FAR for v in after]
    inner = c.op("Slice", dy, c.w.ints(*starts), c.w.ints(*ends), c.w.ints(*axes))
    result: dict[int, str] = {}
    if c.wants(0):
        lost = [max(-v, 0) for v in pads]
        whole = c.op("Pad", inner, c.w.ints(*lost), c.number(0, c.x(0)), c.w.ints(*axes)) if any(lost) else inner
        result[0] = whole
    if c.x(2) and c.wants(2):
        outside = c.op("Sub", *(c.op("ReduceSum", part, keepdims=0) for part in (dy, inner)))
        result[2] = reshape_like(c.w, outside, c.x(2))
    return result


def _unfolded(c: Call, dy: str, mode: str, axes: list[int], before: list[int], after: list[int]) -> str:
    """Padding by copies (edge, reflect, wrap) picks elements along each axis in turn, as Gather does."""
    for axis, first, last in zip(axes, before, after, strict=True):
        if first or last:
            length = c.size(c.x(0), axis)
            picked = np.pad(np.arange(length), (max(first, 0), max(last, 0)), mode)  # type: ignore[call-overload]
            picked = picked[max(-first, 0) : len(picked) - max(-last, 0)]
            dy = _put_back(c, dy, c.w.ints(*(int(v) for v in picked)), axis, c.w.ints(length), c.rank(c.x(0)), 1)
    return dy


def _put_back(c: Call, dy: str, indices: str, axis: int, length: str, rank: int, depth: int) -> str:
    """Add rows picked along ``axis`` up where they came from. length: of that axis, a vector. depth: rank of ``indices``."""
    rows, rest = (
        list(range(axis, axis + depth)),
        [at for at in range(rank - 1 + depth) if not axis <= at < axis + depth],
    )
    front = c.op("Transpose", dy, perm=[*rows, *rest]) if axis else dy
    sizes = c.op("Slice", c.op("Shape", front), c.w.ints(depth), c.w.ints(_FAR), c.w.ints(0))
    zeros = c.op("Expand", c.number(0, c.x(0)), c.op("Concat", length, sizes, axis=0))
    # ScatterND takes negative indices as Gather does.
    summed = c.op("ScatterND", zeros, c.op("Unsqueeze", indices, c.w.ints(-1)), front, reduction="add")
    return c.op("Transpose", summed, perm=[*range(1, axis + 1), 0, *range(axis + 1, rank)]) if axis else summed


def gather(c: Call, dy: str) -> Gradients:
    """Rows picked by index: their gradients are added up where they came from (an embedding's gradient)."""
    rank = c.rank(c.x(0))
    axis = int(c.attr("axis", 0)) % rank
    indices = c.x(1) if c.w.dtype(c.x(1)) == "int64" else c.op("Cast", c.x(1), to=TensorProto.INT64)
    if axis:
        length = c.op("Gather", shape_of(c.w, c.x(0)), c.w.ints(axis))
        return {0: _put_back(c, dy, indices, axis, length, rank, c.rank(c.x(1)))}
    zeros = c.op("Expand", c.number(0, c.x(0)), shape_of(c.w, c.x(0)))
    rows = c.op("Unsqueeze", indices, c.w.ints(-1))
    return {0: c.op("ScatterND", zeros, rows, dy, reduction="add")}


def one_hot(c: Call, dy: str) -> Gradients:
    """The two values (off, on); indices have no gradient."""
    if not c.wants(2):
        return {}
    kind = c.w.dtype(c.x(2))
    picked = c.op("OneHot", c.x(0), c.x(1), c.w.constant([0, 1], kind), axis=int(c.attr("axis", -1)))
    on = c.op("ReduceSum", c.op("Mul", dy, picked), keepdims=0)
    off = c.op("Sub", c.op("ReduceSum", dy, keepdims=0), on)
    return {2: c.op("Concat", *(c.op("Unsqueeze", part, c.w.ints(0)) for part in (off, on)), axis=0)}


def depth_to_space(c: Call, dy: str) -> Gradients:
    block = int(c.attr("blocksize"))
    if c.attr("mode", "DCR") == "DCR":
        return {0: c.op("SpaceToDepth", dy, blocksize=block)}
    _, channels, height, width = (c.size(c.x(0), at) if at else 0 for at in range(4))
    parts = c.op("Reshape", dy, c.w.ints(0, channels // block**2, height, block, width, block))
    turned = c.op("Transpose", parts, perm=[0, 1, 3, 5, 2, 4])
    return {0: c.op("Reshape", turned, c.w.ints(0, channels, height, width))}


def space_to_depth(c: Call, dy: str) -> Gradients:
    return {0: c.op("DepthToSpace", dy, blocksize=int(c.attr("blocksize")), mode="DCR")}
