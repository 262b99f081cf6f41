"""Connectionist temporal classification: labels without their places in time (Graves et al. 2006).

The loss of a sequence is -log of the sum over all alignments. Forward variables alpha and backward variables beta give it,
and the probability gamma that time t emits place s of the labels (with blanks between). Its derivative in the log-probability
of class k at time t is -(sum of gamma over the places that hold k): equation 15 there. So nothing has to be differentiated
through the recursions: they run on stopped values, in two Scans, and the loss is written as

    stop(loss) + (x - stop(x))      x = -sum over t, k of stop(occupancy) * log-probability

whose value is the loss and whose derivative is the one above. All is in logarithms; "impossible" is a large negative number,
not -inf, since -inf - -inf is NaN.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from onnx import GraphProto, TensorProto, helper

from edgewise.graph.writer import Writer
from edgewise.training.losses.loss import (
    ask,
    behind,
    chosen,
    known,
    number,
    number_of,
    require,
    stopped,
    weight_spec,
    weighted_ratio,
)
from edgewise.training.run.step_spec import ValueSpec

__all__ = ["Ctc"]

_NEVER = -1e30
_ELEMENTS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ctc:
    """-log P(labels) over all alignments, as torch.nn.functional.ctc_loss.

    The output holds class scores or log-probabilities (N, T, C); with ``time_major`` (T, N, C). longest: S, the most labels of
    one sequence. Targets: ``target`` int64 (N, S), filled up with anything; ``target_length`` and ``input_length`` int64 (N,).
    per_label: each loss is divided by its number of labels (torch's reduction "mean"). zero_infinity: sequences with more
    labels than time has room for count 0; without it the loss is then infinite.
    """

    longest: int
    output: str = ""
    target: str = "target"
    target_length: str = "target_length"
    input_length: str = "input_length"
    blank: int = 0
    time_major: bool = False
    per_label: bool = True
    zero_infinity: bool = False
    weighted: bool = False

    def __post_init__(self) -> None:
        require(self.longest >= 1, f"longest must be at least 1, not {self.longest}")

    def targets(self, writer: Writer, outputs: Mapping[str, str]) -> tuple[ValueSpec, ...]:
        """Labels, their number, the number of frames, and the weights of the samples where ``weighted``."""
        dtype, shape = known(writer, chosen(outputs, self.output), 3)
        batch, time = (shape[1], shape[0]) if self.time_major else (shape[0], shape[1])
        classes = number(shape[2], "the number of classes")
        require(0 <= self.blank < classes, f"blank is class {self.blank} of {classes}")
        return (
            ValueSpec(self.target, "int64", (batch, self.longest), classes),
            ValueSpec(self.target_length, "int64", (batch,), self.longest + 1),
            ValueSpec(self.input_length, "int64", (batch,), time + 1 if isinstance(time, int) else None),
            *([weight_spec(dtype, batch)] if self.weighted else []),
        )

    def write(self, writer: Writer, outputs: Mapping[str, str]) -> str:
        """Mean over the samples."""
        names = [ask(writer, spec) for spec in self.targets(writer, outputs)]
        labels, label_count, frames, weight = [*names, ""][:4]
        dtype, shape = known(writer, chosen(outputs, self.output), 3)
        scores = behind(writer, chosen(outputs, self.output), {"Softmax", "LogSoftmax"}, 2)
        likely = writer.node("LogSoftmax", scores, axis=-1)
        if not self.time_major:
            likely = writer.node("Transpose", likely, perm=[1, 0, 2])
        batch, time = (shape[1], shape[0]) if self.time_major else (shape[0], shape[1])
        writer.declare(likely, dtype, (time, batch, shape[2]))
        fixed = stopped(writer, likely)
        loss, occupancy = self._recursions(writer, fixed, labels, label_count, frames)
        expected = writer.node("ReduceSum", writer.node("Mul", likely, occupancy), writer.ints(0, 2), keepdims=0)
        slope = writer.node("Sub", stopped(writer, expected), expected)
        each = writer.node("Add", loss, slope)
        if self.per_label:
            per = writer.node("Max", label_count, writer.constant(1, "int64"))
            each = writer.node("Div", each, writer.node("Cast", per, to=_ELEMENTS[dtype]))
        if weight:
            return weighted_ratio(writer, writer.node("Mul", each, weight), weight, dtype)
        return writer.node("ReduceMean", each, keepdims=0)

    def _recursions(self, writer: Writer, likely: str, labels: str, label_count: str, frames: str) -> tuple[str, str]:
        """The loss of each sequence (N,), and the probability (T, N, C) that a time emits a class for a label or a blank."""
        w = writer
        dtype, (_, batch, classes) = known(w, likely)
        places, skips = self._places(w, labels, dtype)
        zero, never = w.constant(0, dtype), w.constant(_NEVER, dtype)
        every = w.ints(*range(2 * self.longest + 1))
        # Places from which a sequence may end: the last label and the blank after it.
        end = w.node("Unsqueeze", w.node("Mul", label_count, w.constant(2, "int64")), w.ints(1))
        last = w.node("Equal", every, end)
        last = w.node("Or", last, w.node("Equal", every, w.node("Sub", end, w.constant(1, "int64"))))
        ends = w.node("Where", last, zero, never)
        starts = w.node("Add", w.node("Mul", ends, zero), w.constant([0.0] + [_NEVER] * (2 * self.longest), dtype))
        lines = w.node("Equal", w.node("Unsqueeze", places, w.ints(2)), w.ints(*range(int(classes))))
        lines = w.node("Cast", lines, to=_ELEMENTS[dtype])  # (N, L, C)
        emitted = w.node(
            "MatMul", w.node("Transpose", likely, perm=[1, 0, 2]), w.node("Transpose", lines, perm=[0, 2, 1])
        )
        emitted = w.node("Transpose", emitted, perm=[1, 0, 2])  # (T, N, L)
        steps = w.node("Range", w.constant(0, "int64"), number_of(w, likely, 0, "int64"), w.constant(1, "int64"))
        alive = w.node("Less", w.node("Unsqueeze", steps, w.ints(1)), frames)
        alive = w.node("Unsqueeze", alive, w.ints(2))  # (T, N, 1)
        reached, alpha = w.split(
            "Scan", 2, starts, emitted, alive, body=self._body(w, skips, dtype, batch), num_scan_inputs=2
        )
        _, beta = w.split(
            "Scan", 2, ends, emitted, alive, body=self._body(w, skips, dtype, batch, backwards=True), num_scan_inputs=2,
            scan_input_directions=[1, 1], scan_output_directions=[1],
        )  # fmt: skip
        total = w.node("ReduceLogSumExp", w.node("Add", reached, ends), w.ints(1), keepdims=0)
        possible = w.node("Greater", total, w.constant(_NEVER / 2, dtype))
        none = zero if self.zero_infinity else w.constant(float("inf"), dtype)
        loss = w.node("Where", possible, w.node("Neg", total), none)
        share = w.node("Exp", w.node("Sub", w.node("Add", alpha, beta), w.node("Unsqueeze", total, w.ints(1))))
        counted = w.node("And", alive, w.node("Unsqueeze", possible, w.ints(1)))
        share = w.node("Where", counted, share, zero)
        occupancy = w.node("MatMul", w.node("Transpose", share, perm=[1, 0, 2]), lines)
        return loss, w.node("Transpose", occupancy, perm=[1, 0, 2])

    def _places(self, writer: Writer, labels: str, dtype: str) -> tuple[str, str]:
        """The labels with blanks around each (N, 2S+1), and the cost 0 of coming from two places before, or "impossible"."""
        w = writer
        pairs = w.node("Unsqueeze", labels, w.ints(2))
        pairs = w.node("Pad", pairs, w.ints(0, 0, 0, 0, 0, 1), w.constant(self.blank, "int64"))
        flat = w.node("Reshape", pairs, w.ints(-1, 2 * self.longest))
        places = w.node("Pad", flat, w.ints(0, 1, 0, 0), w.constant(self.blank, "int64"))
        before = w.node("Pad", places, w.ints(0, 2, 0, -2), w.constant(self.blank, "int64"))
        blank = w.node("Equal", places, w.constant(self.blank, "int64"))
        closed = w.node("Or", blank, w.node("Equal", places, before))
        return places, w.node("Where", closed, w.constant(_NEVER, dtype), w.constant(0, dtype))

    def _body(self, writer: Writer, skips: str, dtype: str, batch: int | str, *, backwards: bool = False) -> GraphProto:
        """One step. Forwards: alpha(t-1) -> alpha(t). Backwards: beta(t) -> beta(t-1), and beta(t) is given out."""
        sign = -1 if backwards else 1
        if backwards:  # the cost belongs to the place that is skipped to
            skips = writer.node("Pad", skips, writer.ints(0, -2, 0, 2), writer.constant(_NEVER, dtype))
        never = writer.constant(_NEVER, dtype)
        shifts = [writer.ints(0, sign * by, 0, -sign * by) for by in (1, 2)]
        keys = (
            "old",
            "emitted",
            "alive",
            "from",
            "one",
            "two",
            "jump",
            "a",
            "b",
            "c",
            "all",
            "sum",
            "new",
            "next",
            "given",
        )
        v = {key: writer.fresh(f"ctc/{key}") for key in keys}
        lead = writer.ints(0)
        came = v["from"] if backwards else v["old"]
        middle = [("Add", [v["old"], v["emitted"]], v["from"])] if backwards else []
        steps = [
            *middle,
            ("Pad", [came, shifts[0], never], v["one"]), ("Pad", [came, shifts[1], never], v["two"]),
            ("Add", [v["two"], skips], v["jump"]),
            ("Unsqueeze", [came, lead], v["a"]), ("Unsqueeze", [v["one"], lead], v["b"]), ("Unsqueeze", [v["jump"], lead], v["c"]),
        ]  # fmt: skip
        nodes = [helper.make_node(operator, inputs, [output]) for operator, inputs, output in steps]
        nodes.append(helper.make_node("Concat", [v["a"], v["b"], v["c"]], [v["all"]], axis=0))
        nodes.append(helper.make_node("ReduceLogSumExp", [v["all"], lead], [v["sum"]], keepdims=0))
        new = v["sum"]
        if not backwards:
            nodes.append(helper.make_node("Add", [v["sum"], v["emitted"]], [v["new"]]))
            new = v["new"]
        nodes.append(helper.make_node("Where", [v["alive"], new, v["old"]], [v["next"]]))
        nodes.append(helper.make_node("Identity", [v["old"] if backwards else v["next"]], [v["given"]]))
        element = _ELEMENTS[dtype]
        kinds = (("old", element), ("emitted", element), ("alive", TensorProto.BOOL))
        inputs = [
            helper.make_tensor_value_info(v[key], kind, [batch, 1 if key == "alive" else 2 * self.longest + 1])
            for key, kind in kinds
        ]
        shape = [batch, 2 * self.longest + 1]
        outputs = [helper.make_tensor_value_info(v[key], element, shape) for key in ("next", "given")]
        return helper.make_graph(nodes, "ctc_backwards" if backwards else "ctc", inputs, outputs)
