"""Where the bytes of a model are: by the layer that reads them."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto, TensorProto

from edgewise.graph.walk import nodes
from edgewise.training.rewrites.opening import node_name

__all__ = ["SizeShare", "sizes_of"]

#: Operators that only unpack a stored value for the layer behind them.
_UNPACK = frozenset({"DequantizeLinear", "Cast", "Transpose", "Reshape", "Identity", "Unsqueeze", "Squeeze"})


@dataclass(frozen=True, slots=True)
class SizeShare:
    """layer: name of the node. bytes: of the stored values that it reads, wherever they are unpacked."""

    layer: str
    operator: str
    bytes: int

    def to_json(self) -> dict[str, Any]:
        return {"layer": self.layer, "operator": self.operator, "bytes": self.bytes}


def sizes_of(model: ModelProto) -> tuple[SizeShare, ...]:
    """The largest first; what is not a stored value (names, attributes, the header) comes as ``the graph itself``."""
    stored = {tensor.name: _bytes(tensor) for tensor in model.graph.initializer}
    unpacked: dict[str, list[str]] = {}
    shares: Counter[tuple[str, str]] = Counter()
    taken: set[str] = set()
    for node in nodes(model):
        own = [name for name in node.input if name in stored]
        behind = [name for source in node.input for name in unpacked.get(source, ())]
        if (
            node.op_type in _UNPACK
            and (own or behind)
            and len(own) + sum(i in unpacked for i in node.input) == len(node.input)
        ):
            for output in node.output:
                unpacked[output] = [*own, *behind]
            continue
        for name in (*own, *behind):
            if name not in taken:  # a value that several read counts once
                taken.add(name)
                shares[node_name(node), node.op_type] += stored[name]
    rest = model.ByteSize() - sum(shares.values())
    found = [SizeShare(layer, operator, count) for (layer, operator), count in shares.items() if count]
    return tuple(sorted([*found, SizeShare("the graph itself", "", rest)], key=lambda share: -share.bytes))


def _bytes(tensor: TensorProto) -> int:
    return len(tensor.raw_data) or tensor.ByteSize()
