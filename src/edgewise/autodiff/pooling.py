"""Gradients of pooling and of resizing by whole factors."""

from math import prod

import numpy as np

from edgewise.autodiff.broadcast import reshape_like
from edgewise.autodiff.call import Call, Gradients

__all__ = ["average_pool", "global_average_pool", "max_pool", "resize"]


def global_average_pool(c: Call, dy: str) -> Gradients:
    sizes = [c.size(c.x(0), axis) for axis in range(2, c.rank(c.x(0)))]
    share = c.op("Mul", dy, c.number(1 / prod(sizes), c.x(0)))
    c.tape.partial.add(share)
    return {0: share}


def max_pool(c: Call, dy: str) -> Gradients:
    """Where windows do not overlap, each error goes back to the place it came from: one pass (MaxUnpool).

    Where they do, a place may win several windows: errors are added up by index.
    """
    if c.attr("storage_order", 0) or c.rank(c.x(0)) < 3:
        raise LookupError("column-major indices are left to the general rule")
    if len(c.node.output) < 2 or not c.node.output[1]:
        del c.node.output[1:]
        c.node.output.append(c.w.fresh(f"{c.y()}/indices"))
    indices = c.node.output[1]
    rank = c.rank(c.x(0)) - 2
    kernel = [int(v) for v in c.attr("kernel_shape")]
    strides = [int(v) for v in c.attr("strides", [1] * rank)]
    dilations = [int(v) for v in c.attr("dilations", [1] * rank)]
    apart = all(s >= k for s, k in zip(strides, kernel, strict=True)) and set(dilations) == {1}
    shape = c.op("Shape", c.x(0))
    if apart and rank == 2 and c.w.dtype(c.x(0)) == "float32":
        attributes = {"kernel_shape": kernel, "strides": strides}
        return {0: c.op("MaxUnpool", dy, indices, shape, **attributes)}
    zeros = c.op("Expand", c.number(0, c.x(0)), c.op("ReduceProd", shape, keepdims=1))
    flat = c.op("ScatterElements", zeros, c.op("Reshape", indices, c.w.ints(-1)), c.op("Reshape", dy, c.w.ints(-1)),
                axis=0, reduction="add")  # fmt: skip
    return {0: reshape_like(c.w, flat, c.x(0))}


def average_pool(c: Call, dy: str) -> Gradients:
    """Each error, divided by its window's count, spread over the window: a transposed convolution with ones, by channel."""
    rank = c.rank(c.x(0)) - 2
    if c.attr("auto_pad", "NOTSET") not in {"NOTSET", "VALID"} or c.attr("ceil_mode", 0):
        raise LookupError("automatic pads are left to the general rule")
    kernel = [int(v) for v in c.attr("kernel_shape")]
    strides = [int(v) for v in c.attr("strides", [1] * rank)]
    dilations = [int(v) for v in c.attr("dilations", [1] * rank)]
    pads = [int(v) for v in c.attr("pads", [0] * (2 * rank))]
    source = [c.size(c.x(0), 2 + at) for at in range(rank)]
    target = [c.size(c.y(), 2 + at) for at in range(rank)]
    counts = _counts(source, target, kernel, strides, dilations, pads, bool(c.attr("count_include_pad", 0)))
    if np.all(counts == counts.flat[0]):
        share = c.op("Mul", dy, c.number(1 / float(counts.flat[0]), c.x(0)))
    else:
        share = c.op("Div", dy, c.w.constant(counts, c.w.dtype(c.x(0))))
    # One image per channel, so that the kernel does not depend on how many there are.
    images = c.op("Reshape", share, c.w.ints(-1, 1, *target))
    extra = [
        m - ((n - 1) * s - b - a + (k - 1) * d + 1)
        for m, n, s, b, a, k, d in zip(
            source, target, strides, pads[:rank], pads[rank:], kernel, dilations, strict=True
        )
    ]
    ones = c.w.constant(np.ones((1, 1, *kernel)), c.w.dtype(c.x(0)))
    spread = c.op(
        "ConvTranspose", images, ones, kernel_shape=kernel, strides=strides, dilations=dilations, pads=pads,
        output_padding=extra,
    )  # fmt: skip
    return {0: reshape_like(c.w, spread, c.x(0))}


def _counts(
    source: list[int],
    target: list[int],
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
    pads: list[int],
    all_: bool,
) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    if all_:
        return np.full(target, float(prod(kernel)))
    per_axis = []
    for at, (m, n, k, s, d) in enumerate(zip(source, target, kernel, strides, dilations, strict=True)):
        starts = np.arange(n) * s - pads[at]
        reached = starts[:, None] + np.arange(k)[None] * d
        per_axis.append(np.sum((reached >= 0) & (reached < m), axis=1).astype(float))
    counts = per_axis[0]
    for more in per_axis[1:]:
        counts = counts[..., None] * more
    return counts


def resize(c: Call, dy: str) -> Gradients:
    """Nearest, enlarged by whole factors (decoders): each error is summed over the square it was spread to."""
    source, target = c.shape(c.x(0)), c.shape(c.y())
    if source is None or target is None or c.attr("mode", "nearest") != "nearest":
        raise LookupError("this way of resizing is left to the general rule")
    axes = range(2, len(source))
    factors = [c.size(c.y(), axis) // c.size(c.x(0), axis) for axis in axes]
    whole = all(c.size(c.y(), axis) == f * c.size(c.x(0), axis) for f, axis in zip(factors, axes, strict=True))
    plain = c.attr("coordinate_transformation_mode", "half_pixel") in {"half_pixel", "asymmetric"}
    rounding = c.attr("nearest_mode", "round_prefer_floor")
    safe = c.attr("coordinate_transformation_mode", "half_pixel") == "half_pixel" or rounding == "floor"
    if not (whole and plain and safe) or source[:2] != target[:2] or c.attr("axes"):
        raise LookupError("this way of resizing is left to the general rule")
    parts = [part for f, axis in zip(factors, axes, strict=True) for part in (c.size(c.x(0), axis), f)]
    folded = c.op("Reshape", dy, c.w.ints(0, 0, *parts))
    inner = [3 + 2 * at for at in range(len(factors))]
    for axis in reversed(inner):
        folded = c.op("ReduceSum", folded, c.w.ints(axis), keepdims=0)
    return {0: folded}
