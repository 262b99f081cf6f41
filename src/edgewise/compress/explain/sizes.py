"""Where the bytes of a model are: by the layer that reads them."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto, TensorProto

from edgewise.graph.walk import nodes
from edgewise.training.rewrites.opening import node_name

__all__ = ["SizeShare", "sizes_of"]


@dataclass(frozen=True, slots=True)
class SizeShare:
    """layer: name of the node. bytes: of the stored values that it reads, wherever they are unpacked."""

    layer: str
    operator: str
    bytes: int

    def to_json(self) -> dict[str, Any]:
        return {"layer": self.layer, "operator": self.operator, "bytes": self.bytes}


def sizes_of(model: ModelProto, size: int | None = None) -> tuple[SizeShare, ...]:
    """The largest first; what is not a stored value (names, attributes, the header) comes as ``the graph itself``.

    size: bytes of the file, where the model in memory has more (inferred shapes).
    """
    stored = {tensor.name: _bytes(tensor) for tensor in model.graph.initializer}
    unpacked: dict[str, list[str]] = {}
    shares: Counter[tuple[str, str]] = Counter()
    taken: set[str] = set()
    for node in nodes(model):
        own = [name for name in node.input if name in stored]
        behind = [name for source in node.input for name in unpacked.get(source, ())]
        # A node that reads nothing but stored values unpacks them: its reader is who they are for.
        if (own or behind) and len(own) + sum(name in unpacked for name in node.input) == len(node.input):
            for output in node.output:
                unpacked[output] = [*own, *behind]
            continue
        for name in (*own, *behind):
            if name not in taken:  # a value that several read counts once
                taken.add(name)
                shares[node_name(node), node.op_type] += stored[name]
    rest = (model.ByteSize() if size is None else size) - sum(shares.values())
    found = [SizeShare(layer, operator, count) for (layer, operator), count in shares.items() if count]
    return tuple(sorted([*found, SizeShare("the graph itself", "", rest)], key=lambda share: -share.bytes))


def _bytes(tensor: TensorProto) -> int:
    return len(tensor.raw_data) or tensor.ByteSize()
