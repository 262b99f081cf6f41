"""A model held against a target: node by node, what runs there, what does not, and why."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from onnx import GraphProto, ModelProto, NodeProto, defs

from edgewise.compress.targets.profile import Entry, Profile
from edgewise.graph.inspect import describe
from edgewise.graph.walk import graphs, is_default_domain, opsets
from edgewise.graph.writer import Writer
from edgewise.training.rewrites.opening import node_name

__all__ = ["Fit", "NodeFit", "check_target_fit"]

State = Literal["runs", "limited", "missing"]
#: Operators without a kernel: a runtime puts their results in place before it runs.
_FOLDED = frozenset({"Constant"})


@dataclass(frozen=True, slots=True)
class NodeFit:
    """state: ``runs``; ``limited`` where the source leaves forms out (``why`` says which); ``missing``."""

    node: str
    operator: str
    state: State
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"node": self.node, "operator": self.operator, "state": self.state, "why": self.why}


@dataclass(frozen=True, slots=True)
class Fit:
    """problems: of the model as a whole (shapes that vary, opset, bytes)."""

    profile: Profile
    nodes: tuple[NodeFit, ...]
    problems: tuple[str, ...]

    @property
    def missing(self) -> tuple[NodeFit, ...]:
        """Nodes that the target has not."""
        return tuple(node for node in self.nodes if node.state == "missing")

    @property
    def runs(self) -> bool:
        """Whether the model opens there: everything is there, or what is missing falls back."""
        return not self.problems and not (self.missing and self.profile.otherwise == "fails")

    def to_json(self) -> dict[str, Any]:
        return {
            "target": self.profile.name, "title": self.profile.title, "runs": self.runs, "otherwise": self.profile.otherwise,
            "sources": list(self.profile.sources), "checked": self.profile.checked, "problems": list(self.problems),
            "nodes": [node.to_json() for node in self.nodes if node.state != "runs"], "total": len(self.nodes),
        }  # fmt: skip


def check_target_fit(model: ModelProto, profile: Profile) -> Fit:
    """What of ``model`` the target has. Nothing is run; subgraphs are looked into."""
    writer = Writer(model)
    versions = {domain or "": version for domain, version in opsets(model).items()}
    found = tuple(_fit(node, writer, versions, profile) for graph in graphs(model.graph) for node in _nodes(graph))
    return Fit(profile, found, tuple(_problems(model, profile, versions)))


def _nodes(graph: GraphProto) -> Iterator[NodeProto]:
    yield from (node for node in graph.node if node.op_type not in _FOLDED)


def _fit(node: NodeProto, writer: Writer, versions: dict[str, int], profile: Profile) -> NodeFit:
    domain = "" if is_default_domain(node.domain) else node.domain
    name, key = node_name(node), f"{domain}:{node.op_type}" if domain else node.op_type
    entry = profile.operators.get(key)
    schema = _schema(node.op_type, domain, versions.get(domain, 1))
    why = _why(entry, node, writer, schema)
    if entry is not None and profile.casts_half and why.startswith("not for float16") and "float32" in entry.types:
        return NodeFit(name, key, "limited", "in float32, between casts")
    if not why:
        assert entry is not None
        return NodeFit(name, key, "limited" if entry.note else "runs", entry.note)
    if schema is not None and (schema.has_function or schema.has_context_dependent_function):
        # A runtime without a kernel takes the operator apart into those that it is defined by.
        return NodeFit(name, key, "limited", f"{why}; taken apart into the operators that it is defined by")
    return NodeFit(name, key, "missing", why)


def _why(entry: Entry | None, node: NodeProto, writer: Writer, schema: defs.OpSchema | None) -> str:
    if entry is None:
        return "the target has no such operator"
    if schema is not None and not entry.has(schema.since_version):
        return f"not in the form that it has since opset {schema.since_version}"
    dtype = writer.dtype(node.input[0]) if node.input else ""
    if entry.types and dtype and dtype not in entry.types:
        return f"not for {dtype}, but for {', '.join(entry.types)}"
    return ""


def _schema(operator: str, domain: str, version: int) -> defs.OpSchema | None:
    try:
        return defs.get_schema(operator, version, domain)
    except defs.SchemaError:
        return None


def _problems(model: ModelProto, profile: Profile, versions: dict[str, int]) -> Iterator[str]:
    opset = versions.get("", 0)
    if profile.opset is not None and opset > profile.opset:
        yield f"the model is of opset {opset}; the target knows opset {profile.opset} at most"
    if profile.fixed_shapes:
        free = [
            f"{v.name} ({', '.join(map(str, v.shape))})"
            for v in describe(model).inputs
            if v.shape and not _fixed(v.shape)
        ]
        if free:
            yield f"dimensions that vary: {'; '.join(free)}"
    most = profile.limits.get("modelBytes")
    if most is not None and model.ByteSize() > most:
        yield f"the model has {model.ByteSize()} bytes; the target takes {most}"


def _fixed(shape: tuple[int | str, ...]) -> bool:
    return all(isinstance(dim, int) for dim in shape)
