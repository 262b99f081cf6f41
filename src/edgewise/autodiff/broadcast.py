"""Undoing broadcasts, and bringing a gradient to the shape of its value."""

from collections.abc import Sequence

from edgewise.autodiff.call import Call
from edgewise.graph.writer import Dims, Writer

__all__ = ["expand_like", "reduce_sum", "reshape_like", "same", "shape_of", "unbroadcast"]


def same(first: Dims | None, second: Dims | None) -> bool:
    """True where two shapes are certainly equal: an unknown dimension (None) is not even equal to another unknown one."""
    return first is not None and first == second and None not in first


def shape_of(w: Writer, name: str) -> str:
    """The shape of ``name`` as a vector of int64: stored where it is known, computed otherwise."""
    shape = w.shape(name)
    if shape is not None and all(isinstance(dim, int) for dim in shape):
        return w.ints(*(int(dim) for dim in shape))  # type: ignore[arg-type]
    return w.node("Shape", name)


def reshape_like(w: Writer, gradient: str, name: str) -> str:
    """``gradient`` with the shape of ``name``, of which it has as many elements."""
    shape = w.shape(name)
    unknown = 2 if shape is None else sum(not isinstance(dim, int) for dim in shape)
    zero = shape is not None and any(dim == 0 for dim in shape)
    if shape is not None and unknown == 1 and not zero:
        target = w.ints(*(dim if isinstance(dim, int) else -1 for dim in shape))
    else:
        target = shape_of(w, name)
    return w.node("Reshape", gradient, target)


def expand_like(w: Writer, gradient: str, name: str) -> str:
    """``gradient`` broadcast to the shape of ``name``."""
    return w.node("Expand", gradient, shape_of(w, name))


def reduce_sum(w: Writer, name: str, axes: Sequence[int], rank: int, *, keepdims: bool = True) -> str:
    """Sum over ``axes``.

    onnxruntime has fast kernels where the axes form one run (kept, summed, kept), or two runs at the ends; other patterns
    take its general one, ten times slower (0.46 against 0.05 ms for 32x1x32x32x16), so they are summed run by run.
    """
    axes = sorted(axis % rank for axis in axes)
    if not axes:
        return name
    runs: list[list[int]] = []
    for axis in axes:
        if runs and runs[-1][-1] == axis - 1:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    fast = len(runs) == 1 or (len(runs) == 2 and runs[0][0] == 0 and runs[1][-1] == rank - 1)
    if fast:
        return w.node("ReduceSum", name, w.ints(*axes), keepdims=int(keepdims))
    for run in reversed(runs):
        name = w.node("ReduceSum", name, w.ints(*run), keepdims=1)
    return name if keepdims else w.node("Squeeze", name, w.ints(*axes))


def unbroadcast(call: Call, gradient: str, operand: str, result: str) -> str:
    """``gradient``, shaped like ``result``, summed over the axes along which ``operand`` was broadcast."""
    w = call.w
    small, large = w.shape(operand), w.shape(result)
    if small is None or large is None:
        raise LookupError(f"the rank of {operand!r} or {result!r} is not known")
    if same(small, large):
        return gradient
    lead = len(large) - len(small)
    axes = list(range(lead))
    for at, dim in enumerate(small):
        other = large[lead + at]
        if dim == 1 and other != 1:
            axes.append(lead + at)
        elif not isinstance(dim, int) and (dim is None or dim != other):
            return _unbroadcast_at_run_time(w, gradient, operand, result, small, large)
    summed = reduce_sum(w, gradient, axes, len(large))
    return reshape_like(w, summed, operand) if lead else summed


def _unbroadcast_at_run_time(w: Writer, gradient: str, operand: str, result: str, small: Dims, large: Dims) -> str:
    lead = len(large) - len(small)
    own = w.node("Shape", operand)
    if lead:
        own = w.node("Concat", w.ints(*[1] * lead), own, axis=0)
    whole = w.node("Shape", result)
    repeated = w.node("Not", w.node("Equal", own, whole))
    axes = w.node("Squeeze", w.node("NonZero", repeated), w.ints(0))
    summed = w.node("ReduceSum", gradient, axes, keepdims=1, noop_with_empty_axes=1)
    return w.node("Reshape", summed, w.node("Shape", operand)) if lead else summed
