"""Cases of operators that move, pick and place elements."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import helper
from tests.autodiff.drawing import Array, Builder, Draw, apart, flag, positive, random_of, shape_of, side
from tests.autodiff.finite_differences import Case, Held, Stored, call

__all__ = ["SHAPING"]


def ints(*values: int) -> Stored:
    return Stored(np.array(values, np.int64))


def placed(draw: Draw, array: Array) -> Any:
    """Indices, stored or fed."""
    return Stored(array) if flag(draw) else array


def reshape(draw: Draw) -> Case:
    shape = shape_of(draw)
    target = draw(st.sampled_from([(-1,), (0, -1), (shape[0], -1), (1, -1, 1)]))
    return call("Reshape", apart(random_of(draw), shape), ints(*target))


def flatten(draw: Draw) -> Case:
    shape = shape_of(draw)
    return call("Flatten", apart(random_of(draw), shape), axis=draw(st.integers(-len(shape), len(shape))))


def transpose(draw: Draw) -> Case:
    shape = shape_of(draw)
    given = {"perm": draw(st.permutations(range(len(shape))))} if flag(draw) else {}
    return call("Transpose", apart(random_of(draw), shape), **given)


def squeeze(draw: Draw) -> Case:
    shape = [1, *shape_of(draw, 1, 2), 1]
    axes = draw(st.sampled_from([(0,), (-1,), (0, len(shape) - 1), None]))
    return call("Squeeze", apart(random_of(draw), shape), *([] if axes is None else [ints(*axes)]))


def unsqueeze(draw: Draw) -> Case:
    return call(
        "Unsqueeze",
        apart(random_of(draw), shape_of(draw, 1, 2)),
        ints(*draw(st.sampled_from([(0,), (-1,), (0, 2), (2, 0)]))),
    )


def expand(draw: Draw) -> Case:
    shape = shape_of(draw, 1, 3)
    target = [draw(st.sampled_from([1, n])) if n > 1 else side(draw, 1, 3) for n in shape]
    lead = [side(draw, 1, 2) for _ in range(draw(st.integers(0, 1)))]
    return call("Expand", apart(random_of(draw), shape), ints(*lead, *target[-len(shape) :]))


def concat(draw: Draw) -> Case:
    random, shape = random_of(draw), shape_of(draw)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    parts: list[Any] = []
    for _ in range(draw(st.integers(1, 3))):
        own = list(shape)
        own[axis] = side(draw)
        parts.append(apart(random, own))
    if len(parts) > 1 and flag(draw):
        parts[0] = Held(parts[0])
    return call("Concat", *parts, axis=axis)


def split(draw: Draw) -> Case:
    shape = list(shape_of(draw))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    names = ["a", "b", "c"][: draw(st.integers(1, 3))]
    sizes = [side(draw, 1, 3) for _ in names]
    shape[axis] = sum(sizes)
    x = apart(random_of(draw), shape)
    if flag(draw):
        shape[axis] = len(names) * 2
        case = call("Split", apart(random_of(draw), shape), outputs=names, axis=axis, num_outputs=len(names))
    else:
        case = call("Split", x, ints(*sizes), outputs=names, axis=axis)
    if flag(draw):  # only one part reaches the loss
        return Case(case.nodes, case.feeds, [names[-1]], case.stored)
    return case


def slice_(draw: Draw) -> Case:
    shape = shape_of(draw)
    axes = draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, max_size=len(shape), unique=True))
    starts, ends, steps = [], [], []
    for axis in axes:
        n, step = shape[axis], draw(st.sampled_from([1, 1, 2, 3, -1, -2]))
        first = draw(st.integers(0, n - 1))
        last = draw(st.integers(first + 1, n)) if step > 0 else draw(st.integers(-1, first - 1))
        far = draw(st.sampled_from([2**31, 2**62, n + 5]))
        starts.append(first - n if flag(draw) else first)
        if step > 0:
            ends.append(far if last == n and flag(draw) else (last - n if last < n and flag(draw) else last))
        else:
            ends.append(-far if last < 0 else last)
        steps.append(step)
    signed = [axis - len(shape) if flag(draw) else axis for axis in axes]
    plain = all(step == 1 for step in steps)
    wrap = np.asarray if plain and flag(draw) else Stored  # with a step, bounds have to be stored
    bounds = [wrap(np.array(v)) for v in (starts, ends)] + [Stored(np.array(v)) for v in (signed, steps)]
    if all(step == 1 for step in steps) and flag(draw):
        bounds = bounds[:3]
        if axes == list(range(len(axes))) and flag(draw):
            bounds = bounds[:2]
    return call("Slice", apart(random_of(draw), shape), *bounds)


def pad(draw: Draw) -> Case:
    random, shape = random_of(draw), tuple(n + 1 for n in shape_of(draw, 1, 3))
    mode = draw(st.sampled_from(["constant", "constant", "edge", "reflect", "wrap"]))
    axes = sorted(draw(st.lists(st.integers(0, len(shape) - 1), min_size=1, max_size=len(shape), unique=True)))
    low = -1 if mode == "constant" and flag(draw) else 0
    pads = [draw(st.integers(low, min(2, shape[axis] - 1))) for _ in "ab" for axis in axes]
    if mode == "constant" and any(shape[a] + pads[i] + pads[len(axes) + i] < 1 for i, a in enumerate(axes)):
        pads = [0] * len(pads)
    value: Any = None
    if mode == "constant" and flag(draw):
        value = np.array(0.7) if flag(draw) else Stored(np.array(0.7))
    if axes == list(range(len(shape))) and flag(draw):
        return call("Pad", apart(random, shape), ints(*pads), *([] if value is None else [value]), mode=mode, opset=19)
    return call("Pad", apart(random, shape), ints(*pads), value, ints(*axes), mode=mode, opset=19)


def tile(draw: Draw) -> Case:
    shape = shape_of(draw)
    return call("Tile", apart(random_of(draw), shape), ints(*(side(draw, 1, 3) for _ in shape)))


def trilu(draw: Draw) -> Case:
    x = apart(random_of(draw), shape_of(draw, 2, 3))
    more = [Stored(np.array(draw(st.integers(-2, 2))))] if flag(draw) else []
    return call("Trilu", x, *more, upper=draw(st.integers(0, 1)))


def range_(draw: Draw) -> Case:
    start, step = np.array(0.3), np.array(0.5 + 0.25 * side(draw))
    return call("Range", start, Held(np.array(5.1)), step)


def reverse_sequence(draw: Draw) -> Case:
    random, batch, time = random_of(draw), side(draw), side(draw)
    lengths = random.integers(1, time + 1, batch)
    if flag(draw):
        return call(
            "ReverseSequence", apart(random, (time, batch, 2)), placed(draw, lengths), batch_axis=1, time_axis=0
        )
    return call("ReverseSequence", apart(random, (batch, time)), placed(draw, lengths), batch_axis=0, time_axis=1)


def depth_to_space(draw: Draw) -> Case:
    block = side(draw, 1, 3)
    x = apart(random_of(draw), (side(draw, 1, 2), block * block * side(draw, 1, 2), side(draw, 1, 3), side(draw, 1, 2)))
    given = {"mode": draw(st.sampled_from(["DCR", "CRD"]))} if flag(draw) else {}
    return call("DepthToSpace", x, blocksize=block, **given)


def space_to_depth(draw: Draw) -> Case:
    block = side(draw, 1, 3)
    x = apart(random_of(draw), (side(draw, 1, 2), side(draw, 1, 2), block * side(draw, 1, 3), block * side(draw, 1, 2)))
    return call("SpaceToDepth", x, blocksize=block)


def gather(draw: Draw) -> Case:
    random, shape = random_of(draw), shape_of(draw)
    axis = draw(st.sampled_from([0, 0, -1, len(shape) - 1]))
    n = shape[axis]
    indices = random.integers(-n, n, shape_of(draw, 0, 2)).astype(draw(st.sampled_from([np.int64, np.int32])))
    return call(
        "Gather",
        apart(random, shape),
        placed(draw, np.asarray(indices)),
        **({"axis": axis} if axis or flag(draw) else {}),
    )


def gather_elements(draw: Draw) -> Case:
    random, shape = random_of(draw), shape_of(draw)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    own = [side(draw, 1, n) for n in shape]
    own[axis] = side(draw)
    return call(
        "GatherElements", apart(random, shape), placed(draw, random.integers(-shape[axis], shape[axis], own)), axis=axis
    )


def gather_nd(draw: Draw) -> Case:
    random, shape = random_of(draw), (2, 3, 2)
    depth = draw(st.integers(1, 3))
    parts = [random.integers(-n, n, (2, 3)) for n in shape[:depth]]
    return call("GatherND", apart(random, shape), placed(draw, np.stack(parts, -1)))


def scatter_elements(draw: Draw) -> Case:
    random, shape = random_of(draw), (3, 4)
    axis = draw(st.integers(-2, 1))
    own = (2, 3)
    how = draw(st.sampled_from(["none", "add"]))
    if how == "add":
        indices = random.integers(-shape[axis], shape[axis], own)
    else:  # no place twice: the last one to be written is not defined
        line = random.permutation(shape[axis])[: own[axis]]
        indices = np.broadcast_to(line if axis in {1, -1} else line[:, None], own).copy()
    return call(
        "ScatterElements", apart(random, shape), placed(draw, indices), apart(random, own), axis=axis, reduction=how
    )


def scatter_nd(draw: Draw) -> Case:
    random, shape = random_of(draw), (3, 4, 2)
    depth, how = draw(st.integers(1, 2)), draw(st.sampled_from(["none", "add"]))
    if how == "add":
        indices = np.stack([random.integers(-n, n, 3) for n in shape[:depth]], -1)
    else:
        indices = np.stack([random.permutation(n)[:2] for n in shape[:depth]], -1)
    updates = apart(random, (len(indices), *shape[depth:]))
    return call("ScatterND", apart(random, shape), placed(draw, indices), updates, reduction=how)


def tensor_scatter(draw: Draw) -> Case:
    random = random_of(draw)
    past, update = apart(random, (2, 1, 4, 2)), apart(random, (2, 1, 2, 2))
    where = [Stored(np.array([1, 0]))] if flag(draw) else []
    return call("TensorScatter", past, update, *where, opset=24, reference=True)


def compress(draw: Draw) -> Case:
    random, shape = random_of(draw), shape_of(draw)
    axis = draw(st.sampled_from([None, 0, -1]))
    n = int(np.prod(shape)) if axis is None else shape[axis]
    chosen = random.random(n) < 0.6
    chosen[0] = True
    return call("Compress", apart(random, shape), placed(draw, chosen), **({} if axis is None else {"axis": axis}))


def unique(draw: Draw) -> Case:
    x = apart(random_of(draw), (side(draw, 1, 5),))
    return call("Unique", x, outputs=["y0", "first", "back", "count"], sorted=draw(st.integers(0, 1)))


def center_crop_pad(draw: Draw) -> Case:
    random, shape = random_of(draw), (4, 5)
    return call("CenterCropPad", apart(random, shape), ints(side(draw, 2, 6)), axes=[draw(st.integers(0, 1))])


def one_hot(draw: Draw) -> Case:
    random = random_of(draw)
    indices = random.integers(-3, 4, shape_of(draw, 1, 2))
    # onnxruntime has it for float32 only; linear in the two values.
    values = np.array([-0.25, 1.5], np.float32)
    given = {"axis": draw(st.integers(-1, 1)), "step": 0.5, "tolerance": 1e-5}
    return call("OneHot", placed(draw, indices), ints(4), values, **given)


def dft(draw: Draw) -> Case:
    random, length = random_of(draw), side(draw, 2, 5)
    axis = draw(st.sampled_from([0, 1]))
    parts = draw(st.integers(1, 2))
    x = apart(random, (length, 3, parts))
    given = {"inverse": draw(st.integers(0, 1))}
    if parts == 1 and flag(draw):
        given = {"onesided": 1}
    return call("DFT", x, None, Stored(np.array(axis)), opset=20, **given)


def stft(draw: Draw) -> Case:
    random = random_of(draw)
    signal, window = apart(random, (1, 10, 1)), positive(random, (4,))
    return call(
        "STFT",
        signal,
        Stored(np.array(side(draw, 2, 3))),
        Held(window),
        Stored(np.array(4)),
        onesided=draw(st.integers(0, 1)),
    )


def dequantize(draw: Draw) -> Case:
    random = random_of(draw)
    codes = random.integers(-9, 9, (3, 2)).astype(np.int8)
    scale, zero = positive(random, (2,)).astype(np.float32), random.integers(-2, 3, 2).astype(np.int8)
    return call("DequantizeLinear", Stored(codes), scale, Stored(zero), axis=1, step=0.25, tolerance=1e-5)


def both(draw: Draw) -> Case:
    """A table looked up twice, by other indices: two paths to one parameter."""
    random = random_of(draw)
    nodes = [
        helper.make_node("Gather", ["table", "a"], ["p"]), helper.make_node("Gather", ["table", "b"], ["q"]),
        helper.make_node("Mul", ["p", "q"], ["y"]),
    ]  # fmt: skip
    feeds = {"table": apart(random, (4, 2)), "a": random.integers(0, 4, 3), "b": random.integers(-4, 0, 3)}
    return Case(nodes, feeds, ["y"])


def gathered(draw: Draw) -> Case:
    return both(draw) if draw(st.integers(0, 5)) == 0 else gather(draw)


SHAPING: dict[str, Builder] = {
    "CenterCropPad": center_crop_pad, "Compress": compress, "Concat": concat, "DFT": dft, "DepthToSpace": depth_to_space,
    "DequantizeLinear": dequantize, "Expand": expand, "Flatten": flatten, "Gather": gathered, "GatherElements": gather_elements,
    "GatherND": gather_nd, "OneHot": one_hot, "Pad": pad, "Range": range_, "Reshape": reshape, "ReverseSequence": reverse_sequence,
    "STFT": stft, "ScatterElements": scatter_elements, "ScatterND": scatter_nd, "Slice": slice_, "SpaceToDepth": space_to_depth,
    "Split": split, "Squeeze": squeeze, "TensorScatter": tensor_scatter, "Tile": tile, "Transpose": transpose, "Trilu": trilu,
    "Unique": unique, "Unsqueeze": unsqueeze,
}  # fmt: skip
