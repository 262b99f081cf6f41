"""Gradients in the blocked layout (see ``blocked``), and how values and weights get there and back."""

from collections.abc import Callable, Iterator
from math import prod

import numpy as np

from edgewise.autodiff.call import Call, Gradients
from edgewise.autodiff.convolution import Geometry, geometry, patches
from edgewise.graph.writer import Dims, Writer

__all__ = ["BLOCKED", "NCHWC", "OWN", "Blocks", "lower_batch_norm"]

NCHWC = "com.microsoft.nchwc"
#: Domain of nodes that exist only between the layout pass and the walk.
OWN = "edgewise"


class Blocks:
    """Blocks of ``size`` channels, and how to write conversions. Final."""

    def __init__(self, w: Writer, size: int) -> None:
        self.w, self.size = w, size

    def whole(self, channels: int) -> int:
        """``channels`` rounded up to whole blocks."""
        return -(-channels // self.size) * self.size

    def say(self, name: str, shape: Dims) -> str:
        """Declare a value's shape; these operators are unknown to ONNX's own inference."""
        return self.w.declare(name, "float32", shape)

    def channels(self, name: str) -> int:
        """Channels of a plain value."""
        shape = self.w.shape(name)
        assert shape is not None
        return int(shape[1])  # type: ignore[arg-type]

    def declare(self, twin: str, name: str) -> str:
        """Say that ``twin`` is ``name`` in blocks."""
        shape = self.w.shape(name)
        assert shape is not None
        return self.say(twin, (shape[0], self.whole(self.channels(name)), *shape[2:]))

    def enter(self, name: str) -> str:
        """A plain value (N, C, H, W) in blocks."""
        extra = self.whole(self.channels(name)) - self.channels(name)
        plain = name
        if extra:
            plain = self.w.node("Pad", name, self.w.ints(0, 0, 0, 0, 0, extra, 0, 0), self.w.constant(0.0))
            self.declare(plain, name)
        return self.declare(self.w.node("ReorderInput", plain, domain=NCHWC), name)

    def vector(self, name: str) -> str:
        """One number per channel, zeros for the channels that fill the last block."""
        shape = self.w.shape(name)
        assert shape is not None
        count = int(shape[0])  # type: ignore[arg-type]
        if self.whole(count) == count:
            return name
        padded = self.w.node("Pad", name, self.w.ints(0, self.whole(count) - count), self.w.constant(0.0))
        return self.say(padded, (self.whole(count),))

    def weight(self, name: str, *, depthwise: bool, small: bool) -> str:
        """A weight (O, I, h, w) in the order of memory that the blocked convolution reads."""
        shape = self.w.shape(name)
        assert shape is not None
        filters, inner, *kernel = (int(d) for d in shape)  # type: ignore[arg-type]
        outer, b = self.whole(filters), self.size
        depth = inner if depthwise or small else self.whole(inner)
        if (outer, depth) != (filters, inner):
            pads = [0] * 4 + [outer - filters, depth - inner, 0, 0]
            name = self.say(self.w.node("Pad", name, self.w.ints(*pads), self.w.constant(0.0)), (outer, depth, *kernel))
        if depthwise or small:  # OIHWBo
            split: tuple[int, ...] = (outer // b, b, depth, *kernel)
            perm = [0, 2, 3, 4, 1]
        else:  # OIHWBiBo
            split = (outer // b, b, depth // b, b, *kernel)
            perm = [0, 2, 4, 5, 3, 1]
        parts = self.say(self.w.node("Reshape", name, self.w.ints(*split)), split)
        turned = self.say(self.w.node("Transpose", parts, perm=perm), tuple(split[axis] for axis in perm))
        return self.say(self.w.node("Reshape", turned, self.w.ints(outer, depth, *kernel)), (outer, depth, *kernel))

    def rows(self, name: str) -> str:
        """A blocked value as (N, C'/B, H*W, B), the order that it really has in memory."""
        shape = self.w.shape(name)
        assert shape is not None
        n, channels, *space = (int(d) for d in shape)  # type: ignore[arg-type]
        view = (n, channels // self.size, prod(space), self.size)
        return self.say(self.w.node("Reshape", name, self.w.ints(*view)), view)

    def total(self, name: str) -> str:
        """Sum of a blocked value per channel: (C',)."""
        rows = self.w.node("ReduceSum", self.rows(name), self.w.ints(2), keepdims=0)
        return self.w.node("Reshape", self.w.node("ReduceSum", rows, self.w.ints(0), keepdims=0), self.w.ints(-1))

    def dot(self, a: str, b: str) -> str:
        """Per channel, the sum of the products of two blocked values of the same shape: (C',), in one pass."""
        one, none, space = (1, 1), (0, 0), self._space(a)
        g = Geometry(one, one, one, none, none, space, space, 1)
        return self.w.node("Reshape", self.depthwise_weight(a, b, g), self.w.ints(-1))

    def depthwise_weight(self, x: str, dy: str, g: Geometry) -> str:
        """The gradient of a depthwise weight: every image and channel by itself, with the error as its kernel."""
        shape = self.w.shape(x)
        assert shape is not None
        n, channels = int(shape[0]), int(shape[1])  # type: ignore[arg-type]
        images = self.w.node("Reshape", x, self.w.ints(1, n * channels, *g.source))
        errors = self.w.node("Reshape", dy, self.w.ints(n * channels, 1, *g.target))
        # As long as the positions that the errors leave over: where the input is longer than needed, a few more than taps.
        each = self.w.node(
            "Conv", images, errors, domain=NCHWC, kernel_shape=g.target, dilations=g.stride, strides=g.dilation,
            pads=[*g.before, *_last_pads(g)], group=n * channels,
        )  # fmt: skip
        view = self.w.ints(n, channels // self.size, prod(g.kernel), self.size)
        return self.w.node("ReduceSum", self.w.node("Reshape", each, view), self.w.ints(0), keepdims=0)

    def affine(self, x: str, scale: str, shift: str, *, plus: str = "", relu: bool = False) -> str:
        """scale * x + shift (+ plus), per channel, in one pass. scale, shift: (C',)."""
        shape = self.w.shape(x)
        assert shape is not None
        weight = self.w.node("Reshape", scale, self.w.ints(-1, 1, 1, 1))
        more: dict[str, object] = {"activation": "Relu"} if relu else {}
        group = int(shape[1])  # type: ignore[arg-type]
        inputs = [x, weight, shift, *([plus] if plus else [])]
        y = self.w.node("Conv", *inputs, domain=NCHWC, kernel_shape=[1, 1], group=group, **more)
        return self.say(y, shape)

    def _space(self, name: str) -> tuple[int, ...]:
        shape = self.w.shape(name)
        assert shape is not None
        return tuple(int(d) for d in shape[2:])  # type: ignore[arg-type]


def _last_pads(g: Geometry) -> list[int]:
    # Exactly the taps come out: the trailing pad is what makes (source + pads - span of the errors) / dilation + 1 = taps.
    return [
        (k - 1) * d + (m - 1) * s + 1 - n - b
        for k, d, m, s, n, b in zip(g.kernel, g.dilation, g.target, g.stride, g.source, g.before, strict=True)
    ]


def _blocks(c: Call) -> Blocks:
    return Blocks(c.w, c.tape.block)


def conv(c: Call, dy: str) -> Gradients:
    blocks = _blocks(c)
    g = geometry(c, c.x(0), c.y())
    result: dict[int, str] = {}
    small = c.size(c.x(0), 1) < blocks.size
    if c.wants(0):
        result[0] = _input_gradient(c, dy, g, blocks, small=small)
    if c.wants(1):
        if g.groups > 1:
            gradient = _depthwise(c, dy, g, blocks)
        elif small:
            gradient = _small_weight(c, dy, g, blocks)
        else:
            gradient = _weight_gradient(c, dy, g, blocks)
        result[1] = blocks.say(gradient, c.static(c.x(1)))
    if c.x(2) and c.wants(2):
        result[2] = blocks.total(dy)
    return result


def _depthwise(c: Call, dy: str, g: Geometry, blocks: Blocks) -> str:
    source, trailing = c.x(0), _last_pads(g)
    if min(trailing) < 0:  # rows at the end that no window reaches
        rows = [n + min(t, 0) for n, t in zip(g.source, trailing, strict=True)]
        n, channels = c.size(source, 0), c.size(source, 1)
        view = (n * channels // blocks.size, *g.source, blocks.size)
        cut = c.op("Slice", c.op("Reshape", source, c.w.ints(*view)), c.w.ints(0, 0), c.w.ints(*rows), c.w.ints(1, 2))
        source = blocks.say(c.op("Reshape", cut, c.w.ints(n, channels, *rows)), (n, channels, *rows))
        g = Geometry(g.kernel, g.stride, g.dilation, g.before, g.after, tuple(rows), g.target, g.groups)
    return c.op("Reshape", blocks.depthwise_weight(source, dy, g), c.w.ints(*c.static(c.x(1))))


def _input_gradient(c: Call, dy: str, g: Geometry, blocks: Blocks, *, small: bool) -> str:
    strided = prod(g.stride) > 1
    if small or (strided and g.groups == 1 and prod(g.kernel) > 1):
        return _plain_input_gradient(c, dy, g, blocks, small=small)
    b = blocks.size
    outer, depth, *kernel = c.static(c.x(1))
    split = (outer // b, prod(kernel), b) if g.groups > 1 else (outer // b, depth // b, prod(kernel), b, b)
    parts = c.op("Reshape", c.x(1), c.w.ints(*split))
    taps = len(split) - 2 if g.groups > 1 else 2
    if prod(kernel) > 1:
        parts = c.op("Slice", parts, c.w.ints(-1), c.w.ints(-(2**62)), c.w.ints(taps), c.w.ints(-1))
    if g.groups == 1:
        parts = c.op("Transpose", parts, perm=[1, 0, 2, 4, 3])
    shape = (outer, 1, *kernel) if g.groups > 1 else (depth, outer, *kernel)
    weight = c.op("Reshape", parts, c.w.ints(*shape))
    source = _spread(c, dy, g, blocks) if strided and prod(g.kernel) > 1 else dy
    before = [d * (k - 1) - p for d, k, p in zip(g.dilation, g.kernel, g.before, strict=True)]
    long = g.target if source == dy else tuple(n * s for n, s in zip(g.target, g.stride, strict=True))
    after = [
        (n if source != dy or not strided else m) - m - p + d * (k - 1)
        for n, m, p, d, k in zip(g.source, long, before, g.dilation, g.kernel, strict=True)
    ]
    y = c.w.node(
        "Conv", source, weight, domain=NCHWC, kernel_shape=kernel, dilations=g.dilation, pads=[*before, *after],
        group=g.groups,
    )  # fmt: skip
    if strided and source == dy:  # 1x1: the product first, on the few positions there are, then the zeros between
        batch = c.size(dy, 0)
        blocks.say(y, (batch, shape[0] if g.groups == 1 else outer, *g.target))
        y = _fit(c, _spread(c, y, g, blocks), g, blocks)
    return y


def _fit(c: Call, name: str, g: Geometry, blocks: Blocks) -> str:
    """Cut or fill what was spread out to the length of the input."""
    shape = c.static(name)
    if shape[2:] == g.source:
        return name
    view = (shape[0] * shape[1] // blocks.size, *shape[2:], blocks.size)
    parts = c.op("Reshape", name, c.w.ints(*view))
    less = [n - m for n, m in zip(g.source, shape[2:], strict=True)]
    if min(less) < 0:
        parts = c.op("Slice", parts, c.w.ints(0, 0), c.w.ints(*g.source), c.w.ints(1, 2))
    if max(less) > 0:
        parts = c.op("Pad", parts, c.w.ints(0, 0, 0, 0, 0, *(max(v, 0) for v in less), 0), c.w.constant(0.0))
    return c.op("Reshape", parts, c.w.ints(shape[0], shape[1], *g.source))


def _spread(c: Call, name: str, g: Geometry, blocks: Blocks) -> str:
    """A blocked value with stride-1 zeros after each row and column."""
    n, channels, height, width = c.static(name)
    down, across = g.stride
    view = (n * channels // blocks.size * height, 1, width, 1, blocks.size)
    parts = c.op("Reshape", name, c.w.ints(*view))
    wide = c.op("Pad", parts, c.w.ints(0, 0, 0, 0, 0, 0, down - 1, 0, across - 1, 0), c.w.constant(0.0))
    shape = (n, channels, height * down, width * across)
    return blocks.say(c.op("Reshape", wide, c.w.ints(*shape)), shape)


def _plain_input_gradient(c: Call, dy: str, g: Geometry, blocks: Blocks, *, small: bool) -> str:
    b = blocks.size
    outer, depth, *kernel = c.static(c.x(1))
    if small:
        parts = c.op("Reshape", c.x(1), c.w.ints(outer // b, depth, *kernel, b))
        weight = c.op("Transpose", parts, perm=[0, 4, 1, 2, 3])
    else:
        parts = c.op("Reshape", c.x(1), c.w.ints(outer // b, depth // b, *kernel, b, b))
        weight = c.op("Transpose", parts, perm=[0, 5, 1, 4, 2, 3])
    weight = c.op("Reshape", weight, c.w.ints(outer, depth, *kernel))
    plain = c.w.node("ReorderOutput", dy, domain=NCHWC, channels=outer)
    extra = [
        m - ((n - 1) * s - p - a + (k - 1) * d + 1)
        for m, n, s, p, a, k, d in zip(
            g.source, g.target, g.stride, g.before, g.after, g.kernel, g.dilation, strict=True
        )
    ]
    dx = c.op(
        "ConvTranspose", plain, weight, kernel_shape=kernel, strides=g.stride, dilations=g.dilation,
        pads=[*g.before, *g.after], output_padding=extra,
    )  # fmt: skip
    return dx if small else c.w.node("ReorderInput", dx, domain=NCHWC)


def _weight_gradient(c: Call, dy: str, g: Geometry, blocks: Blocks) -> str:
    """Patches of x by one Gather of whole blocks, then one product over all images and positions."""
    b = blocks.size
    n, channels = c.size(c.x(0), 0), c.size(c.x(0), 1)
    filters, length, taps = c.size(dy, 1), prod(g.target), prod(g.kernel)
    alone = channels == b and filters == b
    x = c.op("Reshape", c.x(0), c.w.ints(n, channels // b, *g.source, b))
    last_x = c.op("Reshape", x, c.w.ints(n, *g.source, b)) if alone else _channels_last(c, x, (n, *g.source, channels))
    errors = c.op("Reshape", dy, c.w.ints(n, filters // b, *g.target, b))
    if alone:
        left = c.op("Transpose", c.op("Reshape", errors, c.w.ints(n, length, b)), perm=[0, 2, 1])
    else:
        left = c.op("Reshape", _channels_last(c, errors, (n, *g.target, filters)), c.w.ints(n * length, filters))
    products = []
    for part, width in _gathered(c, last_x, n, channels, g):
        if alone:
            each = c.op("MatMul", left, c.op("Reshape", part, c.w.ints(n, length, width * b)))  # (N, Bo, taps*Bi)
            total = c.op("Reshape", c.op("ReduceSum", each, c.w.ints(0), keepdims=0), c.w.ints(b, width, b))
            products.append(c.op("Transpose", total, perm=[1, 2, 0]))
        else:
            total = c.op("Gemm", c.op("Reshape", part, c.w.ints(n * length, width * channels)), left, transA=1)
            products.append(c.op("Reshape", total, c.w.ints(width, channels // b, b, filters // b, b)))
    whole = products[0] if len(products) == 1 else c.op("Concat", *products, axis=0)
    turned = whole if alone else c.op("Transpose", whole, perm=[3, 1, 0, 2, 4])
    shape = (filters // b, channels // b, taps, b, b)
    return c.op("Reshape", c.op("Reshape", turned, c.w.ints(*shape)), c.w.ints(*c.static(c.x(1))))


def _gathered(c: Call, x: str, n: int, channels: int, g: Geometry) -> Iterator[tuple[str, int]]:
    """Patches of a channels-last x (N, positions, taps, C), and how many taps: all at once, or row by row of the kernel."""
    if g.pointwise:
        yield x, 1
        return
    pads = [0, *g.before, 0, 0, *g.after, 0]
    if any(pads):
        x = c.op("Pad", x, c.w.ints(*pads), c.w.constant(0.0))
    padded = [m + p + q for m, p, q in zip(g.source, g.before, g.after, strict=True)]
    flat = c.op("Reshape", x, c.w.ints(n, prod(padded), channels))
    places = _positions(g, padded)  # (OH*OW, kh, kw)
    rows = [places[:, at : at + 1] for at in range(g.kernel[0])] if c.tape.frugal else [places]
    for row in rows:
        yield c.op("Gather", flat, c.w.constant(row.reshape(-1), "int64"), axis=1), row.shape[1] * row.shape[2]


def _channels_last(c: Call, name: str, shape: tuple[int, ...]) -> str:
    """(N, C'/B, H, W, B) as (N, H, W, C')."""
    return c.op("Reshape", c.op("Transpose", name, perm=[0, 2, 3, 1, 4]), c.w.ints(*shape))


def _positions(g: Geometry, padded: list[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    """For each output position and tap, where in the padded image it reads."""
    rows = np.arange(g.target[0])[:, None] * g.stride[0] + np.arange(g.kernel[0])[None] * g.dilation[0]  # (OH, kh)
    columns = np.arange(g.target[1])[:, None] * g.stride[1] + np.arange(g.kernel[1])[None] * g.dilation[1]  # (OW, kw)
    places = rows[:, None, :, None] * padded[1] + columns[None, :, None, :]  # (OH, OW, kh, kw)
    return places.reshape(-1, *g.kernel).astype(np.int64)


def _small_weight(c: Call, dy: str, g: Geometry, blocks: Blocks) -> str:
    """Few input channels (a first layer): the input is in plain order, its patches are (N, C*taps, L)."""
    channels, taps, length = c.size(c.x(0), 1), prod(g.kernel), prod(g.target)
    columns = c.op("Reshape", patches(c, c.x(0), channels, g), c.w.ints(-1, 1, channels * taps, length))
    each = c.op("MatMul", columns, blocks.rows(dy))  # (N, O'/B, C*taps, B)
    return c.op("Reshape", c.op("ReduceSum", each, c.w.ints(0), keepdims=0), c.w.ints(*c.static(c.x(1))))


def reorder_input(c: Call, dy: str) -> Gradients:
    return {0: c.w.node("ReorderOutput", dy, domain=NCHWC, channels=c.size(c.x(0), 1))}


def reorder_output(c: Call, dy: str) -> Gradients:
    blocks = _blocks(c)
    whole, channels = c.size(c.x(0), 1), int(c.attr("channels"))
    if whole != channels:
        dy = c.op("Pad", dy, c.w.ints(0, 0, 0, 0, 0, whole - channels, 0, 0), c.w.constant(0.0))
    return {0: blocks.say(c.w.node("ReorderInput", dy, domain=NCHWC), c.static(c.x(0)))}


def lower_batch_norm(c: Call) -> dict[str, str]:
    """Batch normalisation of a blocked value: five passes, two of them reading only (see ``normalization`` for the plain one)."""
    blocks, x = _blocks(c), c.x(0)
    n, _, *space = c.static(x)
    count, channels = n * prod(space), int(c.attr("channels"))
    one = c.w.constant(np.ones(c.size(x, 1)))
    share = c.number(1 / count, x)
    mean = c.op("Mul", blocks.total(x), share)
    centred = blocks.affine(x, one, c.op("Neg", mean))
    variance = c.op("Mul", blocks.dot(centred, centred), share)
    inverse = c.op("Reciprocal", c.op("Sqrt", c.op("Add", variance, c.number(float(c.attr("epsilon")), x))))
    slope = c.op("Mul", c.x(1), inverse)
    y = blocks.affine(centred, slope, c.x(2), relu=bool(c.attr("relu")))
    c.w.append_named("Identity", [y], [c.y()])
    momentum = float(c.attr("momentum"))
    for at, (old, new) in enumerate(((c.x(3), mean), (c.x(4), variance)), start=1):
        if c.y(at):
            cut = c.op("Slice", new, c.w.ints(0), c.w.ints(channels), c.w.ints(0))
            kept = c.op("Mul", old, c.number(momentum, x))
            c.w.append_named("Add", [kept, c.op("Mul", cut, c.number(1 - momentum, x))], [c.y(at)])
    return {"centred": centred, "inverse": inverse, "slope": slope}


def batch_norm(c: Call, dy: str) -> Gradients:
    blocks, x = _blocks(c), c.x(0)
    n, _, *space = c.static(x)
    centred, inverse, slope = c.saved("centred"), c.saved("inverse"), c.saved("slope")
    if c.attr("relu"):
        positive = c.op("Cast", c.op("Greater", c.y(), c.number(0, x)), to=1)
        dy = blocks.say(c.op("Mul", dy, positive), c.static(x))
    errors, projected = blocks.total(dy), blocks.dot(dy, centred)
    result: dict[int, str] = {1: c.op("Mul", projected, inverse), 2: errors}
    if c.wants(0):
        share = c.op("Mul", slope, c.number(-1 / (n * prod(space)), x))
        pull = c.op("Mul", c.op("Mul", c.op("Mul", projected, inverse), inverse), share)
        rest = blocks.affine(centred, pull, c.op("Mul", errors, share))
        result[0] = blocks.affine(dy, slope, c.w.constant(np.zeros(c.size(x, 1))), plus=rest)
    return {at: gradient for at, gradient in result.items() if c.wants(at)}


BLOCKED: dict[str, Callable[[Call, str], Gradients]] = {
    f"{NCHWC}.Conv": conv,
    f"{NCHWC}.ReorderInput": reorder_input,
    f"{NCHWC}.ReorderOutput": reorder_output,
    f"{OWN}.BatchNormalization": batch_norm,
}
