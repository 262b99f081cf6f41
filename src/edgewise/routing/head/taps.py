"""Where a head reads in a graph: the scores of the deciding output before they are squeezed, and what the last layer was given.

In a quantized graph a value in floats stands between two conversions, which onnxruntime merges with the layers beside it. Who reads
it keeps it alive, and the layer runs in floats, with other bits. So integers are read, through a conversion of our own. Inside a
graph in halves nothing is read: on processors it is computed in 32 bits, and where it is rounded depends on who reads.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from onnx import NodeProto, TensorProto

from edgewise.errors import InputError, UnsupportedError
from edgewise.graph.walk import is_default_domain
from edgewise.graph.writer import Writer

__all__ = ["Taps", "find_taps", "readable"]

_SQUEEZED = {"Softmax", "LogSoftmax", "Sigmoid"}
_CARRIED = {"Identity", "Cast", "QuantizeLinear", "DequantizeLinear", "Dropout"}
#: What may stand between the last layer and the scores: its bias, scales, changes of shape.
_BEHIND = _SQUEEZED | _CARRIED | {
    "Add", "Sub", "Mul", "Div", "Clip", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose",
    "GlobalAveragePool", "GlobalMaxPool", "ReduceMean", "ReduceMax", "BatchNormalization", "QLinearAdd", "QLinearSoftmax",
    "QLinearSigmoid", "QLinearGlobalAveragePool",
}  # fmt: skip
#: Layers, and where scale and zero point of their first input stand, for those that take integers with both.
_LAYERS: Mapping[str, tuple[int, int] | None] = {
    "Gemm": None, "MatMul": None, "Conv": None, "MatMulInteger": None, "ConvInteger": None,
    "QLinearMatMul": (1, 2), "QLinearConv": (1, 2),
    # com.microsoft
    "QGemm": (1, 2), "FusedGemm": None, "FusedMatMul": None, "FusedConv": None, "MatMulNBits": None,
    "DynamicQuantizeMatMul": None, "MatMulIntegerToFloat": None,
}  # fmt: skip
_HALVES = ("float16", "bfloat16")
_FLOATS = ("float32", "float64", *_HALVES)
_INTEGERS = ("int8", "uint8", "int16", "uint16")
_SCORES = 2  # axes
_MAPS = 4  # axes of feature maps: samples, channels, height, width


@dataclass(frozen=True, slots=True)
class Taps:
    """scores: the value to read. squeezed: behind it the graph itself makes probabilities of them, by softmax or sigmoid.

    hidden: what the last layer was given, "" where there is none that a head can read; ``width``: values of a sample in it.
    grid: scale and zero point of ``hidden`` where the layer has them and no conversion stands before it.
    """

    scores: str
    squeezed: bool
    hidden: str = ""
    width: int = 0
    grid: tuple[str, str] | None = None


def find_taps(w: Writer, output: str) -> Taps:
    """Where to read behind ``output``. Raises InputError where there is no such output, UnsupportedError where it has no scores."""
    outputs = [value.name for value in w.graph.output]
    if output not in outputs:
        raise InputError(f"the model has no output {output!r}", remedy=f"Name one of {', '.join(outputs)}.")
    makers = {name: node for node in w.graph.node for name in node.output if name}
    scores, squeezed, at = output, False, output
    while (node := makers.get(at)) is not None and node.op_type in _SQUEEZED | _CARRIED:
        at = node.input[0]
        if node.op_type in _SQUEEZED and w.dtype(at) not in _HALVES:
            scores, squeezed = at, True
    _require_scores(w, scores, makers)
    hidden, grid = _hidden(w, scores, makers)
    width = _width(w, hidden)
    return Taps(scores, squeezed, hidden, width, grid) if width else Taps(scores, squeezed)


def readable(w: Writer, value: str, grid: tuple[str, str] | None = None) -> str:
    """``value`` as float32 (N, values), written behind the graph so that nothing else in it runs otherwise."""
    maker = next((node for node in w.graph.node if value in node.output), None)
    rank = len(w.shape(value) or ())
    if maker is not None and maker.op_type == "DequantizeLinear":
        copy = NodeProto()
        copy.CopyFrom(maker)
        copy.name = w.fresh("DequantizeLinear")
        copy.output[0] = w.declare(w.fresh("DequantizeLinear"), w.dtype(value), w.shape(value))
        w.append(copy)
        value = copy.output[0]
    elif w.dtype(value) in _INTEGERS:
        given = grid or (tuple(maker.input[1:3]) if maker is not None and maker.op_type == "QuantizeLinear" else None)
        if given is None:
            raise UnsupportedError(f"it is not known what the integers of {value!r} stand for")
        dtype, value = w.dtype(given[0]), w.node("DequantizeLinear", value, *given)
        w.declare(value, dtype or "float32", None)
    if w.dtype(value) != "float32":
        value = w.node("Cast", value, to=TensorProto.FLOAT)
    if rank == _MAPS:
        value = w.node("GlobalAveragePool", value)
    return value if rank == _SCORES else w.node("Flatten", value, axis=1)


def _require_scores(w: Writer, scores: str, makers: Mapping[str, NodeProto]) -> None:
    dtype, shape = w.dtype(scores), w.shape(scores)
    known = dtype in _INTEGERS and scores in makers and makers[scores].op_type in {"QuantizeLinear", "DequantizeLinear"}
    alone = shape is not None and len(shape) == 1 and isinstance(shape[0], int) and shape[0] > 1
    if not (dtype in _FLOATS or known) or shape is None or len(shape) not in (1, _SCORES) or alone:
        raise UnsupportedError(
            f"a deferral head reads the scores of a classifier, (N, classes) of floats; {scores!r} is {dtype or 'unknown'} {shape}",
            remedy="Name the output with the scores, or defer by another rule.",
        )


def _hidden(w: Writer, scores: str, makers: Mapping[str, NodeProto]) -> tuple[str, tuple[str, str] | None]:
    for node in _back(scores, makers):
        if node.op_type not in _LAYERS or w.array(node.input[0]) is not None:
            continue
        value, place = node.input[0], _LAYERS[node.op_type]
        before = makers.get(value)
        if place is not None:
            return value, (node.input[place[0]], node.input[place[1]])
        if w.dtype(value) in _INTEGERS and before is not None and before.op_type == "DynamicQuantizeLinear":
            return before.input[0], None
        return value, None
    return "", None


def _back(value: str, makers: Mapping[str, NodeProto]) -> Iterator[NodeProto]:
    """The layers that lead to ``value``, the nearest first."""
    waiting, seen = [value], set[str]()
    while waiting:
        name = waiting.pop(0)
        node = makers.get(name)
        if node is None or name in seen:
            continue
        seen.add(name)
        if node.op_type in _LAYERS:
            yield node
        elif is_default_domain(node.domain) or node.op_type.startswith("QLinear"):
            waiting += [each for each in node.input if each] if node.op_type in _BEHIND else []


def _width(w: Writer, hidden: str) -> int:
    shape = w.shape(hidden) if hidden else None
    if shape is None or len(shape) not in (_SCORES, _MAPS) or not isinstance(shape[1], int):
        return 0
    return shape[1] if w.dtype(hidden) in ("float32", "float64", *_INTEGERS) else 0
