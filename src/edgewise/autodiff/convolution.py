"""Gradients of Conv and ConvTranspose in standard operators, for any rank, stride, dilation and grouping.

The gradient in x is a transposed convolution. The gradient in the weight is a product of the errors with the patches of x
that each weight saw (im2col: one slice per kernel position); for a 1x1 kernel the patches are x itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

from edgewise.autodiff.broadcast import reduce_sum
from edgewise.autodiff.call import Call, Gradients

__all__ = ["Geometry", "conv", "conv_transpose", "geometry", "patches", "window_geometry"]

_FEW = 8  # input channels below which one long product is faster than one per kernel position


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes of a convolution, per spatial axis. before, after: pads. source, target: lengths of input and output."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    before: tuple[int, ...]
    after: tuple[int, ...]
    source: tuple[int, ...]
    target: tuple[int, ...]
    groups: int

    @property
    def pointwise(self) -> bool:
        """True where each output reads one position of the input: the one it is at."""
        return prod(self.kernel) == 1 and prod(self.stride) == 1 and not any(self.before) and not any(self.after)

    @property
    def leftover(self) -> list[int]:
        """Positions at the end of each axis that no window reaches; negative where the last window stands over the end."""
        return [
            m - ((n - 1) * s - b - a + (k - 1) * d + 1)
            for m, n, s, b, a, k, d in zip(
                self.source, self.target, self.stride, self.before, self.after, self.kernel, self.dilation, strict=True
            )
        ]


def geometry(c: Call, source: str, target: str) -> Geometry:
    """The sizes of the convolution that takes ``source`` to ``target`` with the weight in input 1."""
    kernel = tuple(c.size(c.x(1), 2 + at) for at in range(c.rank(source) - 2))
    return window_geometry(c, source, target, kernel)


def window_geometry(c: Call, source: str, target: str, kernel: tuple[int, ...]) -> Geometry:
    """The sizes of windows of the shape ``kernel`` that take ``source`` to ``target``: a convolution's, a pool's."""
    rank = len(kernel)
    stride = tuple(int(v) for v in c.attr("strides", [1] * rank))
    dilation = tuple(int(v) for v in c.attr("dilations", [1] * rank))
    long = tuple(c.size(source, 2 + at) for at in range(rank))
    short = tuple(c.size(target, 2 + at) for at in range(rank))
    pads = c.attr("pads")
    automatic = c.attr("auto_pad", "NOTSET")
    if automatic in {"SAME_UPPER", "SAME_LOWER"}:
        total = [
            max((n - 1) * s + (k - 1) * d + 1 - m, 0)
            for n, s, k, d, m in zip(short, stride, kernel, dilation, long, strict=True)
        ]
        less, more = [t // 2 for t in total], [t - t // 2 for t in total]
        before, after = (less, more) if automatic == "SAME_UPPER" else (more, less)
    else:
        before, after = (
            ([int(v) for v in pads[:rank]], [int(v) for v in pads[rank:]]) if pads else ([0] * rank, [0] * rank)
        )
    return Geometry(kernel, stride, dilation, tuple(before), tuple(after), long, short, int(c.attr("group", 1)))


def conv(c: Call, dy: str) -> Gradients:
    g = geometry(c, c.x(0), c.y())
    result: dict[int, str] = {}
    if c.wants(0):
        result[0] = _input_gradient(c, dy, g)
    if c.wants(1):
        result[1] = _weight_gradient(c, c.x(0), dy, g)
    if c.x(2) and c.wants(2):
        rank = c.rank(c.y())
        result[2] = reduce_sum(c.w, dy, [0, *range(2, rank)], rank, keepdims=False)
    return result


def conv_transpose(c: Call, dy: str) -> Gradients:
    """The roles are turned round: dy is what the convolution reads, x is what it would give."""
    if c.attr("output_shape") or c.attr("auto_pad", "NOTSET") != "NOTSET":
        raise LookupError("a stated output shape is left to the general rule")
    g = geometry(c, c.y(), c.x(0))
    result: dict[int, str] = {}
    if c.wants(0):
        # The output may be longer than x needs (output_padding): what no patch reaches gets its pads back as a cut.
        after = [
            (n - 1) * s + (k - 1) * d + 1 - m - b
            for n, s, k, d, m, b in zip(g.target, g.stride, g.kernel, g.dilation, g.source, g.before, strict=True)
        ]
        result[0] = c.op(
            "Conv", *_cut(c, dy, after), c.x(1), kernel_shape=g.kernel, strides=g.stride, dilations=g.dilation, group=g.groups,
            pads=[*g.before, *(max(v, 0) for v in after)],
        )  # fmt: skip
    if c.wants(1):
        result[1] = _weight_gradient(c, dy, c.x(0), g)
    if c.x(2) and c.wants(2):
        rank = c.rank(c.y())
        result[2] = reduce_sum(c.w, dy, [0, *range(2, rank)], rank, keepdims=False)
    return result


def _cut(c: Call, name: str, after: list[int]) -> list[str]:
    short = [(at, v) for at, v in enumerate(after) if v < 0]
    if not short:
        return [name]
    axes = [2 + at for at, _ in short]
    return [c.op("Slice", name, c.w.ints(*[0] * len(axes)), c.w.ints(*[v for _, v in short]), c.w.ints(*axes))]


def _input_gradient(c: Call, dy: str, g: Geometry) -> str:
    if g.pointwise and g.groups == 1:
        # A convolution with the weight transposed runs in two thirds of ConvTranspose's time.
        turned = c.op("Transpose", c.x(1), perm=[1, 0, *range(2, 2 + len(g.kernel))])
        return c.op("Conv", dy, turned, kernel_shape=g.kernel)
    return c.op(
        "ConvTranspose", dy, c.x(1), kernel_shape=g.kernel, strides=g.stride, dilations=g.dilation, group=g.groups,
        pads=[*g.before, *g.after], output_padding=g.leftover,
    )  # fmt: skip


def _weight_gradient(c: Call, source: str, errors: str, g: Geometry) -> str:
    channels, filters = c.size(source, 1), c.size(errors, 1)
    length, taps = prod(g.target), prod(g.kernel)
    inner, outer = channels // g.groups, filters // g.groups
    if taps > 1 and ((g.groups == 1 and channels >= _FEW) or inner == outer == 1):
        return _by_tap(c, source, errors, g)
    columns = patches(c, source, channels, g)  # (N, C, taps, length)
    if g.groups == 1:
        left = c.op("Reshape", errors, c.w.ints(0, filters, length))
        right = c.op("Reshape", columns, c.w.ints(0, channels * taps, length))
    else:
        left = c.op("Reshape", errors, c.w.ints(0, g.groups, outer, length))
        right = c.op("Reshape", columns, c.w.ints(0, g.groups, inner * taps, length))
    perm = [0, 2, 1] if g.groups == 1 else [0, 1, 3, 2]
    each = c.op("MatMul", left, c.op("Transpose", right, perm=perm))
    total = c.op("ReduceSum", each, c.w.ints(0), keepdims=0)
    return c.op("Reshape", total, c.w.ints(filters, inner, *g.kernel))


def _by_tap(c: Call, source: str, errors: str, g: Geometry) -> str:
    """One product per kernel position, instead of one with all patches side by side: a ninth of the memory for 3x3."""
    channels, filters = c.size(source, 1), c.size(errors, 1)
    length, rank = prod(g.target), len(g.kernel)
    depthwise = g.groups > 1
    left = errors if depthwise else c.op("Reshape", errors, c.w.ints(0, filters, length))
    taps = []
    for part in _slices(c, source, g):
        if depthwise:
            total = reduce_sum(c.w, c.op("Mul", left, part), [0, *range(2, 2 + rank)], 2 + rank, keepdims=False)
            taps.append(c.op("Reshape", total, c.w.ints(1, filters)))
        else:
            right = c.op("Reshape", part, c.w.ints(0, channels, length))
            each = c.op("MatMul", left, c.op("Transpose", right, perm=[0, 2, 1]))
            taps.append(c.op("ReduceSum", each, c.w.ints(0), keepdims=1))
    stacked = c.op("Concat", *taps, axis=0)  # (taps, O, C) or (taps, C)
    turned = c.op("Transpose", stacked, perm=[1, 0] if depthwise else [1, 2, 0])
    return c.op("Reshape", turned, c.w.ints(filters, 1 if depthwise else channels, *g.kernel))


def _slices(c: Call, source: str, g: Geometry) -> Iterator[str]:
    """For each kernel position, what the outputs read through it: (N, C, *target)."""
    rank = len(g.kernel)
    padded = source
    if any(g.before) or any(g.after):
        pads = [0, 0, *g.before, 0, 0, *g.after]
        padded = c.op("Pad", source, c.w.ints(*pads), c.number(0, source))
    axes, strides = c.w.ints(*range(2, 2 + rank)), c.w.ints(*g.stride)
    for offset in product(*(range(k) for k in g.kernel)):
        first = [o * d for o, d in zip(offset, g.dilation, strict=True)]
        last = [f + (n - 1) * s + 1 for f, n, s in zip(first, g.target, g.stride, strict=True)]
        yield c.op("Slice", padded, c.w.ints(*first), c.w.ints(*last), axes, strides)


def patches(c: Call, source: str, channels: int, g: Geometry) -> str:
    """What each output position reads of ``source``: (N, channels, taps, length)."""
    length = prod(g.target)
    if g.pointwise:
        return c.op("Reshape", source, c.w.ints(0, channels, 1, length))
    columns = [c.op("Reshape", part, c.w.ints(0, channels, 1, length)) for part in _slices(c, source, g)]
    return columns[0] if len(columns) == 1 else c.op("Concat", *columns, axis=2)
