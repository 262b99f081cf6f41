"""Who makes and who reads each value of a graph: what every rewrite asks before it takes a node out."""

from collections import Counter

from onnx import NodeProto

from edgewise.graph.order import captured
from edgewise.graph.walk import is_default_domain
from edgewise.graph.writer import Writer

__all__ = ["Links"]


class Links:
    """Of a graph as it is now; made anew after each change."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer
        self.makers = {name: node for node in writer.graph.node for name in node.output if name}
        self.outputs = {value.name for value in writer.graph.output}
        self._reads = Counter(name for node in writer.graph.node for name in (*node.input, *captured(node)) if name)
        self._readers: dict[str, NodeProto] = {name: node for node in writer.graph.node for name in node.input if name}

    def maker(self, name: str, operator: str) -> NodeProto | None:
        """The node that makes ``name``, where it is this operator and nobody else reads what it makes."""
        node = self.makers.get(name)
        if node is None or node.op_type != operator or not is_default_domain(node.domain) or not self.alone(name):
            return None
        return node

    def alone(self, name: str) -> bool:
        """Whether one node reads ``name``, once, and it is no output of the graph."""
        # A plain input is counted twice: as an input and as something captured.
        return self._reads[name] == 2 and name not in self.outputs

    def reader(self, name: str) -> NodeProto | None:
        """The only node that reads ``name``; None where there are others, or it is an output of the graph."""
        return self._readers.get(name) if self.alone(name) else None
