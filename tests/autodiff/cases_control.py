"""Cases of recurrent layers and of operators with graphs inside."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from onnx import TensorProto, helper
from tests.autodiff.drawing import Builder, Draw, apart, flag, random_of, side
from tests.autodiff.finite_differences import Case, Stored, call

__all__ = ["CONTROL"]

DOUBLE = TensorProto.DOUBLE


def recurrent(operator: str, gates: int) -> Builder:
    def build(draw: Draw) -> Case:
        random = random_of(draw)
        steps, batch, width, hidden = side(draw, 1, 4), side(draw, 1, 2), side(draw, 1, 3), side(draw, 1, 3)
        direction = draw(st.sampled_from(["forward", "forward", "reverse", "bidirectional"]))
        ways = 2 if direction == "bidirectional" else 1
        x = apart(random, (steps, batch, width), 1.0)
        w, r = apart(random, (ways, gates * hidden, width), 1.0), apart(random, (ways, gates * hidden, hidden), 1.0)
        bias = apart(random, (ways, 2 * gates * hidden), 1.0) if flag(draw) else None
        lengths = Stored(np.full(batch, steps, np.int32)) if draw(st.integers(0, 3)) == 0 else None
        first = apart(random, (ways, batch, hidden), 1.0) if flag(draw) else None
        more: list[Any] = [bias, lengths, first]
        if operator == "LSTM":
            more.append(apart(random, (ways, batch, hidden), 1.0) if flag(draw) else None)
            more.append(apart(random, (ways, 3 * hidden), 1.0) if draw(st.integers(0, 3)) == 0 else None)
        while more and more[-1] is None:
            more.pop()
        given: dict[str, Any] = {"hidden_size": hidden, "direction": direction}
        if operator == "GRU":
            given["linear_before_reset"] = draw(st.sampled_from([1, 1, 0]))
        ends = ["all", "last", "cell"][: 3 if operator == "LSTM" else 2]
        left_out = draw(st.sampled_from(["", "all", "last"]))
        names = ["" if name == left_out else name for name in ends]
        while not names[-1]:
            names.pop()
        # onnxruntime has LSTM and GRU in float32 only: both sides on the reference would need its GRU, which knows one
        # direction. So: float32, a step that suits it, a tolerance that suits that.
        arrays = [x, w, r, *more]
        narrow = [a.astype(np.float32) if isinstance(a, np.ndarray) and a.dtype == np.float64 else a for a in arrays]
        return call(operator, *narrow, outputs=names, step=0.005, tolerance=2e-3, **given)

    return build


def value(name: str, shape: Any = None, kind: int = DOUBLE) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def if_(draw: Draw) -> Case:
    """Both branches read from outside; the branch not taken owes nothing."""
    random = random_of(draw)
    shape = (2, 3)
    then = helper.make_graph(
        [helper.make_node("Mul", ["x", "weight"], ["m"]), helper.make_node("Tanh", ["m"], ["t"])],
        "then",
        [],
        [value("t", shape)],
    )
    other = helper.make_graph(
        [helper.make_node("Add", ["x", "bias"], ["a"]), helper.make_node("Mul", ["a", "weight"], ["u"])], "else", [],
        [value("u", shape)],
    )  # fmt: skip
    node = helper.make_node("If", ["condition"], ["y"], then_branch=then, else_branch=other)
    feeds = {
        "condition": np.array(flag(draw)), "x": apart(random, shape), "weight": apart(random, (3,)), "bias": apart(random, shape)
    }  # fmt: skip
    return Case([node], feeds, ["y"])


def loop(draw: Draw) -> Case:
    """A state, a scan output and a captured weight; the number of rounds is stored, fed, or ends early."""
    random, rounds = random_of(draw), side(draw, 1, 4)
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["h", "weight"], ["m"]), helper.make_node("Tanh", ["m"], ["n"]),
            helper.make_node("Identity", ["go"], ["go_on"]), helper.make_node("Mul", ["n", "scale"], ["out"]),
        ],
        "body", [value("at", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("h", [2, 3])],
        [value("go_on", [], TensorProto.BOOL), value("n", [2, 3]), value("out", [2, 3])],
    )  # fmt: skip
    node = helper.make_node("Loop", ["rounds", "", "start"], ["last", "each"], body=body)
    feeds = {"start": apart(random, (2, 3)), "weight": apart(random, (3, 3), 1.0), "scale": apart(random, (3,))}
    count = np.array(rounds, np.int64)
    stored = flag(draw)
    return Case(
        [node], feeds | ({} if stored else {"rounds": count}), ["last", "each"], {"rounds": count} if stored else {}
    )


def scan(draw: Draw) -> Case:
    random, steps = random_of(draw), side(draw, 1, 4)
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["h", "weight"], ["m"]), helper.make_node("Add", ["m", "x"], ["s"]),
            helper.make_node("Sigmoid", ["s"], ["n"]), helper.make_node("Mul", ["n", "x"], ["out"]),
        ],
        "body", [value("h", [2]), value("x", [2])], [value("n", [2]), value("out", [2])],
    )  # fmt: skip
    given = {"scan_input_directions": [draw(st.integers(0, 1))], "scan_output_directions": [draw(st.integers(0, 1))]}
    node = helper.make_node("Scan", ["start", "xs"], ["last", "each"], body=body, num_scan_inputs=1, **given)
    feeds = {"start": apart(random, (2,)), "xs": apart(random, (steps, 2)), "weight": apart(random, (2, 2), 1.0)}
    return Case([node], feeds, ["last", "each"])


CONTROL: dict[str, Builder] = {
    "GRU": recurrent("GRU", 3), "If": if_, "LSTM": recurrent("LSTM", 4), "Loop": loop, "RNN": recurrent("RNN", 1), "Scan": scan,
}  # fmt: skip
