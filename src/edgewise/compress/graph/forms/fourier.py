"""The basis of a short-time Fourier transform, a convolution's weight, as what it is: a window times cosines.

A quarter of a megabyte for frames of 256 becomes two vectors and a dozen nodes, which onnxruntime folds when it opens the file.
The basis is found by its structure (rows w cos(2 pi k n / N), then rows +-w sin) and the expression is run and compared before it
takes the place of the tensor: floats come out within rounding, integers behind a QuantizeLinear to the last one.
"""

from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto

from edgewise.compress.graph.forms.constants import Expression
from edgewise.graph.writer import Writer
from edgewise.measure.npz import Array
from edgewise.training.rewrites.opening import attribute, closed, opened

__all__ = ["fourier_expressed"]

_LEAST = 8192  # elements
_ROUNDING = 3e-6  # of the largest element
_TIES = 0.002  # of the integers, that may be written one by one
_STEP = 0.51  # of a quantization step: how far an integer is from what it stands for


@dataclass(frozen=True, slots=True)
class _Basis:
    """window: (N,). sign: of the sines' rows. bins: rows of cosines, and of sines."""

    window: Array
    sign: int
    bins: int

    def rows(self) -> Array:
        """(2 bins, N), double."""
        size = len(self.window)
        angle = 2 * np.pi * (np.outer(np.arange(self.bins), np.arange(size)) % size) / size
        return np.concatenate([np.cos(angle), self.sign * np.sin(angle)]) * self.window


def fourier_expressed(model: ModelProto) -> ModelProto:
    """``model`` with every stored Fourier basis as an expression."""
    writer, changed = opened(model), False
    quantized = {node.input[0]: node for node in writer.graph.node if node.op_type == "DequantizeLinear"}
    read = [tensor.name for tensor in writer.graph.initializer if int(np.prod(tensor.dims)) >= _LEAST]
    outputs = {value.name for value in writer.graph.output}
    for name in read:
        array = writer.array(name)
        if array is None or name in outputs:
            continue
        if array.dtype == np.float32:
            changed = _floats(writer, name, np.asarray(array)) or changed
        elif array.dtype == np.int8 and name in quantized:
            changed = _integers(writer, name, np.asarray(array), quantized[name]) or changed
    return closed(writer) if changed else model


def _floats(writer: Writer, name: str, array: Array) -> bool:
    basis = _found(array.reshape(-1, array.shape[-1]).astype(np.float64), _ROUNDING * float(np.abs(array).max()))
    if basis is None:
        return False
    whole = Expression(writer)
    result = _written(whole, basis, array.shape)
    if whole.size >= array.nbytes:
        return False
    whole.write(result, name)
    return True


def _integers(writer: Writer, name: str, array: Array, node: NodeProto) -> bool:
    scale, zero = writer.array(node.input[1]), writer.array(node.input[2]) if len(node.input) > 2 else None
    if scale is None or scale.ndim != 1 or attribute(node, "axis", 1) != 0 or (zero is not None and zero.any()):
        return False
    steps = np.asarray(scale, np.float64).reshape(-1, *[1] * (array.ndim - 1))
    numbers = array * steps
    basis = _found(
        numbers.reshape(-1, array.shape[-1]),
        _STEP * np.repeat(scale.astype(np.float64), array[0].size // array.shape[-1])[:, None],
    )
    if basis is None:
        return False
    whole = Expression(writer)
    floats = _written(whole, basis, array.shape)
    zeros = whole.constant(np.zeros(len(scale)), "int8") if zero is None else node.input[2]
    result = whole.node("QuantizeLinear", floats, node.input[1], zeros, axis=0)
    made = whole.evaluate(result, *node.input[1:])
    places = np.argwhere(made != array)  # where a tie between two integers fell the other way
    if len(places) > _TIES * array.size:
        return False
    if len(places):
        at = whole.node("Reshape", whole.wide(places.reshape(-1)), whole.constant(places.shape))
        result = whole.node("ScatterND", result, at, whole.constant(array[tuple(places.T)], "int8"))
    if whole.size >= array.nbytes or not np.array_equal(whole.evaluate(result, *node.input[1:]), array):
        return False
    whole.write(result, name)
    return True


def _found(rows: Array, within: float | Array) -> _Basis | None:
    """The basis that ``rows`` (R, N) are, each number ``within`` so much of it."""
    count, size = rows.shape
    bins = count // 2
    if count % 2 or size % 4 or not 1 < bins <= size // 2 + 1:
        return None
    for sign in (1, -1):
        plain = _Basis(np.ones(size), sign, bins).rows()
        # Least squares of the window, position by position; all rows have a say.
        fitted = (rows * plain).sum(axis=0) / np.square(plain).sum(axis=0)
        for window in (fitted, *_known(fitted)):
            basis = _Basis(window.astype(np.float32).astype(np.float64), sign, bins)
            if np.all(np.abs(basis.rows() - rows) <= within):
                return basis
    return None


def _known(fitted: Array) -> list[Array]:
    """The usual windows, where the fitted one is nearly one of them: integers tell a window only roughly."""
    size = len(fitted)
    whole = np.arange(size)
    found = []
    for period in (size, size - 1):
        turn = 2 * np.pi * whole / period
        found += [
            0.5 - 0.5 * np.cos(turn),
            0.54 - 0.46 * np.cos(turn),
            0.42 - 0.5 * np.cos(turn) + 0.08 * np.cos(2 * turn),
        ]
    return [window for window in (np.ones(size), *found) if np.abs(window - fitted).max() < 1e-2]


def _written(whole: Expression, basis: _Basis, shape: tuple[int, ...]) -> str:
    """Nodes that give ``basis`` in this shape: rows r = 0, 1, ... of frequency r mod bins, the second half a quarter turn on."""
    size, bins = len(basis.window), basis.bins
    row = whole.node("Unsqueeze", whole.range(2 * bins), whole.constant([1]))
    count = whole.constant(bins)
    frequency, half = whole.node("Mod", row, count), whole.node("Div", row, count)
    quarter = size // 4 if basis.sign < 0 else 3 * size // 4  # cos(a + pi / 2) = -sin(a)
    turned = whole.node("Mul", half, whole.constant(quarter))
    steps = whole.node("Add", whole.node("Mul", frequency, whole.range(size)), turned)
    turns = whole.node("Mod", steps, whole.constant(size))
    table = whole.constant(np.cos(2 * np.pi * np.arange(size) / size), "float32")
    made = whole.node("Mul", whole.node("Gather", table, turns), whole.constant(basis.window, "float32"))
    return whole.node("Reshape", made, whole.constant(shape))
