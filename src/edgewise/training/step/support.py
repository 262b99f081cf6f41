"""What stands between the chosen weights and the loss, looked at before anything is built or run."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from onnx import NodeProto

from edgewise.autodiff.differentiate import stops
from edgewise.errors import UnsupportedError
from edgewise.graph.order import captured
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.opening import node_name

__all__ = ["Obstacle", "obstacles", "require_trainable"]

_FLOATS = {"float16", "bfloat16", "float32", "float64", ""}
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Obstacle:
    """A node that cannot be trained through, or (with operator "weight") a weight that the loss does not depend on."""

    operator: str
    node: str
    reason: str

    def __str__(self) -> str:
        return f"{self.operator} ({self.node}): {self.reason}"


def obstacles(
    writer: Writer, loss: str, parameters: Sequence[str], has_rule: Callable[[NodeProto], str | None]
) -> tuple[Obstacle, ...]:
    """Everything that keeps ``parameters`` from being trained by ``loss``, in the order of the graph.

    has_rule: gives the reason why a node has no derivative, None where it has one. Only nodes that lie on a way from a
    parameter to the loss are asked. ``writer.infer()`` must have been called.
    """
    nodes = list(writer.graph.node)
    needed = _needed(nodes, loss)
    reached = set(parameters)  # what a change of a parameter changes by a small amount
    sources = {name: {name} for name in parameters}
    found: list[Obstacle] = []
    ended: dict[str, NodeProto] = {}
    for node in nodes:
        inputs = captured(node) & reached
        if not inputs:
            continue
        origin = set().union(*(sources[name] for name in inputs))
        if stops(node) or all(writer.dtype(name) not in _FLOATS for name in node.output if name):
            ended.update(dict.fromkeys(origin, node))
            continue
        if any(name in needed for name in node.output) and (reason := has_rule(node)):
            found.append(Obstacle(_operator(node), node_name(node), reason))
        for name in node.output:
            if name:
                reached.add(name)
                sources[name] = origin
    lost = [name for name in parameters if name not in sources.get(loss, set())]
    return *found, *(Obstacle("weight", name, _why(ended.get(name))) for name in lost)


def require_trainable(
    writer: Writer, loss: str, parameters: Sequence[str], has_rule: Callable[[NodeProto], str | None]
) -> None:
    """Raise one UnsupportedError with every obstacle; ``details["nodes"]`` lists operator, node and reason of each."""
    found = obstacles(writer, loss, parameters, has_rule)
    if found:
        more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise UnsupportedError(
            f"this cannot be trained: {'; '.join(map(str, found[:_SHOWN]))}{more}",
            remedy="Freeze the weights below these nodes, or export the model without them.",
            nodes=[asdict(entry) for entry in found],
        )


def _needed(nodes: Sequence[NodeProto], loss: str) -> set[str]:
    needed = {loss}
    for node in reversed(nodes):
        if any(name in needed for name in node.output):
            needed |= captured(node)
    return needed


def _operator(node: NodeProto) -> str:
    return node.op_type if node.domain in {"", "ai.onnx"} else f"{node.domain}.{node.op_type}"


def _why(node: NodeProto | None) -> str:
    if node is None:
        return "the loss does not depend on it"
    return f"nothing flows back through {_operator(node)} ({node_name(node)}) on the way to the loss"
