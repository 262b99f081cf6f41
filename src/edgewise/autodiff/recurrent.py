"""The gradient of a GRU, without running it twice.

The runtime's own GRU runs forward and gives every state. From these all gates of all steps follow at once (two long matrix
products); backwards, only what really is sequential stays in the Scan: one product and three element-wise operations a step.

    z = s(W_z x + R_z h + b_z)    r = s(W_r x + R_r h + b_r)    n = tanh(W_n x + b_n + r (R_n h + c_n))    h' = (1-z) n + z h

(ONNX GRU with linear_before_reset = 1, the form of cuDNN, torch and Keras; Cho et al. 2014.)
"""

import numpy as np
from onnx import NodeProto, TensorProto, helper

from edgewise.autodiff.call import Call, Gradients, NoGradient

__all__ = ["gru"]

_FAR = 2**62  # an end of a slice beyond every end
_ELEMENTS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


def gru(c: Call, gradients: list[str]) -> Gradients:
    size = int(c.attr("hidden_size", 0)) or c.size(c.x(2), 2)
    linear = c.attr("linear_before_reset", 0) == 1
    if not linear or c.attr("activations") or c.attr("clip") or c.attr("layout", 0) or not _whole(c):
        if linear and not c.x(3):
            # The general rule looks at linear_before_reset only where there is a bias (onnx-ad 0.3).
            raise NoGradient("this form of GRU without a bias: give it one of zeros")
        raise LookupError("this form of GRU is left to the general rule")
    ways = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}[c.attr("direction", "forward")]
    if not c.node.output[0]:
        c.node.output[0] = c.w.fresh(f"{c.node.output[1]}/all")
    found = [_one_way(c, gradients, at, size, backwards=backwards) for at, backwards in enumerate(ways)]
    result: dict[int, str] = {}
    for at in found[0]:
        parts = [one[at] for one in found]
        if at == 0:
            result[at] = parts[0] if len(parts) == 1 else c.op("Add", *parts)
        else:  # per direction, along the first axis
            result[at] = parts[0] if len(parts) == 1 else c.op("Concat", *parts, axis=0)
    return result


def _whole(c: Call) -> bool:
    """True where every sequence is as long as the longest."""
    lengths, shape = c.w.array(c.x(4)) if c.x(4) else None, c.shape(c.x(0))
    return not c.x(4) or (lengths is not None and shape is not None and bool(np.all(lengths == shape[0])))


def _one_way(c: Call, gradients: list[str], at: int, size: int, *, backwards: bool) -> dict[int, str]:
    """The gradients through one direction; those of weights and initial states with a leading axis of length 1."""
    x, w_in, w_state = c.x(0), _way(c, c.x(1), at), _way(c, c.x(2), at)  # (T, N, I), (3H, I), (3H, H)
    bias = _way(c, c.x(3), at) if c.x(3) else ""
    states = _way(c, c.node.output[0], at, axis=1)  # (T, N, H)
    first = _way(c, c.x(5), at) if c.x(5) else c.op("Mul", _part(c, states, 0, 0, 1, squeeze=True), c.number(0, x))
    start = c.op("Unsqueeze", first, c.w.ints(0))
    # A state's predecessor is the one before it in the direction of the walk.
    order = [_part(c, states, 0, 1, _FAR), start] if backwards else [start, _part(c, states, 0, 0, -1)]
    before = c.op("Concat", *order, axis=0)
    gates = _gates(c, x, before, w_in, w_state, bias, size)
    none = c.number(0, x)
    errors = _way(c, gradients[0], at, axis=1) if gradients[0] else c.op("Mul", states, none)
    last = _way(c, gradients[1], at) if len(gradients) > 1 and gradients[1] else c.op("Mul", first, none)
    slopes, through = _slopes(c, gates, before)
    scanned, start = _backwards(c, errors, last, slopes, through, w_state, gates["r"], size, ascending=backwards)
    # scanned (T, N, 3H): errors of the three pre-activations, the last one before the reset gate is applied.
    z_r, n = _part(c, scanned, 2, 0, 2 * size), _part(c, scanned, 2, 2 * size, 3 * size)
    inner = c.op("Concat", z_r, c.op("Mul", n, gates["r"]), axis=2)
    return _collect(c, x, before, scanned, inner, start, w_in, size)


def _gates(c: Call, x: str, before: str, w_in: str, w_state: str, bias: str, size: int) -> dict[str, str]:
    given = c.op("MatMul", x, c.op("Transpose", w_in, perm=[1, 0]))
    carried = c.op("MatMul", before, c.op("Transpose", w_state, perm=[1, 0]))
    if bias:
        given = c.op("Add", given, _part(c, bias, 0, 0, 3 * size))
        carried = c.op("Add", carried, _part(c, bias, 0, 3 * size, 6 * size))
    both = c.op("Sigmoid", c.op("Add", _part(c, given, 2, 0, 2 * size), _part(c, carried, 2, 0, 2 * size)))
    z, r = _part(c, both, 2, 0, size), _part(c, both, 2, size, 2 * size)
    inner = _part(c, carried, 2, 2 * size, 3 * size)
    n = c.op("Tanh", c.op("Add", _part(c, given, 2, 2 * size, 3 * size), c.op("Mul", r, inner)))
    return {"z": z, "r": r, "n": n, "inner": inner}


def _slopes(c: Call, g: dict[str, str], before: str) -> tuple[str, str]:
    """What an error of the new state is multiplied with, for the three pre-activations (T, N, 3H) and for the old state."""
    z, r, n = g["z"], g["r"], g["n"]
    one = c.number(1, z)
    rest = c.op("Sub", one, z)
    into_n = c.op("Mul", rest, c.op("Sub", one, c.op("Mul", n, n)))
    into_z = c.op("Mul", c.op("Sub", before, n), c.op("Mul", z, rest))
    into_r = c.op("Mul", c.op("Mul", into_n, g["inner"]), c.op("Mul", r, c.op("Sub", one, r)))
    return c.op("Concat", into_z, into_r, into_n, axis=2), z


def _backwards(
    c: Call,
    errors: str,
    last: str,
    slopes: str,
    through: str,
    w_state: str,
    reset: str,
    size: int,
    *,
    ascending: bool,
) -> tuple[str, str]:
    kind = _ELEMENTS[c.w.dtype(c.x(0))]
    names = {
        k: c.w.fresh(f"gru/{k}")
        for k in ("h", "e", "s", "z", "r", "e3", "sum", "d", "zr", "n", "rn", "i", "back", "kept", "out")
    }
    v = names
    cuts = [c.w.ints(0), c.w.ints(2 * size), c.w.ints(3 * size), c.w.ints(1)]
    body = helper.make_graph(
        [
            _node("Add", [v["h"], v["e"]], v["sum"]),
            _node("Concat", [v["sum"], v["sum"], v["sum"]], v["e3"], axis=1),
            _node("Mul", [v["e3"], v["s"]], v["d"]),
            _node("Slice", [v["d"], cuts[0], cuts[1], cuts[3]], v["zr"]),
            _node("Slice", [v["d"], cuts[1], cuts[2], cuts[3]], v["n"]),
            _node("Mul", [v["n"], v["r"]], v["rn"]),
            _node("Concat", [v["zr"], v["rn"]], v["i"], axis=1),
            _node("MatMul", [v["i"], w_state], v["back"]),
            _node("Mul", [v["sum"], v["z"]], v["kept"]),
            _node("Add", [v["back"], v["kept"]], v["out"]),
        ],
        "gru_backwards",
        [helper.make_tensor_value_info(v[k], kind, None) for k in ("h", "e", "s", "z", "r")],
        [helper.make_tensor_value_info(v[k], kind, None) for k in ("out", "d")],
    )
    way = 0 if ascending else 1
    start, all_errors = c.w.split(
        "Scan", 2, last, errors, slopes, through, reset, body=body, num_scan_inputs=4,
        scan_input_directions=[way] * 4, scan_output_directions=[way],
    )  # fmt: skip
    return all_errors, start


def _collect(
    c: Call, x: str, before: str, scanned: str, inner: str, start: str, w_in: str, size: int
) -> dict[int, str]:
    result: dict[int, str] = {}
    flat = c.op("Reshape", scanned, c.w.ints(-1, 3 * size))
    flat_inner = c.op("Reshape", inner, c.w.ints(-1, 3 * size))
    lead = c.w.ints(0)
    if c.wants(0):
        result[0] = c.op("MatMul", scanned, w_in)
    if c.wants(1):
        rows = c.op("Reshape", x, c.w.ints(-1, c.size(c.x(1), 2)))
        result[1] = c.op("Unsqueeze", c.op("Gemm", flat, rows, transA=1), lead)
    if c.wants(2):
        rows = c.op("Reshape", before, c.w.ints(-1, size))
        result[2] = c.op("Unsqueeze", c.op("Gemm", flat_inner, rows, transA=1), lead)
    if c.x(3) and c.wants(3):
        sums = [c.op("ReduceSum", part, lead, keepdims=1) for part in (flat, flat_inner)]
        result[3] = c.op("Concat", *sums, axis=1)
    if c.x(5) and c.wants(5):
        result[5] = c.op("Unsqueeze", start, lead)
    return result


def _way(c: Call, name: str, at: int, axis: int = 0) -> str:
    """What belongs to one direction, without the axis of the directions."""
    return _part(c, name, axis, at, at + 1, squeeze=True)


def _part(c: Call, name: str, axis: int, start: int, end: int, *, squeeze: bool = False) -> str:
    whole = squeeze and start == 0 and (c.shape(name) or ((None,) * (axis + 1)))[axis] == 1
    part = name if whole else c.op("Slice", name, c.w.ints(start), c.w.ints(end), c.w.ints(axis))
    return c.op("Squeeze", part, c.w.ints(axis)) if squeeze else part


def _node(operator: str, inputs: list[str], output: str, **attributes: int) -> NodeProto:
    return helper.make_node(operator, inputs, [output], **attributes)
