"""Gradients of reductions and of softmax."""

from math import prod

from edgewise.autodiff.broadcast import expand_like, shape_of
from edgewise.autodiff.call import Call, Gradients, NoGradient

__all__ = [
    "log_softmax",
    "reduce_extreme",
    "reduce_l1",
    "reduce_l2",
    "reduce_log_sum",
    "reduce_log_sum_exp",
    "reduce_mean",
    "reduce_prod",
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


def reduce_l1(c: Call, dy: str) -> Gradients:
    return {0: c.op("Mul", _kept(c, dy), c.op("Sign", c.x(0)))}


def reduce_l2(c: Call, dy: str) -> Gradients:
    """x / y; 0 where all are 0, as in torch.norm."""
    nonzero = c.op("Max", _kept(c, c.y()), c.number(1e-30, c.y()))
    return {0: c.op("Mul", c.op("Div", c.x(0), nonzero), _kept(c, dy))}


def reduce_log_sum(c: Call, dy: str) -> Gradients:
    share = c.op("Mul", _kept(c, dy), c.op("Exp", c.op("Neg", _kept(c, c.y()))))
    return {0: c.op("Expand", share, shape_of(c.w, c.x(0)))}


def reduce_prod(c: Call, dy: str) -> Gradients:
    """The product of the others: of all but a single 0, and 0 where there are two."""
    x, axes, zero = c.x(0), c.w.ints(*_axes(c)), c.number(0, c.x(0))
    none = c.op("Equal", x, zero)
    filled = c.op("Where", none, c.number(1, x), x)
    count = c.op("ReduceSum", c.op("CastLike", none, x), axes, keepdims=1)
    whole = c.op("ReduceProd", filled, axes, keepdims=1)
    single = c.op("Where", c.op("Equal", count, c.number(1, x)), whole, zero)
    plain = c.op("Where", c.op("Equal", count, zero), c.op("Div", whole, filled), zero)
    return {0: c.op("Mul", _kept(c, dy), c.op("Where", none, single, plain))}


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
        axes = range(rank)
    return sorted(int(axis) % rank for axis in axes)


def _kept(c: Call, name: str) -> str:
    """``name``, shaped like the output, with the reduced axes as axes of length 1."""
    if c.attr("noop_with_empty_axes", 0) and not c.attr("axes") and not c.integers(1, default=()):
        # The specification squares or takes logarithms all the same, onnxruntime gives the input back.
        raise NoGradient("a reduction over no axis (noop_with_empty_axes): its meaning is not agreed on")
    return name if c.attr("keepdims", 1) or c.rank(c.x(0)) == 0 else c.op("Unsqueeze", name, c.w.ints(*_axes(c)))


def _spread(c: Call, dy: str) -> str:
    kept = _kept(c, dy)
    if c.w.shape(c.x(0)) is None:
        return expand_like(c.w, kept, c.x(0))
    c.tape.partial.add(kept)
    return kept
