"""Gradients of normalisations."""

from edgewise.autodiff.broadcast import reduce_sum, unbroadcast
from edgewise.autodiff.call import Call, Gradients

__all__ = ["batch_norm", "layer_norm", "lower_batch_norm"]


def layer_norm(c: Call, dy: str) -> Gradients:
    """Ba, Kiros & Hinton 2016. The node itself gives mean and 1/deviation, so nothing is computed twice."""
    x = c.x(0)
    rank = c.rank(x)
    axis = int(c.attr("axis", -1)) % rank
    axes = list(range(axis, rank))
    centred, inverse = _centred(c, axes)
    normal = c.op("Mul", centred, inverse)
    result: dict[int, str] = {}
    if c.wants(1):
        result[1] = unbroadcast(c, c.op("Mul", dy, normal), c.x(1), c.y())
    if c.x(2) and c.wants(2):
        result[2] = unbroadcast(c, dy, c.x(2), c.y())
    if c.wants(0):
        scaled = c.op("Mul", dy, c.x(1))
        mean = c.op("ReduceMean", scaled, c.w.ints(*axes), keepdims=1)
        along = c.op("ReduceMean", c.op("Mul", scaled, normal), c.w.ints(*axes), keepdims=1)
        inner = c.op("Sub", c.op("Sub", scaled, mean), c.op("Mul", normal, along))
        result[0] = c.op("Mul", inner, inverse)
    return result


def _centred(c: Call, axes: list[int]) -> tuple[str, str]:
    """x minus its mean, and 1/deviation."""
    x = c.x(0)
    if c.w.dtype(x) != "float32":  # the node gives both in float32 (stash_type)
        centred = c.op("Sub", x, c.op("ReduceMean", x, c.w.ints(*axes), keepdims=1))
        variance = c.op("ReduceMean", c.op("Mul", centred, centred), c.w.ints(*axes), keepdims=1)
        deviation = c.op("Sqrt", c.op("Add", variance, c.number(float(c.attr("epsilon", 1e-5)), x)))
        return centred, c.op("Reciprocal", deviation)
    while len(c.node.output) < 3:
        c.node.output.append("")
    for at, name in ((1, "mean"), (2, "inverse")):
        if not c.node.output[at]:
            c.node.output[at] = c.w.fresh(f"{c.y()}/{name}")
    return c.op("Sub", x, c.node.output[1]), c.node.output[2]


def batch_norm(c: Call, dy: str) -> Gradients:
    """Ioffe & Szegedy 2015: with the statistics of the batch (training_mode), or with frozen ones."""
    x, rank = c.x(0), c.rank(c.x(0))
    across = [0, *range(2, rank)]
    column = c.w.ints(-1, *[1] * (rank - 2))
    result: dict[int, str] = {}
    if c.attr("training_mode", 0):
        centred, inverse, count = c.saved("centred"), c.saved("inverse"), c.saved("count")
    else:
        centred = c.op("Sub", x, c.op("Reshape", c.x(3), column))
        deviation = c.op("Sqrt", c.op("Add", c.x(4), c.number(float(c.attr("epsilon", 1e-5)), c.x(4))))
        inverse, count = c.op("Reciprocal", deviation), ""
    errors = reduce_sum(c.w, dy, across, rank, keepdims=False)
    projected = reduce_sum(c.w, c.op("Mul", dy, centred), across, rank, keepdims=False)
    if c.wants(1):
        result[1] = c.op("Mul", projected, inverse)
    if c.wants(2):
        result[2] = errors
    slope = c.op("Mul", c.x(1), inverse)
    if not count:  # frozen statistics may themselves be trained
        if c.wants(3):
            result[3] = c.op("Neg", c.op("Mul", errors, slope))
        if c.wants(4):
            pull = c.op("Mul", c.op("Mul", slope, c.op("Mul", inverse, inverse)), c.number(-0.5, x))
            result[4] = c.op("Mul", projected, pull)
    if c.wants(0):
        scaled = c.op("Mul", dy, c.op("Reshape", slope, column))
        if count:
            # dx = slope (dy - mean(dy) - centred * inverse^2 * mean(dy * centred))
            share = c.op("Div", slope, count)
            pull = c.op("Mul", c.op("Mul", c.op("Mul", projected, inverse), inverse), share)
            along = c.op("Mul", centred, c.op("Reshape", pull, column))
            scaled = c.op("Sub", c.op("Sub", scaled, along), c.op("Reshape", c.op("Mul", errors, share), column))
        result[0] = scaled
    return result


def lower_batch_norm(c: Call) -> dict[str, str]:
    """The forward pass of training-mode BatchNormalization, which stock onnxruntime does not have.

    Writes the node's own outputs (Y, running_mean, running_var) and gives what the gradient needs again.
    """
    x, rank = c.x(0), c.rank(c.x(0))
    across, column = [0, *range(2, rank)], c.w.ints(-1, *[1] * (rank - 2))
    momentum, epsilon = float(c.attr("momentum", 0.9)), float(c.attr("epsilon", 1e-5))
    sizes = c.op("Shape", x)
    channels = c.op("Shape", c.x(1))
    count = c.op("CastLike", c.op("Div", c.op("ReduceProd", sizes, keepdims=1), channels), x)
    mean = c.op("Div", reduce_sum(c.w, x, across, rank, keepdims=False), count)
    centred = c.op("Sub", x, c.op("Reshape", mean, column))
    variance = c.op("Div", reduce_sum(c.w, c.op("Mul", centred, centred), across, rank, keepdims=False), count)
    inverse = c.op("Reciprocal", c.op("Sqrt", c.op("Add", variance, c.number(epsilon, x))))
    # The runtime's own inference form scales and shifts in one pass.
    zero, one = c.op("Sub", mean, mean), c.number(1, x)
    unit = c.op("Expand", one, channels)
    slope = c.op("Mul", c.x(1), inverse)
    c.w.append_named("BatchNormalization", [centred, slope, c.x(2), zero, unit], [c.y()], epsilon=0.0)
    for at, (old, new) in enumerate(((c.x(3), mean), (c.x(4), variance)), start=1):
        if c.y(at):
            kept = c.op("Mul", old, c.number(momentum, old))
            c.w.append_named("Add", [kept, c.op("Mul", new, c.number(1 - momentum, x))], [c.y(at)])
    for name in (centred,):
        c.w.declare(name, c.w.dtype(x), c.w.shape(x))
    return {"centred": centred, "inverse": inverse, "count": count}
