"""BatchNormalization as it trains: with the statistics of the batch, and running averages out."""

from collections.abc import Sequence
from dataclasses import dataclass

from onnx import ModelProto, NodeProto, helper

from edgewise.errors import UnsupportedError
from edgewise.training.rewrites.opening import attribute, closed, node_name, opened, users
from edgewise.training.rewrites.patterns import matching

__all__ = ["BatchNorms", "train_batch_norm"]


@dataclass(frozen=True, slots=True)
class BatchNorms:
    """model: the graph with the chosen nodes in training form. buffers: initializer -> the value that replaces it."""

    model: ModelProto
    buffers: dict[str, str]


def train_batch_norm(model: ModelProto, nodes: Sequence[str] = ("*",), *, momentum: float | None = None) -> BatchNorms:
    """Put BatchNormalization nodes (by shell patterns of their names) into training form: Y, running mean, running variance.

    momentum: share of the old average that is kept, in ONNX's sense: running * momentum + batch * (1 - momentum); the node's
    own where None is given. The variance is the population's, as ONNX defines it (BatchNormalization-15); torch averages the
    unbiased one. Nodes that are not chosen keep their averages, as does what the exporter folded into a convolution.
    Raises InputError where a pattern matches nothing; UnsupportedError where a node's averages are not stored, or are shared
    with another node, which would leave them with two successors.
    """
    writer = opened(model)
    found = [node for node in writer.graph.node if node.op_type == "BatchNormalization"]
    wanted = set(matching(nodes, [node_name(node) for node in found], "BatchNormalization nodes"))
    chosen = [node for node in found if node_name(node) in wanted and not attribute(node, "training_mode", 0)]
    faults = [
        fault
        for node in chosen
        for name in node.input[3:5]
        if (fault := _fault(writer.array(name) is None, len(users(writer, name)), node, name))
    ]
    if faults:
        raise UnsupportedError(
            f"BatchNormalization cannot be trained: {'; '.join(faults)}",
            remedy="Leave these nodes out of the pattern; they keep their averages.",
            nodes=faults,
        )
    buffers: dict[str, str] = {}
    for node in chosen:
        kept = [a for a in node.attribute if a.name not in {"training_mode", "momentum"}]
        share = attribute(node, "momentum", 0.9) if momentum is None else momentum
        del node.attribute[:]
        node.attribute.extend(
            [*kept, helper.make_attribute("training_mode", 1), helper.make_attribute("momentum", share)]
        )
        outputs = [writer.fresh(f"{name}/running") for name in node.input[3:5]]
        del node.output[1:]
        node.output.extend(outputs)
        for name, output in zip(node.input[3:5], outputs, strict=True):
            writer.declare(output, writer.dtype(name), writer.shape(name))
            buffers[name] = output
    return BatchNorms(closed(writer), buffers)


def _fault(computed: bool, readers: int, node: NodeProto, name: str) -> str:
    if computed:
        return f"{node_name(node)}: {name!r} is computed"
    return f"{node_name(node)}: {name!r} is shared with another node" if readers > 1 else ""
