"""The gradient of a GRU, without running it twice.

The runtime's own GRU runs forward and gives every state. From these all gates of all steps follow at once (two long matrix
products); backwards, only what really is sequential stays in the Scan: one product and three element-wise operations a step.

    z = s(W_z x + R_z h + b_z)    r = s(W_r x + R_r h + b_r)    n = tanh(W_n x + b_n + r (R_n h + c_n))    h' = (1-z) n + z h

(ONNX GRU with linear_before_reset = 1, the form of cuDNN, torch and Keras; Cho et al. 2014.)
"""

from onnx import NodeProto, TensorProto, helper

from edgewise.autodiff.call import Call, Gradients

__all__ = ["gru"]

_ELEMENTS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


def gru(c: Call, gradients: list[str]) -> Gradients:
    size = int(c.attr("hidden_size", 0)) or c.size(c.x(2), 2)
    plain = c.attr("direction", "forward") == "forward" and c.attr("linear_before_reset", 0) == 1
    if not plain or c.attr("activations") or c.attr("clip") or c.attr("layout", 0) or c.x(4):
        raise LookupError("this form of GRU is left to the general rule")
    if not c.node.output[0]:
        c.node.output[0] = c.w.fresh(f"{c.node.output[1]}/all")
    x, w_in, w_state = c.x(0), _drop(c, c.x(1)), _drop(c, c.x(2))  # (T, N, I), (3H, I), (3H, H)
    states = c.op("Squeeze", c.node.output[0], c.w.ints(1))  # (T, N, H)
    first = _drop(c, c.x(5)) if c.x(5) else c.op("Mul", _part(c, states, 0, 0, 1, squeeze=True), c.number(0, x))
    before = c.op("Concat", c.op("Unsqueeze", first, c.w.ints(0)), _part(c, states, 0, 0, -1), axis=0)
    gates = _gates(c, x, before, w_in, w_state, size)
    errors = c.op("Squeeze", gradients[0], c.w.ints(1)) if gradients[0] else c.op("Mul", states, c.number(0, x))
    last = _drop(c, gradients[1]) if len(gradients) > 1 and gradients[1] else c.op("Mul", first, c.number(0, x))
    slopes, through = _slopes(c, gates, before)
    scanned, start = _backwards(c, errors, last, slopes, through, w_state, gates["r"], size)
    # scanned (T, N, 3H): errors of the three pre-activations, the last one before the reset gate is applied.
    z_r, n = _part(c, scanned, 2, 0, 2 * size), _part(c, scanned, 2, 2 * size, 3 * size)
    inner = c.op("Concat", z_r, c.op("Mul", n, gates["r"]), axis=2)
    return _collect(c, x, before, scanned, inner, start, w_in, size)


def _gates(c: Call, x: str, before: str, w_in: str, w_state: str, size: int) -> dict[str, str]:
    given = c.op("MatMul", x, c.op("Transpose", w_in, perm=[1, 0]))
    carried = c.op("MatMul", before, c.op("Transpose", w_state, perm=[1, 0]))
    if c.x(3):
        bias = _drop(c, c.x(3))
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
    c: Call, errors: str, last: str, slopes: str, through: str, w_state: str, reset: str, size: int
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
    start, all_errors = c.w.split(
        "Scan", 2, last, errors, slopes, through, reset, body=body, num_scan_inputs=4,
        scan_input_directions=[1, 1, 1, 1], scan_output_directions=[1],
    )  # fmt: skip
    return all_errors, start


def _collect(c: Call, x: str, before: str, scanned: str, inner: str, start: str, w_in: str, size: int) -> Gradients:
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


def _drop(c: Call, name: str) -> str:
    return c.op("Squeeze", name, c.w.ints(0))


def _part(c: Call, name: str, axis: int, start: int, end: int, *, squeeze: bool = False) -> str:
    part = c.op("Slice", name, c.w.ints(start), c.w.ints(end), c.w.ints(axis))
    return c.op("Squeeze", part, c.w.ints(axis)) if squeeze else part


def _node(operator: str, inputs: list[str], output: str, **attributes: int) -> NodeProto:
    return helper.make_node(operator, inputs, [output], **attributes)
