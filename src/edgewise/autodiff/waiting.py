"""Making one value wait for another, in a graph whose runtime may run nodes in any order that their inputs allow."""

from onnx import TensorProto

from edgewise.graph.writer import Writer

__all__ = ["after"]


def after(w: Writer, value: str, other: str) -> str:
    """``value``, available only once ``other`` is: its shape gets a zero added that is computed from ``other``.

    Costs five nodes that touch a few numbers; the value itself is not copied.
    """
    row = w.node("Reshape", other, w.ints(-1))
    one = w.node("Cast", w.node("Gather", row, w.ints(0)), to=TensorProto.INT64)
    zero = w.node("Mul", one, w.ints(0))
    shape = w.node("Add", w.node("Shape", value), zero)
    return w.declare(w.node("Reshape", value, shape), w.dtype(value), w.shape(value))
