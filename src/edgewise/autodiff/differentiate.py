"""The reverse walk: from the loss back to the parameters, each node's rule writing what its inputs owe.

Griewank & Walther, Evaluating Derivatives (2008), chapter 3. First, forwards, everything that depends on a parameter is marked;
only that can carry a gradient. Then nodes are taken from the last to the first: all that a value owes has been handed in
by the time its own node is reached, so it is summed once and passed on. The forward graph stays as it is, and rules read
its values, so nothing is computed twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnx import NodeProto

from edgewise.autodiff.broadcast import expand_like, same
from edgewise.autodiff.call import Call, NoGradient, Tape
from edgewise.autodiff.fallback import general_rule, reads
from edgewise.autodiff.rules import BROADCASTS, CONSTANT, LOWERED, MANY, PASSES, PRODUCTS, RULES, key
from edgewise.autodiff.waiting import after
from edgewise.errors import UnsupportedError
from edgewise.graph.writer import Writer

__all__ = ["STOP_GRADIENT", "Derivative", "differentiate", "stops"]

#: An Identity whose name ends so passes nothing back (jax.lax.stop_gradient, torch's detach).
STOP_GRADIENT = "/stop_gradient"
_FLOATS = {"float16", "bfloat16", "float32", "float64"}


@dataclass(frozen=True, slots=True)
class Derivative:
    """What the walk wrote. gradients: parameter -> name of its gradient. forward: what the forward nodes make."""

    gradients: Mapping[str, str]
    forward: frozenset[str]


def differentiate(
    w: Writer, loss: str, parameters: Sequence[str], *, block: int = 0, frugal: bool = False
) -> Derivative:
    """Write the gradients of ``loss``, a scalar of the model in ``w``, in ``parameters``.

    A parameter that the loss does not depend on has no entry. ``w.infer()`` must have been called after the forward graph
    was written. block: channels of a block, after ``to_blocked``. frugal: order the work so that little
    memory is in use at once, for some more time. Raises UnsupportedError that names every operator without
    a gradient on the way, its node and the reason.
    """
    nodes = list(w.graph.node)
    tape = Tape(block, frugal=frugal)
    tape.wanted = _dependent(w, nodes, parameters)
    owed: dict[str, list[str]] = {}
    if loss in tape.wanted:
        owed[loss] = [w.constant(1.0, w.dtype(loss) or "float32")]
    lowered = _lower(w, nodes, tape)
    forward = frozenset(name for node in w.graph.node for name in node.output if name)
    faults: list[dict[str, str]] = []
    for node in reversed(lowered):
        calls = [_total(w, tape, owed.pop(name, []), name) if name else "" for name in node.output]
        if any(calls) and any(name in tape.wanted for name in reads(node)):
            _step(w, tape, node, calls, owed, faults)
    if faults:
        raise _refusal(faults)
    totals = {name: _total(w, tape, owed.get(name, []), name) for name in parameters}
    return Derivative({name: _full(w, tape, total, name) for name, total in totals.items() if total}, forward)


def stops(node: NodeProto) -> bool:
    """True where nothing flows back through ``node``."""
    return key(node.op_type, node.domain) in CONSTANT or (
        node.op_type == "Identity" and node.name.endswith(STOP_GRADIENT)
    )


def _dependent(w: Writer, nodes: list[NodeProto], parameters: Sequence[str]) -> set[str]:
    wanted = set(parameters)
    for node in nodes:
        if not stops(node) and any(name in wanted for name in reads(node)):
            wanted.update(name for name in node.output if name and w.dtype(name) in _FLOATS | {""})
    return wanted


def _lower(w: Writer, nodes: list[NodeProto], tape: Tape) -> list[NodeProto]:
    """Write out what the runtime does not have, in place; the tape keeps the nodes as they were."""
    if not any(_is_lowered(node) for node in nodes):
        return nodes
    result = []
    for node in w.take_nodes():
        if _is_lowered(node):
            tape.saved[node.output[0]] = LOWERED[key(node.op_type, node.domain)](Call(node, w, tape))
            result.append(node)
        else:
            w.graph.node.append(node)
            result.append(w.graph.node[-1])
    return result


def _is_lowered(node: NodeProto) -> bool:
    name = key(node.op_type, node.domain)
    training = any(attribute.name == "training_mode" and attribute.i for attribute in node.attribute)
    return name in LOWERED and (training or node.domain not in {"", "ai.onnx"})


def _step(
    w: Writer, tape: Tape, node: NodeProto, errors: list[str], owed: dict[str, list[str]], faults: list[dict[str, str]]
) -> None:
    call = Call(node, w, tape)
    name = key(node.op_type, node.domain)
    if stops(node):
        return
    equal = all(same(w.shape(i), w.shape(node.output[0])) for i in node.input)
    passes = name in PASSES and equal
    if not (passes or name in BROADCASTS or (name == "Mul" and equal)):
        errors = [
            _full(w, tape, error, value) if error else "" for error, value in zip(errors, node.output, strict=True)
        ]
    found = _apply(call, name, errors, faults)
    if passes and errors[0] in tape.partial:
        tape.partial.update(found.values())
    for value, gradient in found.items():
        if value in tape.wanted:
            w.declare(gradient, w.dtype(value), None if gradient in tape.partial else w.shape(value))
            owed.setdefault(value, []).append(gradient)


def _apply(call: Call, name: str, errors: list[str], faults: list[dict[str, str]]) -> dict[str, str]:
    """Name of an input -> its gradient, by the rule for this operator, or else by the general one."""
    reasons = []
    for rule in (_own_rule, _general_rule):
        try:
            return rule(call, name, errors)
        except LookupError as error:
            reasons.append(str(error).strip("'\""))
            if isinstance(error, NoGradient):
                break
    reason = "; ".join(part for part in reasons if part)
    faults.append({"operator": name, "node": call.node.name or call.y(), "reason": reason})
    return {}


def _own_rule(call: Call, name: str, errors: list[str]) -> dict[str, str]:
    if name in MANY:
        return _by_name(call, MANY[name](call, errors))
    if name not in RULES:
        raise LookupError
    if any(errors[1:]):
        raise LookupError("more than the first output reaches the loss")
    return _ruled(call, name, errors[0])


def _general_rule(call: Call, _: str, errors: list[str]) -> dict[str, str]:
    w, tape = call.w, call.tape
    # A node that got further outputs for the sake of its rule before that gave up has more of them than errors.
    whole = [
        _full(w, tape, error, value) if error else "" for error, value in zip(errors, call.node.output, strict=False)
    ]
    return general_rule(call, whole)


def _ruled(call: Call, name: str, error: str) -> dict[str, str]:
    waits = call.tape.frugal and name in PRODUCTS and call.wants(0) and (call.wants(1) or call.wants(2))
    if not waits:
        return _by_name(call, RULES[name](call, error))
    # A runtime may follow the errors to the bottom first, and keep all of them for the weights. So the weight's gradient
    # is made first: the error that is passed on waits for it.
    call.only = "others"
    found = _by_name(call, RULES[name](call, error))
    call.only = "first"
    waiting = call.w.declare(
        after(call.w, error, next(iter(found.values()))), call.w.dtype(call.y()), call.w.shape(call.y())
    )
    return found | _by_name(call, RULES[name](call, waiting))


def _by_name(call: Call, found: object) -> dict[str, str]:
    result: dict[str, str] = {}
    for at, gradient in dict(found).items():  # type: ignore[call-overload]
        name = call.x(at)
        if name in result:  # the same value in two places of one node
            result[name] = call.op("Add", result[name], gradient)
        else:
            result[name] = gradient
    return result


def _total(w: Writer, tape: Tape, parts: list[str], value: str) -> str:
    if not parts:
        return ""
    total = parts[0]
    for part in parts[1:]:
        partial = total in tape.partial and part in tape.partial
        total = w.node("Add", total, part)
        if partial:
            tape.partial.add(total)
        w.declare(total, w.dtype(value), None if partial else w.shape(value))
    return total


def _full(w: Writer, tape: Tape, gradient: str, value: str) -> str:
    if gradient not in tape.partial:
        return gradient
    whole = expand_like(w, gradient, value)
    return w.declare(whole, w.dtype(value), w.shape(value))


def _refusal(faults: list[dict[str, str]]) -> UnsupportedError:
    lines = "; ".join(f"{f['operator']} ({f['node']}): {f['reason']}" for f in faults[:20])
    return UnsupportedError(
        f"{len(faults)} node{'s' if len(faults) > 1 else ''} between the parameters and the loss cannot be differentiated: {lines}",
        remedy="Freeze the parameters below these nodes, or export the model without them.",
        nodes=faults,
    )
