"""Dropout whose masks follow from a seed, with the same bits on every machine (Srivastava et al. 2014).

A mask is a function of (seed, place of the node, index of the element), so nothing is remembered between steps and a resumed
run draws what the first one would have drawn. The element's index is split into a row and a column. Rows and columns, being
few, are hashed well (two rounds of a 32-bit mixer in unsigned integers, whose overflow is defined); an element takes the
product of its two hashes, both odd, modulo 2^32. That is one pass over the elements; comparing, choosing the factor and
multiplying are three more.

The mixer's constants are those of "lowbias32" (Chris Wellons, Prospecting for hash functions, 2018).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper

from edgewise.errors import InputError, UnsupportedError
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.opening import closed, node_name, opened, remove
from edgewise.training.rewrites.patterns import matching

__all__ = ["SEED", "train_dropout"]

#: Name of the input, an int64 scalar.
SEED = "seed"
_MIX = (0x7FEB352D, 0x846CA68B)
_GOLDEN = 0x9E3779B9  # 2^32 over the golden ratio: neighbours in a row start far apart
_WORD = 0xFFFFFFFF
_DEFAULT = 0.5  # ONNX Dropout-13, input ratio


def train_dropout(
    model: ModelProto,
    nodes: Sequence[str] = ("*",),
    *,
    ratio: float | None = None,
    after: Mapping[str, float] | None = None,
) -> ModelProto:
    """Put Dropout nodes (by shell patterns of their names) into training form, driven by a new input ``seed`` (int64, ()).

    An element is 0 with probability ``ratio``, else divided by 1 - ratio. ratio: for all; each node's own where None is given.
    after: value of the graph -> ratio, for further places: many exporters drop Dropout nodes from inference graphs.
    A seed must not be used twice. Raises InputError where a pattern or value is not in the graph, or a ratio not in [0, 1);
    UnsupportedError where a node's ratio is computed or its mask is read.
    """
    writer = opened(model)
    found = [node for node in writer.graph.node if node.op_type == "Dropout"]
    wanted = set(matching(nodes, [node_name(node) for node in found], "Dropout nodes"))
    chosen = [node for node in found if node_name(node) in wanted]
    places = [
        _Place(node.input[0], node.output[0], _ratio(writer, node) if ratio is None else ratio) for node in chosen
    ]
    _check_masks(writer, chosen)
    remove(writer, chosen)
    places += [_behind(writer, value, share) for value, share in (after or {}).items()]
    _check_ratios(places)
    if places:
        seed = writer.input(SEED, "int64", ())
        if seed != SEED:
            raise InputError(f"the model has a value called {SEED!r} already", remedy="Rename it.")
        keys = _keys(writer, seed)
        for number, place in enumerate(places):
            if place.ratio > 0:
                _drop(writer, place, keys, number)
            else:
                writer.append_named("Identity", [place.before], [place.after])
    return closed(writer)


@dataclass(frozen=True, slots=True)
class _Place:
    before: str
    after: str
    ratio: float


def _check_ratios(places: Sequence[_Place]) -> None:
    wrong = [f"{place.after}: {place.ratio}" for place in places if not 0 <= place.ratio < 1]
    if wrong:
        raise InputError(f"the ratio of a dropout must be at least 0 and below 1; {'; '.join(wrong)}")


def _ratio(writer: Writer, node: NodeProto) -> float:
    if len(node.input) < 2 or not node.input[1]:
        return _DEFAULT
    stored = writer.array(node.input[1])
    if stored is None:
        raise UnsupportedError(
            f"Dropout ({node_name(node)}): its ratio is computed",
            remedy="Give ratio=, or leave the node out.",
            node=node_name(node),
        )
    return float(stored.reshape(-1)[0])


def _check_masks(writer: Writer, nodes: Sequence[NodeProto]) -> None:
    read = {name for node in writer.graph.node for name in node.input} | {value.name for value in writer.graph.output}
    masks = [node_name(node) for node in nodes if len(node.output) > 1 and node.output[1] in read]
    if masks:
        raise UnsupportedError(
            f"the mask of Dropout is read: {', '.join(masks)}", remedy="Leave these nodes out.", nodes=masks
        )


def _behind(writer: Writer, value: str, ratio: float) -> _Place:
    """Everything that read ``value`` reads what comes out of a dropout behind it."""
    made = {name for node in writer.graph.node for name in node.output} | {item.name for item in writer.graph.input}
    (value,) = matching([value], sorted(made), "values")[:1]
    if any(item.name == value for item in writer.graph.output):
        raise InputError(f"{value!r} is an output of the model; a dropout has to stand before a layer")
    dropped = writer.fresh(f"{value}/dropout")
    writer.declare(dropped, writer.dtype(value), writer.shape(value))
    for node in writer.graph.node:
        for at, name in enumerate(node.input):
            if name == value:
                node.input[at] = dropped
    return _Place(value, dropped, ratio)


def _keys(w: Writer, seed: str) -> tuple[str, str]:
    """Two words from the seed's two halves, each depending on both."""
    low = _word(w, w.node("BitwiseAnd", seed, w.constant(_WORD, "int64")))
    high = w.node("Div", seed, w.constant(1 << 32, "int64"))
    high = _word(w, w.node("BitwiseAnd", high, w.constant(_WORD, "int64")))
    first = _mixed(w, w.node("BitwiseXor", low, _mixed(w, w.node("Add", high, _number(w, _GOLDEN)))))
    second = _mixed(w, w.node("Add", first, _mixed(w, w.node("BitwiseXor", high, _number(w, _MIX[0])))))
    return first, second


def _drop(w: Writer, place: _Place, keys: tuple[str, str], number: int) -> None:
    dtype, shape = w.dtype(place.before), w.shape(place.before)
    if shape is None or not dtype.startswith("float"):
        raise UnsupportedError(f"the type or rank of {place.before!r} is not known, so nothing can be dropped from it")
    # Rows: samples, and channels where there is space behind them; columns: all the rest.
    lead = 0 if len(shape) < 2 else 1 if len(shape) == 2 else 2
    sizes = w.node("Shape", place.before)
    rows = w.node("ReduceProd", w.node("Shape", place.before, start=0, end=lead), keepdims=0)
    columns = w.node("ReduceProd", w.node("Shape", place.before, start=lead), keepdims=0)
    zero, one = w.constant(0, "int64"), w.constant(1, "int64")
    index = _word(w, w.node("Range", zero, w.node("Add", rows, columns), one))
    hashed = w.node("BitwiseOr", _hashed(w, index, keys, number), _number(w, 1))
    cut = w.node("Unsqueeze", rows, w.ints(0))
    by_row = w.node("Slice", hashed, w.ints(0), cut, w.ints(0))
    by_column = w.node("Slice", hashed, cut, w.ints(2**62), w.ints(0))
    chance = w.node("Mul", w.node("Unsqueeze", by_row, w.ints(1)), by_column)
    kept = w.node("GreaterOrEqual", chance, _number(w, round(place.ratio * 2**32)))
    factor = w.node("Where", kept, w.constant(1 / (1 - place.ratio), dtype), w.constant(0, dtype))
    factor = w.declare(w.node("Reshape", factor, sizes), dtype, shape)
    w.append(helper.make_node("Mul", [place.before, factor], [place.after], w.fresh("Dropout")))


def _hashed(w: Writer, index: str, keys: tuple[str, str], number: int) -> str:
    """Two rounds; a key enters before each, so that the streams of two seeds or two nodes are not shifts of each other."""
    own = np.random.SeedSequence(number).generate_state(2)
    first, second = (w.node("BitwiseXor", key, _number(w, int(word))) for key, word in zip(keys, own, strict=True))
    spread = w.node("Mul", index, _number(w, _GOLDEN))
    return _mixed(w, w.node("Add", _mixed(w, w.node("Add", spread, first)), second))


def _mixed(w: Writer, x: str) -> str:
    for shift, factor in zip((16, 15), _MIX, strict=True):
        x = w.node("BitwiseXor", x, w.node("BitShift", x, _number(w, shift), direction="RIGHT"))
        x = w.node("Mul", x, _number(w, factor))
    return w.node("BitwiseXor", x, w.node("BitShift", x, _number(w, 16), direction="RIGHT"))


def _word(w: Writer, value: str) -> str:
    return w.node("Cast", value, to=TensorProto.UINT32)


def _number(w: Writer, value: int) -> str:
    return w.constant(value, "uint32")
