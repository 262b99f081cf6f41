"""A deferral head in a model's graph: one more output, and everything else as it was, to the bit.

Only operators that mean the same from opset 13 on are used, so the model keeps its own opset. What the head adds is called
``deferral/...``, by which it is found again and can be taken out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from onnx import ModelProto

from edgewise.errors import InputError, ModelError, UnsupportedError
from edgewise.graph.external import inline_external_data
from edgewise.graph.inspect import DEFAULT_LIMITS, checked, read_model
from edgewise.graph.opset import at_opset
from edgewise.graph.order import pruned
from edgewise.graph.rename import rename, taken_names
from edgewise.graph.walk import opsets
from edgewise.graph.writer import Writer
from edgewise.routing.head.head import LEAST_PROBABILITY, SCORE, Head, top_count
from edgewise.routing.head.taps import find_taps, readable

__all__ = ["OPSET", "Tapped", "join_head", "tapped", "without_head"]

#: Lowest opset of a model with a head; models before are raised to it.
OPSET = 13
_AXES_AS_INPUT = 18  # from this opset on ReduceLogSumExp takes axes as an input
_PREFIX = "deferral/"


def join_head(model: bytes, head: Head, external: Mapping[str, bytes] | None = None) -> bytes:
    """``model`` with the output ``deferral_score``, float32 (N, 1): what ``head`` says of each sample. A former head is replaced.

    external: files beside the model by their location; the result holds their data itself. Raises InputError where the head is of
    another model or the name of its output is taken, UnsupportedError for scores that are not read, ModelError for no sound model.
    """
    w = _writer(model, external)
    before = taken_names(w.graph)
    taps = find_taps(w, head.output)
    if head.hidden and head.hidden != taps.width:
        raise InputError(
            f"the head reads {head.hidden} hidden values, and this model's last layer is given {taps.width or 'none'}",
            remedy="Learn a head for this variant: each has its own.",
        )
    if taps.squeezed and head.form not in ("logits", "logit"):
        raise InputError(f"the head is for scores that are {head.form}, and this model has them before that")
    scores = readable(w, taps.scores)
    known = (w.shape(taps.scores) or (None,))[1:]
    if (
        known
        and isinstance(known[0], int)
        and known[0] != (1 if head.form in ("logit", "probability") else head.classes)
    ):
        raise InputError(f"the head tells {head.classes} classes apart, and this model has {known[0]} scores")
    hidden = readable(w, taps.hidden, taps.grid) if head.hidden else ""
    value = _head(w, _features(w, _class_scores(w, scores, head), head.classes), hidden, head)
    w.output(SCORE, value, "float32", [_batch(w, head.output), 1])
    ours = taken_names(w.graph) - before - {SCORE}
    rename(w.graph, {name: w.fresh(f"{_PREFIX}{name}") for name in sorted(ours)})
    checked(w.model)
    data: bytes = w.model.SerializeToString(deterministic=True)
    return data


def without_head(model: ModelProto) -> ModelProto:
    """The model without the head that ``join_head`` gave it; as it is where it has none."""
    outputs = [value for value in model.graph.output if value.name != SCORE]
    made = [node for node in model.graph.node if SCORE in node.output and node.input[0].startswith(_PREFIX)]
    if not made or not outputs:
        return model
    plain = ModelProto()
    plain.CopyFrom(model)
    del plain.graph.output[:]
    plain.graph.output.extend(outputs)
    bare = pruned(plain)
    there = taken_names(bare.graph)
    bare.graph.value_info.extend(value for value in model.graph.value_info if value.name in there)
    return bare


@dataclass(frozen=True, slots=True)
class Tapped:
    """model: gives what a head reads beside its own outputs: ``scores`` (N, classes) and ``hidden`` (N, width), float32.

    hidden: "" where it has none. squeezed: whether the model makes probabilities of the scores behind them.
    """

    model: bytes
    scores: str
    hidden: str
    squeezed: bool


def tapped(model: bytes, output: str, external: Mapping[str, bytes] | None = None) -> Tapped:
    """What a head on ``output`` would read of ``model``. Raises as ``join_head``."""
    w = _writer(model, external)
    taps = find_taps(w, output)
    scores = readable(w, taps.scores)
    hidden = readable(w, taps.hidden, taps.grid) if taps.hidden else ""
    # The other outputs stay: without them onnxruntime would merge other nodes, and round elsewhere.
    scores = w.output(f"{_PREFIX}scores", scores, "float32", [None, None])
    hidden = w.output(f"{_PREFIX}hidden", hidden, "float32", [None, taps.width]) if hidden else ""
    return Tapped(w.model.SerializeToString(), scores, hidden, taps.squeezed)


def _plain(model: bytes, external: Mapping[str, bytes] | None = None) -> ModelProto:
    """A model from outside, checked but otherwise as it is (``read_model`` adds inferred shapes), all its data inside."""

    def read(location: str) -> bytes:
        if location not in (external or {}):
            raise ModelError(f"the model's data is in {location!r}, which did not come with it")
        return (external or {})[location]

    read_model(model, external=read)
    plain = ModelProto.FromString(model)
    inline_external_data(plain, read, DEFAULT_LIMITS.external_bytes)
    return plain


def _writer(model: bytes, external: Mapping[str, bytes] | None) -> Writer:
    plain = without_head(_plain(model, external))
    opset = opsets(plain).get("")
    if opset is None:
        raise UnsupportedError("the model has no standard operators, so there are no scores to read")
    if opset < OPSET:
        plain = at_opset(plain, OPSET)
    graph = plain.graph
    if SCORE in {value.name for value in (*graph.input, *graph.output)}:
        raise InputError(
            f"the model has an input or output {SCORE!r} of its own",
            remedy="Give it another name before it is packed: the head's output is called so.",
        )
    taken = taken_names(graph)
    if SCORE in taken:
        number = next(at for at in range(len(taken) + 1) if f"{SCORE}_{at}" not in taken)
        rename(graph, {SCORE: f"{SCORE}_{number}"})
    return Writer(plain)


def _class_scores(w: Writer, scores: str, head: Head) -> str:
    """See ``head.class_scores``."""
    if head.form == "logit":
        return w.node("Concat", w.node("Mul", scores, w.constant([[0.0]])), scores, axis=1)
    if head.form == "probability":
        scores = w.node("Concat", w.node("Sub", w.constant([[1.0]]), scores), scores, axis=1)
    return scores if head.form == "logits" else w.node("Log", w.node("Max", scores, w.constant([[LEAST_PROBABILITY]])))


def _features(w: Writer, scores: str, classes: int) -> str:
    """See ``head.features_of``."""
    last = w.ints(1)
    count = top_count(classes)
    top, _ = w.split("TopK", 2, scores, w.ints(count), axis=1)
    best, others = w.split("Split", 2, top, w.ints(1, count - 1), axis=1)
    below = w.node("Sub", scores, best)
    weight = w.node("Exp", below)
    total = w.node("ReduceSum", weight, last)
    spread = w.node("Div", w.node("ReduceSum", w.node("Mul", weight, below), last), total)
    gaps = w.node("Sub", others, best)
    near = (
        w.node("ReduceLogSumExp", gaps, last)
        if opsets(w.model)[""] >= _AXES_AS_INPUT
        else w.node("ReduceLogSumExp", gaps, axes=[1])
    )
    chances = w.node("Reciprocal", total), w.node("Div", w.node("Exp", gaps), total)
    return w.node("Concat", best, gaps, *chances, w.node("Log", total), spread, near, axis=1)


def _head(w: Writer, features: str, hidden: str, head: Head) -> str:
    """See ``Head.of``."""
    inputs = w.node("Concat", features, hidden, axis=1) if hidden else features
    straight = w.node("Gemm", inputs, w.constant(head.line[:, None]), w.constant([head.bias]))
    if head.layer is None:
        return straight
    units = w.node("Relu", w.node("Gemm", inputs, w.constant(head.layer.entering), w.constant(head.layer.bias)))
    return w.node("Gemm", units, w.constant(head.layer.leaving[:, None]), straight)


def _batch(w: Writer, output: str) -> int | str | None:
    shape = w.shape(output)
    return shape[0] if shape else None
