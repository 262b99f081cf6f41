"""How channels go through operators that only move elements: Reshape and its kin, Concat, Split, Slice, Pad, Resize, Gather."""

from collections.abc import Mapping
from math import prod

import numpy as np
from onnx import NodeProto

from edgewise.compress.prune.atoms import Axis
from edgewise.compress.prune.axes import POSITION, Axes, NotUnderstoodError, number
from edgewise.compress.prune.rules import Rule
from edgewise.training.rewrites.opening import attribute, users

__all__ = ["MOVES", "bounds"]


def _transpose(axes: Axes, node: NodeProto) -> None:
    given = axes.of(node.input[0])
    order = attribute(node, "perm", None)
    places = list(order) if isinstance(order, list | tuple) else list(reversed(range(len(given))))
    axes.give(node.output[0], [given[at] for at in places])


def _concat(axes: Axes, node: NodeProto) -> None:
    parts = [axes.of(name) for name in node.input]
    along = number(node, "axis", 0) % len(parts[0])
    result: list[Axis] = []
    for at in range(len(parts[0])):
        pieces = [part[at] for part in parts]
        if at != along:
            for other in pieces[1:]:
                axes.tie(pieces[0], other)
            result.append(pieces[0])
        else:
            sized = [piece for piece in pieces if piece is not None]
            if len(sized) < len(pieces):
                for piece in sized:
                    axes.atoms.pin(piece, "it is joined to an open length")
            result.append(np.concatenate(sized) if len(sized) == len(pieces) else None)
    axes.give(node.output[0], result)


def _split(axes: Axes, node: NodeProto) -> None:
    given = axes.of(node.input[0])
    along = number(node, "axis", 0) % len(given)
    whole, start = given[along], 0
    for name in node.output:
        size = (axes.writer.shape(name) or given)[along]
        if whole is not None and not isinstance(size, int):
            raise NotUnderstoodError("the sizes of its parts are not known")
        part = whole[start : start + size] if whole is not None and isinstance(size, int) else None
        axes.give(name, [*given[:along], part, *given[along + 1 :]])
        start += 0 if part is None else len(part)


def bounds(axes: Axes, node: NodeProto, rank: int) -> list[tuple[int, int, int, int]]:
    """Axis, start, end and step of each cut of a Slice. Raises NotUnderstoodError where they are computed."""
    starts, ends = axes.ints(node.input[1]), axes.ints(node.input[2])
    if starts is None or ends is None:
        raise NotUnderstoodError("its bounds are computed")
    extra = [*node.input[3:], "", ""]
    over = axes.ints(extra[0]) if extra[0] else list(range(len(starts)))
    steps = axes.ints(extra[1]) if extra[1] else [1] * len(starts)
    if over is None or steps is None:
        raise NotUnderstoodError("its axes or steps are computed")
    return [(at % rank, a, b, c) for at, a, b, c in zip(over, starts, ends, steps, strict=True)]


def _slice(axes: Axes, node: NodeProto) -> None:
    result = list(axes.of(node.input[0]))
    for at, start, end, step in bounds(axes, node, len(result)):
        axis = result[at]
        if axis is None:
            continue
        if step != 1:
            axes.atoms.pin(axis, "a Slice takes it in steps")
        result[at] = axis[slice(start, end, step)]
    axes.give(node.output[0], result)


def _reshape(axes: Axes, node: NodeProto) -> None:
    if node.op_type == "Reshape" and axes.ints(node.input[1]) is None:
        raise NotUnderstoodError("its target is computed")
    given, shape = axes.of(node.input[0]), axes.writer.shape(node.output[0])
    if shape is None:
        raise NotUnderstoodError("the shape of its result is not known")
    before = [None if axis is None else len(axis) for axis in given]
    after = [size if isinstance(size, int) else None for size in shape]
    result: list[Axis] = []
    for taken, made in _segments(before, after):
        result += _regrouped(axes, [given[at] for at in taken], [after[at] for at in made])
    axes.give(node.output[0], result)


def _segments(before: list[int | None], after: list[int | None]) -> list[tuple[list[int], list[int]]]:
    """The shortest runs of dimensions on both sides that hold the same number of elements."""
    found, one, other = [], 0, 0
    while one < len(before) or other < len(after):
        taken, made = [one] * (one < len(before)), [other] * (other < len(after))
        one, other = one + len(taken), other + len(made)
        while (left := _size(before, taken)) != (right := _size(after, made)):
            if (
                left is None
                or right is None
                or (left < right and one == len(before))
                or (left > right and other == len(after))
            ):
                raise NotUnderstoodError("which dimensions become which is not known")
            if left < right:
                taken.append(one)
                one += 1
            else:
                made.append(other)
                other += 1
        found.append((taken, made))
    return found


def _size(dims: list[int | None], places: list[int]) -> int | None:
    sizes = [dims[at] for at in places]
    known = [size for size in sizes if size is not None]
    return prod(known) if len(known) == len(sizes) else None


def _regrouped(axes: Axes, given: list[Axis], sizes: list[int | None]) -> list[Axis]:
    """The axes of ``sizes``, holding the same elements as ``given``."""
    if len(given) == len(sizes) == 1:
        return given
    sized = [axis for axis in given if axis is not None]
    wanted = [size for size in sizes if size is not None]
    if len(sized) < len(given) or len(wanted) < len(sizes):
        raise NotUnderstoodError("which dimensions become which is not known")
    return list(_parted(axes, _merged(axes, sized), wanted))


def _merged(axes: Axes, given: list[np.ndarray]) -> np.ndarray:
    """One axis from several: channels repeat for every position. Where two hold channels, the outer one keeps its freedom."""
    if not given:
        return axes.atoms.fixed(1, POSITION)
    free = [at for at, axis in enumerate(given) if not axes.atoms.stays(axis)]
    for at in free[1:]:
        axes.atoms.pin(given[at], "it is merged with another axis of channels")
    at = free[0] if free else 0
    shape = [len(axis) for axis in given]
    return np.broadcast_to(given[at].reshape([-1 if k == at else 1 for k in range(len(shape))]), shape).reshape(-1)


def _parted(axes: Axes, flat: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    """Several axes from one: the one that the channels change along, or else the outermost, whose blocks then stay together."""
    result = [axes.atoms.fixed(size, POSITION) for size in sizes]
    if axes.atoms.stays(flat) or not sizes:
        return [axes.atoms.fixed(size, axes.atoms.reason(int(flat[0])) or POSITION) for size in sizes]
    places = axes.atoms.roots(flat).reshape(sizes)
    along = next((at for at in range(len(sizes)) if _changes_only_along(places, at)), None)
    if along is None:
        along = next(at for at, size in enumerate(sizes) if size > 1)
        blocks = np.moveaxis(flat.reshape(sizes), along, 0).reshape(sizes[along], -1)
        for column in range(1, blocks.shape[1]):
            axes.tie(blocks[:, 0], blocks[:, column])
    result[along] = np.moveaxis(flat.reshape(sizes), along, 0).reshape(sizes[along], -1)[:, 0]
    return result


def _changes_only_along(places: np.ndarray, along: int) -> bool:
    lines = np.moveaxis(places, along, 0).reshape(places.shape[along], -1)
    return bool((lines == lines[:, :1]).all())


def _squeeze(axes: Axes, node: NodeProto) -> None:
    over = axes.ints(node.input[1]) if len(node.input) > 1 else None
    if over is None:
        raise NotUnderstoodError("which axes it takes out is not said")
    given = axes.of(node.input[0])
    gone = {at % len(given) for at in over}
    axes.give(node.output[0], [axis for at, axis in enumerate(given) if at not in gone])


def _unsqueeze(axes: Axes, node: NodeProto) -> None:
    over = axes.ints(node.input[1])
    if over is None:
        raise NotUnderstoodError("its axes are computed")
    given = iter(axes.of(node.input[0]))
    rank = len(axes.of(node.input[0])) + len(over)
    new = {at % rank for at in over}
    axes.give(node.output[0], [axes.atoms.fixed(1, POSITION) if at in new else next(given) for at in range(rank)])


def _expand(axes: Axes, node: NodeProto) -> None:
    if axes.ints(node.input[1]) is None:
        raise NotUnderstoodError("its target is computed")
    given, made = axes.of(node.input[0]), axes.positions(node.output[0])
    ahead = len(made) - len(given)
    axes.give(node.output[0], [*made[:ahead], *(
        new if old is not None and len(old) == 1 else old for old, new in zip(given, made[ahead:], strict=True)
    )])  # fmt: skip


def _resized(axes: Axes, node: NodeProto) -> None:
    """Pad and Resize: axes that keep their length keep their channels, the others hold positions."""
    sizes = [name for name in node.input[1:] if name]
    if any(axes.writer.array(name) is None for name in sizes):
        raise NotUnderstoodError("its sizes are computed")
    given, made = axes.of(node.input[0]), axes.positions(node.output[0])
    result = []
    for at, (old, new) in enumerate(zip(given, made, strict=True)):
        same = old is not None and new is not None and len(old) == len(new) and not _shifted(axes, node, at, len(given))
        if not same:
            axes.atoms.pin(old, f"{node.op_type} changes its length")
        result.append(old if same else new)
    axes.give(node.output[0], result)


def _shifted(axes: Axes, node: NodeProto, at: int, rank: int) -> bool:
    """Whether a Pad adds to one end what it takes from the other."""
    if node.op_type != "Pad":
        return False
    if len(node.input) > 3 and node.input[3]:
        return True  # pads of chosen axes only: not looked into
    pads = axes.ints(node.input[1]) or []
    return bool(pads[at] or pads[at + rank])


def _gather(axes: Axes, node: NodeProto) -> None:
    given, indices = axes.of(node.input[0]), axes.of(node.input[1])
    at = number(node, "axis", 0) % len(given)
    axes.atoms.pin(given[at], "it is looked up by index")
    axes.give(node.output[0], [*given[:at], *indices, *given[at + 1 :]])


def _shape(axes: Axes, node: NodeProto) -> None:
    """Only the lengths that are read stay."""
    given = axes.of(node.input[0])
    readers = users(axes.writer, node.output[0])
    read: set[int] = set()
    for reader in readers:
        wanted = axes.ints(reader.input[1]) if reader.op_type == "Gather" else None
        read |= set(range(len(given))) if wanted is None else {at % len(given) for at in wanted}
    if number(node, "start", 0) or attribute(node, "end", None) is not None:
        read = set(range(len(given)))
    for at in read:
        axes.atoms.pin(given[at], "its length is read by a Shape")
    axes.give(node.output[0], axes.positions(node.output[0]))


#: Operator of the standard domain -> its rule.
MOVES: Mapping[str, Rule] = {
    "Transpose": _transpose, "Concat": _concat, "Split": _split, "Slice": _slice, "Reshape": _reshape, "Flatten": _reshape,
    "Squeeze": _squeeze, "Unsqueeze": _unsqueeze, "Expand": _expand, "Pad": _resized, "Resize": _resized, "Gather": _gather,
    "Shape": _shape,
}  # fmt: skip
