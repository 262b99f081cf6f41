"""Gradients of pooling and of resizing by whole factors."""

from math import prod

import numpy as np
from onnx import helper

from edgewise.autodiff.broadcast import reshape_like
from edgewise.autodiff.call import Call, Gradients, NoGradient
from edgewise.autodiff.convolution import Geometry, window_geometry

__all__ = ["average_pool", "global_average_pool", "global_lp_pool", "global_max_pool", "lp_pool", "max_pool", "resize"]


def global_average_pool(c: Call, dy: str) -> Gradients:
    sizes = [c.size(c.x(0), axis) for axis in range(2, c.rank(c.x(0)))]
    share = c.op("Mul", dy, c.number(1 / prod(sizes), c.x(0)))
    c.tape.partial.add(share)
    return {0: share}


def global_max_pool(c: Call, dy: str) -> Gradients:
    """Equal extremes share alike, as in ReduceMax."""
    axes = c.w.ints(*range(2, c.rank(c.x(0))))
    wins = c.op("CastLike", c.op("Equal", c.x(0), c.y()), c.x(0))
    return {0: c.op("Mul", wins, c.op("Div", dy, c.op("ReduceSum", wins, axes, keepdims=1)))}


def global_lp_pool(c: Call, dy: str) -> Gradients:
    """y = (sum |x|**p)**(1/p): the slope is sign(x) (|x| / y)**(p-1)."""
    p, x = int(c.attr("p", 2)), c.x(0)
    slope = c.op("Sign", x)
    if p > 1:
        nonzero = c.op("Max", c.y(), c.number(1e-30, x))
        slope = c.op("Mul", slope, c.op("Pow", c.op("Div", c.op("Abs", x), nonzero), c.number(p - 1, x)))
    return {0: c.op("Mul", dy, slope)}


def max_pool(c: Call, dy: str) -> Gradients:
    """Where windows do not overlap, each error goes back to the place it came from: one pass (MaxUnpool).

    Where they do, a place may win several windows: errors are added up by index.
    """
    rank = c.rank(c.x(0)) - 2
    if c.attr("ceil_mode", 0):
        _window(c)
    indices = _indices(c)
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


def _indices(c: Call) -> str:
    if c.attr("storage_order", 0):  # the places in column-major order are no use here
        given = {a.name: helper.get_attribute_value(a) for a in c.node.attribute if a.name != "storage_order"}
        return c.w.split("MaxPool", 2, c.x(0), **given)[1]
    if len(c.node.output) < 2 or not c.node.output[1]:
        del c.node.output[1:]
        c.node.output.append(c.w.fresh(f"{c.y()}/indices"))
    return c.node.output[1]


def average_pool(c: Call, dy: str) -> Gradients:
    """Each error, divided by its window's count, spread over the window: a transposed convolution with ones, by channel."""
    g = _window(c)
    counts = _counts(g, bool(c.attr("count_include_pad", 0)))
    if np.all(counts == counts.flat[0]):
        share = c.op("Mul", dy, c.number(1 / float(counts.flat[0]), c.x(0)))
    else:
        share = c.op("Div", dy, c.w.constant(counts, c.w.dtype(c.x(0))))
    return {0: _spread(c, share, g)}


def lp_pool(c: Call, dy: str) -> Gradients:
    """y = (sum |x|**p)**(1/p): the slope is sign(x) |x|**(p-1) y**(1-p)."""
    p, x = int(c.attr("p", 2)), c.x(0)
    g = _window(c)
    if p == 1:
        return {0: c.op("Mul", c.op("Sign", x), _spread(c, dy, g))}
    # A window of zeros has no slope; torch gives 0 there.
    nonzero = c.op("Max", c.y(), c.number(1e-30, x))
    spread = _spread(c, c.op("Mul", dy, c.op("Pow", nonzero, c.number(1 - p, x))), g)
    steep = c.op("Mul", c.op("Sign", x), c.op("Pow", c.op("Abs", x), c.number(p - 1, x)))
    return {0: c.op("Mul", steep, spread)}


def _window(c: Call) -> Geometry:
    g = window_geometry(c, c.x(0), c.y(), tuple(int(v) for v in c.attr("kernel_shape")))
    if any((n - 1) * s >= m + b for n, s, m, b in zip(g.target, g.stride, g.source, g.before, strict=True)):
        # onnxruntime leaves that window out, ONNX's shape inference counts it: what follows has another size than declared.
        raise NoGradient(
            "ceil_mode with a window that starts behind the input: its size is not agreed on; state pads instead"
        )
    return g


def _spread(c: Call, share: str, g: Geometry) -> str:
    """Each value over the window that it belongs to."""
    # One image per channel, so that the kernel does not depend on how many there are.
    images = c.op("Reshape", share, c.w.ints(-1, 1, *g.target))
    extra = g.leftover
    # A last window that ceil_mode lets stand over the end: what it spread there is cut off like pads.
    after = [a + max(-e, 0) for a, e in zip(g.after, extra, strict=True)]
    ones = c.w.constant(np.ones((1, 1, *g.kernel)), c.w.dtype(c.x(0)))
    spread = c.op(
        "ConvTranspose", images, ones, kernel_shape=g.kernel, strides=g.stride, dilations=g.dilation,
        pads=[*g.before, *after], output_padding=[max(e, 0) for e in extra],
    )  # fmt: skip
    return reshape_like(c.w, spread, c.x(0))


def _counts(g: Geometry, with_pads: bool) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    per_axis = []
    for m, n, k, s, d, b, a in zip(g.source, g.target, g.kernel, g.stride, g.dilation, g.before, g.after, strict=True):
        reached = np.arange(n)[:, None] * s - b + np.arange(k)[None] * d
        first, last = (-b, m + a) if with_pads else (0, m)
        per_axis.append(np.sum((reached >= first) & (reached < last), axis=1).astype(float))
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
    half = c.attr("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    # Every place within a square of the factor's size must round to the same element.
    safe = rounding.startswith("round") if half else rounding == "floor"
    stretched = c.attr("keep_aspect_ratio_policy", "stretch") == "stretch" and _exact(c, factors)
    if not (whole and plain and safe and stretched) or source[:2] != target[:2] or c.attr("axes"):
        raise LookupError("this way of resizing is left to the general rule")
    parts = [part for f, axis in zip(factors, axes, strict=True) for part in (c.size(c.x(0), axis), f)]
    folded = c.op("Reshape", dy, c.w.ints(0, 0, *parts))
    inner = [3 + 2 * at for at in range(len(factors))]
    for axis in reversed(inner):
        folded = c.op("ReduceSum", folded, c.w.ints(axis), keepdims=0)
    return {0: folded}


def _exact(c: Call, factors: list[int]) -> bool:
    """Sizes can be whole multiples by rounding; the places are computed from the scales themselves."""
    if not c.x(2):
        return True
    scales = c.w.array(c.x(2))
    return scales is not None and (scales.size == 0 or [float(v) for v in scales[2:]] == factors)
