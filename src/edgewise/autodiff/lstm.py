"""The gradient of an LSTM, without running it twice.

    i = s(W_i x + R_i h + b_i)    o, f likewise    g = tanh(W_g x + R_g h + b_g)    c' = f c + i g    h' = o tanh(c')

(Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000; gates in ONNX's order i, o, f, g.) The layer gives its
states h, not its cells: those follow from the gates in a Scan of one multiplication and one addition a step. Backwards, a step is
one product and five element-wise operations.
"""

from onnx import helper

from edgewise.autodiff.call import Call, Gradients
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

__all__ = ["lstm"]


def lstm(c: Call, gradients: list[str]) -> Gradients:
    size = int(c.attr("hidden_size", 0)) or c.size(c.x(2), 2)
    other = c.attr("activations") or c.attr("clip") or c.attr("layout", 0) or c.attr("input_forget", 0) or c.x(7)
    if other or not whole_sequences(c):
        raise LookupError("this form of LSTM is left to the general rule")
    return both_ways(c, lambda at, backwards: _one_way(c, gradients, at, size, backwards=backwards))


def _one_way(c: Call, gradients: list[str], at: int, size: int, *, backwards: bool) -> dict[int, str]:
    x, w_in, w_state = c.x(0), way(c, c.x(1), at), way(c, c.x(2), at)  # (T, N, I), (4H, I), (4H, H)
    bias = way(c, c.x(3), at) if c.x(3) else ""
    states = way(c, c.node.output[0], at, axis=1)  # (T, N, H)
    none = c.number(0, x)
    empty = c.op("Mul", part(c, states, 0, 0, 1, squeeze=True), none)
    first, first_cell = (way(c, c.x(k), at) if c.x(k) else empty for k in (5, 6))
    lead = c.w.ints(0)
    before = predecessors(c, states, c.op("Unsqueeze", first, lead), backwards=backwards)
    gates = _gates(c, x, before, w_in, w_state, bias, size)
    cells = _cells(c, gates, first_cell, ascending=not backwards)
    cells_before = predecessors(c, cells, c.op("Unsqueeze", first_cell, lead), backwards=backwards)
    seeds = [way(c, name, at) if name else empty for name in (*gradients[1:], "", "")[:2]]
    errors = way(c, gradients[0], at, axis=1) if gradients[0] else c.op("Mul", states, none)
    slopes, into_cell = _slopes(c, gates, cells, cells_before)
    start, start_cell, scanned = _backwards(
        c, seeds, [errors, slopes, into_cell, gates["f"]], w_state, ascending=backwards
    )
    result = collected(c, x, before, scanned, scanned, w_in, 4 * size, size)
    for k, value in ((5, start), (6, start_cell)):
        if c.x(k) and c.wants(k):
            result[k] = c.op("Unsqueeze", value, lead)
    return result


def _gates(c: Call, x: str, before: str, w_in: str, w_state: str, bias: str, size: int) -> dict[str, str]:
    both = c.op(
        "Add", *(c.op("MatMul", a, c.op("Transpose", b, perm=[1, 0])) for a, b in ((x, w_in), (before, w_state)))
    )
    if bias:
        halves = [part(c, bias, 0, start, start + 4 * size) for start in (0, 4 * size)]
        both = c.op("Add", both, c.op("Add", *halves))
    open_ = c.op("Sigmoid", part(c, both, 2, 0, 3 * size))
    names = {name: part(c, open_, 2, k * size, (k + 1) * size) for k, name in enumerate("iof")}
    return {**names, "g": c.op("Tanh", part(c, both, 2, 3 * size, 4 * size))}


def _cells(c: Call, gates: dict[str, str], first: str, *, ascending: bool) -> str:
    """The cell of every step (T, N, H)."""
    v = {k: c.w.fresh(f"lstm/{k}") for k in ("c", "f", "new", "kept", "out", "cell")}
    body = helper.make_graph(
        [
            body_node("Mul", [v["c"], v["f"]], v["kept"]),
            body_node("Add", [v["kept"], v["new"]], v["out"]),
            body_node("Identity", [v["out"]], v["cell"]),
        ],
        "lstm_cells",
        [body_value(c, v[k]) for k in ("c", "f", "new")],
        [body_value(c, v[k]) for k in ("out", "cell")],
    )
    direction = 0 if ascending else 1
    return c.w.split(
        "Scan", 2, first, gates["f"], c.op("Mul", gates["i"], gates["g"]), body=body, num_scan_inputs=2,
        scan_input_directions=[direction] * 2, scan_output_directions=[direction],
    )[1]  # fmt: skip


def _slopes(c: Call, gates: dict[str, str], cells: str, before: str) -> tuple[str, str]:
    """What the errors are multiplied with: for the pre-activations (T, N, 4H), those of the cell but for o, which is the state's;
    and from the state into the cell (T, N, H).
    """
    i, o, f, g = (gates[name] for name in "iofg")
    one = c.number(1, i)
    flat = c.op("Tanh", cells)

    def bell(gate: str) -> str:
        return c.op("Mul", gate, c.op("Sub", one, gate))

    def rest(value: str) -> str:
        return c.op("Sub", one, c.op("Mul", value, value))

    parts = (c.op("Mul", g, bell(i)), c.op("Mul", flat, bell(o)), c.op("Mul", before, bell(f)), c.op("Mul", i, rest(g)))
    return c.op("Concat", *parts, axis=2), c.op("Mul", o, rest(flat))


def _backwards(c: Call, seeds: list[str], scanned: list[str], w_state: str, *, ascending: bool) -> tuple[str, str, str]:
    """Errors of the first state and cell, and of all pre-activations."""
    v = {
        k: c.w.fresh(f"lstm/{k}")
        for k in ("h", "c", "e", "s", "a", "f", "sum", "down", "cell", "all", "d", "back", "kept")
    }
    body = helper.make_graph(
        [
            body_node("Add", [v["h"], v["e"]], v["sum"]),
            body_node("Mul", [v["sum"], v["a"]], v["down"]),
            body_node("Add", [v["down"], v["c"]], v["cell"]),
            body_node("Concat", [v["cell"], v["sum"], v["cell"], v["cell"]], v["all"], axis=1),
            body_node("Mul", [v["all"], v["s"]], v["d"]),
            body_node("MatMul", [v["d"], w_state], v["back"]),
            body_node("Mul", [v["cell"], v["f"]], v["kept"]),
        ],
        "lstm_backwards",
        [body_value(c, v[k]) for k in ("h", "c", "e", "s", "a", "f")],
        [body_value(c, v[k]) for k in ("back", "kept", "d")],
    )
    direction = 0 if ascending else 1
    start, cell, errors = c.w.split(
        "Scan", 3, *seeds, *scanned, body=body, num_scan_inputs=4, scan_input_directions=[direction] * 4,
        scan_output_directions=[direction],
    )  # fmt: skip
    return start, cell, errors
