"""Gradients of operators that only move elements."""

from onnx import TensorProto

from edgewise.autodiff.broadcast import reshape_like, shape_of, unbroadcast
from edgewise.autodiff.call import Call, Gradients

__all__ = [
    "concat", "depth_to_space", "expand", "gather", "pad", "reshape", "slice_", "space_to_depth", "split", "tile", "transpose",
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
    starts, ends = c.integers(1), c.integers(2)
    axes = [axis % rank for axis in c.integers(3, default=range(len(starts)))]
    steps = c.integers(4, default=[1] * len(starts))
    before, after = [0] * rank, [0] * rank
    gradient = dy
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
            gradient, extra = _spaced(c, gradient, axis, rank, len(picked), abs(step))
            # What the spacing added past the last element is part of what follows it, or has to go.
            after[axis] = length - picked[-1] - 1 - extra
        else:
            after[axis] = length - picked[-1] - 1
    if any(before) or any(after):
        gradient = c.op("Pad", gradient, c.w.ints(*before, *after), c.number(0, c.x(0)))
    return {0: gradient}


def _spaced(c: Call, gradient: str, axis: int, rank: int, count: int, step: int) -> tuple[str, int]:
    """``gradient`` with step-1 zeros after each element along ``axis``, and how many trail the last one."""
    inserted = c.op("Unsqueeze", gradient, c.w.ints(axis + 1))
    pads = [0] * (2 * (rank + 1))
    pads[rank + 1 + axis + 1] = step - 1
    wide = c.op("Pad", inserted, c.w.ints(*pads), c.number(0, c.x(0)))
    shape = c.shape(c.y())
    if shape is None or sum(not isinstance(d, int) for d in shape) > 1:
        raise LookupError("the sliced shape is not known")
    target = [d if isinstance(d, int) else -1 for d in shape]
    target[axis] = count * step
    return c.op("Reshape", wide, c.w.ints(*target)), step - 1


def pad(c: Call, dy: str) -> Gradients:
    if c.attr("mode", "constant") != "constant" or c.wants(2):
        raise LookupError("padding by reflection is left to the general rule")
    rank = c.rank(c.x(0))
    pads = c.integers(1)
    axes = [axis % rank for axis in c.integers(3, default=range(rank))]
    half = len(axes)
    starts = [pads[at] for at in range(half)]
    if min(pads) < 0:
        raise LookupError("negative pads are left to the general rule")
    ends = [pads[at] + c.size(c.x(0), axis) if pads[at] or pads[half + at] else _FAR for at, axis in enumerate(axes)]
    return {0: c.op("Slice", dy, c.w.ints(*starts), c.w.ints(*ends), c.w.ints(*axes))}


def gather(c: Call, dy: str) -> Gradients:
    """Rows picked by index: their gradients are added up where they came from (an embedding's gradient)."""
    rank = c.rank(c.x(0))
    axis = int(c.attr("axis", 0)) % rank
    if axis:
        raise LookupError("gathering along another axis is left to the general rule")
    zeros = c.op("Expand", c.number(0, c.x(0)), shape_of(c.w, c.x(0)))
    # ScatterND takes negative indices as Gather does.
    indices = c.x(1) if c.w.dtype(c.x(1)) == "int64" else c.op("Cast", c.x(1), to=TensorProto.INT64)
    rows = c.op("Unsqueeze", indices, c.w.ints(-1))
    return {0: c.op("ScatterND", zeros, rows, dy, reduction="add")}


def depth_to_space(c: Call, dy: str) -> Gradients:
    if c.attr("mode", "DCR") != "DCR":
        raise LookupError("the CRD order is left to the general rule")
    return {0: c.op("SpaceToDepth", dy, blocksize=int(c.attr("blocksize")))}


def space_to_depth(c: Call, dy: str) -> Gradients:
    return {0: c.op("DepthToSpace", dy, blocksize=int(c.attr("blocksize")), mode="DCR")}
