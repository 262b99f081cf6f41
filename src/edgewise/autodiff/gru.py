"""The gradient of a GRU, without running it twice.

Backwards, a step is one product and three element-wise operations.

    z = s(W_z x + R_z h + b_z)    r = s(W_r x + R_r h + b_r)    n = tanh(W_n x + b_n + r (R_n h + c_n))    h' = (1-z) n + z h

(ONNX GRU with linear_before_reset = 1, the form of cuDNN, torch and Keras; Cho et al. 2014.)
"""

from onnx import helper

from edgewise.autodiff.call import Call, Gradients, NoGradient
from edgewise.autodiff.recurrent import (
    body_node,
    body_value,
    both_ways,
    collected,
    part,
    predecessors,
    way,
    whole_sequences,
)

__all__ = ["gru"]


def gru(c: Call, gradients: list[str]) -> Gradients:
    size = int(c.attr("hidden_size", 0)) or c.size(c.x(2), 2)
    linear = c.attr("linear_before_reset", 0) == 1
    if not linear or c.attr("activations") or c.attr("clip") or c.attr("layout", 0) or not whole_sequences(c):
        if linear and not c.x(3):
            # The general rule looks at linear_before_reset only where there is a bias (onnx-ad 0.3).
            raise NoGradient("this form of GRU without a bias: give it one of zeros")
        raise LookupError("this form of GRU is left to the general rule")
    return both_ways(c, lambda at, backwards: _one_way(c, gradients, at, size, backwards=backwards))


def _one_way(c: Call, gradients: list[str], at: int, size: int, *, backwards: bool) -> dict[int, str]:
    """The gradients through one direction; those of weights and initial states with a leading axis of length 1."""
    x, w_in, w_state = c.x(0), way(c, c.x(1), at), way(c, c.x(2), at)  # (T, N, I), (3H, I), (3H, H)
    bias = way(c, c.x(3), at) if c.x(3) else ""
    states = way(c, c.node.output[0], at, axis=1)  # (T, N, H)
    first = way(c, c.x(5), at) if c.x(5) else c.op("Mul", part(c, states, 0, 0, 1, squeeze=True), c.number(0, x))
    start = c.op("Unsqueeze", first, c.w.ints(0))
    before = predecessors(c, states, start, backwards=backwards)
    gates = _gates(c, x, before, w_in, w_state, bias, size)
    none = c.number(0, x)
    errors = way(c, gradients[0], at, axis=1) if gradients[0] else c.op("Mul", states, none)
    last = way(c, gradients[1], at) if len(gradients) > 1 and gradients[1] else c.op("Mul", first, none)
    slopes, through = _slopes(c, gates, before)
    scanned, start = _backwards(c, errors, last, slopes, through, w_state, gates["r"], size, ascending=backwards)
    # scanned (T, N, 3H): errors of the three pre-activations, the last one before the reset gate is applied.
    z_r, n = part(c, scanned, 2, 0, 2 * size), part(c, scanned, 2, 2 * size, 3 * size)
    inner = c.op("Concat", z_r, c.op("Mul", n, gates["r"]), axis=2)
    result = collected(c, x, before, scanned, inner, w_in, 3 * size, size)
    if c.x(5) and c.wants(5):
        result[5] = c.op("Unsqueeze", start, c.w.ints(0))
    return result


def _gates(c: Call, x: str, before: str, w_in: str, w_state: str, bias: str, size: int) -> dict[str, str]:
    given = c.op("MatMul", x, c.op("Transpose", w_in, perm=[1, 0]))
    carried = c.op("MatMul", before, c.op("Transpose", w_state, perm=[1, 0]))
    if bias:
        given = c.op("Add", given, part(c, bias, 0, 0, 3 * size))
        carried = c.op("Add", carried, part(c, bias, 0, 3 * size, 6 * size))
    both = c.op("Sigmoid", c.op("Add", part(c, given, 2, 0, 2 * size), part(c, carried, 2, 0, 2 * size)))
    z, r = part(c, both, 2, 0, size), part(c, both, 2, size, 2 * size)
    inner = part(c, carried, 2, 2 * size, 3 * size)
    n = c.op("Tanh", c.op("Add", part(c, given, 2, 2 * size, 3 * size), c.op("Mul", r, inner)))
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
    names = {
        k: c.w.fresh(f"gru/{k}")
        for k in ("h", "e", "s", "z", "r", "e3", "sum", "d", "zr", "n", "rn", "i", "back", "kept", "out")
    }
    v = names
    cuts = [c.w.ints(0), c.w.ints(2 * size), c.w.ints(3 * size), c.w.ints(1)]
    body = helper.make_graph(
        [
            body_node("Add", [v["h"], v["e"]], v["sum"]),
            body_node("Concat", [v["sum"], v["sum"], v["sum"]], v["e3"], axis=1),
            body_node("Mul", [v["e3"], v["s"]], v["d"]),
            body_node("Slice", [v["d"], cuts[0], cuts[1], cuts[3]], v["zr"]),
            body_node("Slice", [v["d"], cuts[1], cuts[2], cuts[3]], v["n"]),
            body_node("Mul", [v["n"], v["r"]], v["rn"]),
            body_node("Concat", [v["zr"], v["rn"]], v["i"], axis=1),
            body_node("MatMul", [v["i"], w_state], v["back"]),
            body_node("Mul", [v["sum"], v["z"]], v["kept"]),
            body_node("Add", [v["back"], v["kept"]], v["out"]),
        ],
        "gru_backwards",
        [body_value(c, v[k]) for k in ("h", "e", "s", "z", "r")],
        [body_value(c, v[k]) for k in ("out", "d")],
    )
    way = 0 if ascending else 1
    start, all_errors = c.w.split(
        "Scan", 2, last, errors, slopes, through, reset, body=body, num_scan_inputs=4,
        scan_input_directions=[way] * 4, scan_output_directions=[way],
    )  # fmt: skip
    return all_errors, start
