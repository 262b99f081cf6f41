"""Gradients of reductions and of softmax."""

from math import prod

from edgewise.autodiff.broadcast import expand_like
from edgewise.autodiff.call import Call, Gradients

__all__ = [
    "log_softmax",
    "reduce_extreme",
    "reduce_log_sum_exp",
    "reduce_mean",
    "reduce_sum",
    "reduce_sum_square",
    "softmax",
]


def reduce_sum(c: Call, dy: str) -> Gradients:
    return {0: _spread(c, dy)}


def reduce_mean(c: Call, dy: str) -> Gradients:
    shape, axes = c.shape(c.x(0)), _axes(c)
    if shape is None:
        raise LookupError("the rank is not known")
    lengths = [shape[axis] for axis in axes]
    if all(isinstance(n, int) for n in lengths):
        share = c.op("Mul", dy, c.number(1 / max(prod(n for n in lengths if isinstance(n, int)), 1), c.x(0)))
    else:
        picked = c.op("Gather", c.op("Shape", c.x(0)), c.w.ints(*axes))
        count = c.op("CastLike", c.op("ReduceProd", picked, keepdims=0), c.x(0))
        share = c.op("Div", dy, count)
    return {0: _spread(c, share)}


def reduce_sum_square(c: Call, dy: str) -> Gradients:
    return {0: c.op("Mul", _kept(c, dy), c.op("Add", c.x(0), c.x(0)))}


def reduce_extreme(c: Call, dy: str) -> Gradients:
    """ReduceMax and ReduceMin; equal extremes share alike, as in torch.amax."""
    wins = c.op("CastLike", c.op("Equal", c.x(0), _kept(c, c.y())), c.x(0))
    count = c.op("ReduceSum", wins, c.w.ints(*_axes(c)), keepdims=1)
    return {0: c.op("Mul", wins, c.op("Div", _kept(c, dy), count))}


def reduce_log_sum_exp(c: Call, dy: str) -> Gradients:
    share = c.op("Exp", c.op("Sub", c.x(0), _kept(c, c.y())))
    return {0: c.op("Mul", share, _kept(c, dy))}


def softmax(c: Call, dy: str) -> Gradients:
    weighted = c.op("Mul", dy, c.y())
    total = c.op("ReduceSum", weighted, c.w.ints(int(c.attr("axis", -1))), keepdims=1)
    return {0: c.op("Sub", weighted, c.op("Mul", c.y(), total))}


def log_softmax(c: Call, dy: str) -> Gradients:
    total = c.op("ReduceSum", dy, c.w.ints(int(c.attr("axis", -1))), keepdims=1)
    return {0: c.op("Sub", dy, c.op("Mul", c.op("Exp", c.y()), total))}


def _axes(c: Call) -> list[int]:
    rank = c.rank(c.x(0))
    axes = c.attr("axes")
    if axes is None:
        axes = c.integers(1, default=())
    if not axes:
        if c.attr("noop_with_empty_axes", 0):
            raise LookupError("a reduction over no axis is left to the general rule")
        axes = range(rank)
    return sorted(int(axis) % rank for axis in axes)


def _kept(c: Call, name: str) -> str:
    """``name``, shaped like the output, with the reduced axes as axes of length 1."""
    return name if c.attr("keepdims", 1) or c.rank(c.x(0)) == 0 else c.op("Unsqueeze", name, c.w.ints(*_axes(c)))


def _spread(c: Call, dy: str) -> str:
    kept = _kept(c, dy)
    if c.w.shape(c.x(0)) is None:
        return expand_like(c.w, kept, c.x(0))
    c.tape.partial.add(kept)
    return kept
