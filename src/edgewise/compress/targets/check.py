"""A model held against a target: node by node, what runs there, what does not, and why."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from onnx import ModelProto, NodeProto, defs

from edgewise.compress.targets.needs import look
from edgewise.compress.targets.parts import parts
from edgewise.compress.targets.profile import Entry, Profile, find_profile
from edgewise.compress.targets.view import View
from edgewise.graph.inspect import describe
from edgewise.graph.walk import is_default_domain, nodes, opsets
from edgewise.training.rewrites.opening import node_name

__all__ = ["FAILS", "Fit", "NodeFit", "Problem", "check_target_fit"]

State = Literal["runs", "limited", "missing"]
#: What becomes of a node that nothing has.
FAILS = "fails"
#: Operators without a kernel: a runtime puts their results in place before it runs.
_FOLDED = frozenset({"Constant"})
_QUANTIZED = frozenset({"QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True, slots=True)
class NodeFit:
    """state: ``runs``; ``limited`` where the source leaves forms out that the model does not rule out, or another way is taken
    (``why`` says which); ``missing``. otherwise: what becomes of a node that is missing, "" for others.
    """

    node: str
    operator: str
    state: State
    why: str = ""
    otherwise: str = ""

    def to_json(self) -> dict[str, Any]:
        return {
            "node": self.node, "operator": self.operator, "state": self.state, "why": self.why, "otherwise": self.otherwise,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the model as a whole does not open there. kind ``bytes`` is the one that a smaller model does not have."""

    kind: Literal["opset", "irVersion", "shapes", "bytes"]
    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Fit:
    """problems: of the model as a whole. remarks: what of it nobody tried there."""

    profile: Profile
    nodes: tuple[NodeFit, ...]
    problems: tuple[Problem, ...]
    remarks: tuple[str, ...] = ()

    @property
    def missing(self) -> tuple[NodeFit, ...]:
        """Nodes that the target has not."""
        return tuple(node for node in self.nodes if node.state == "missing")

    @property
    def runs(self) -> bool:
        """Whether the model opens there: everything is there, or what is missing falls back."""
        return not self.problems and not any(node.otherwise == FAILS for node in self.missing)

    def to_json(self) -> dict[str, Any]:
        return {
            "target": self.profile.name, "title": self.profile.title, "runs": self.runs, "otherwise": self.profile.otherwise,
            "sources": list(self.profile.sources), "checked": self.profile.checked, "unknown": self.profile.unknown,
            "problems": [problem.text for problem in self.problems], "remarks": list(self.remarks),
            "nodes": [node.to_json() for node in self.nodes if node.state != "runs"], "total": len(self.nodes),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Asked:
    """A node with what is known around it. opset: the model's. schema: of its operator there; None where ONNX has none."""

    node: NodeProto
    key: str
    opset: int
    schema: defs.OpSchema | None
    view: View

    @property
    def since(self) -> int | None:
        return self.schema.since_version if self.schema is not None else None


def check_target_fit(model: ModelProto, profile: Profile) -> Fit:
    """What of ``model`` the target has. Nothing is run; subgraphs and the model's own functions are looked into."""
    view = View(model)
    versions = {domain or "": version for domain, version in opsets(model).items()}
    own = {(function.domain, function.name) for function in model.functions}
    found = tuple(
        _fit(_asked(node, view, versions), profile)
        for node in nodes(model)
        if node.op_type not in _FOLDED and (node.domain, node.op_type) not in own
    )
    free = "; ".join(f"{v.name} ({_dims(v.shape)})" for v in describe(model).inputs if not _fixed(v.shape))
    remarks = (f"dimensions that vary: {free}: {profile.varying}",) if free and profile.varying else ()
    return Fit(profile, found, tuple(_problems(model, profile, versions, free)), remarks)


def _asked(node: NodeProto, view: View, versions: Mapping[str, int]) -> _Asked:
    domain = "" if is_default_domain(node.domain) else node.domain
    key = f"{domain}:{node.op_type}" if domain else node.op_type
    opset = versions.get(domain, 1)
    return _Asked(node, key, opset, _schema(node.op_type, domain, opset), view)


def _fit(asked: _Asked, profile: Profile) -> NodeFit:
    name, key = node_name(asked.node), asked.key
    if profile.folds and asked.node.output and asked.view.stored(asked.node.output[0]):
        return NodeFit(name, key, "runs")
    entry = profile.operators.get(key)
    why, limits = _held(asked, entry, profile)
    if not why:
        return NodeFit(name, key, "limited" if limits else "runs", limits)
    body = parts(asked.node, asked.schema, asked.opset, view=asked.view) if profile.expands else None
    if body is not None and not any(each.otherwise == FAILS for each in check_target_fit(body, profile).missing):
        # onnxruntime takes an operator that nobody has a kernel for apart into those that it is defined by.
        return NodeFit(name, key, "limited", f"{why}; taken apart into the operators that it is defined by")
    if profile.fallback is not None:
        behind = _fit(asked, find_profile(profile.fallback))
        if behind.state == "missing":
            return NodeFit(name, key, "missing", f"{why}; nor has the CPU: {behind.why}", FAILS)
    return NodeFit(name, key, "missing", why, profile.otherwise)


def _held(asked: _Asked, entry: Entry | None, profile: Profile) -> tuple[str, str]:
    """Why the node does not run, and where it does, what is to be said of that."""
    if entry is None:
        return "the target has no such operator", ""
    dtypes = _dtypes(asked, profile)
    why, cast = entry.lacks(asked.since, dtypes), ""
    others = {place: profile.casts.get(dtype, dtype) for place, dtype in dtypes.items()}
    if why and others != dtypes and not entry.lacks(asked.since, others):
        why, cast = (
            "",
            f"in {profile.casts[next(name for name in dtypes.values() if name in profile.casts)]}, between casts",
        )
    if why:
        return why, ""
    verdict = look(entry.needs, asked.node, asked.view, asked.schema)
    untried = f"not tried for {dtypes[0]}" if entry.untried(dtypes.get(0, "")) else ""
    return "; ".join(verdict.broken), "; ".join(filter(None, (cast, untried, *verdict.open, entry.note)))


def _dtypes(asked: _Asked, profile: Profile) -> dict[int, str]:
    """Element types by place. Where the target takes integers alone, the first is the one before a DequantizeLinear."""
    node, view = asked.node, asked.view
    found = {at: view.dtype(name) for at, name in enumerate(node.input) if name}
    if node.output and node.output[0]:
        found[-1] = view.dtype(node.output[0])
    before = view.maker(node.input[0]) if node.input else None
    if (
        profile.quantized
        and asked.key not in _QUANTIZED
        and before is not None
        and before.op_type == "DequantizeLinear"
    ):
        found[0] = view.dtype(before.input[0])
    return found


def _schema(operator: str, domain: str, version: int) -> defs.OpSchema | None:
    try:
        return defs.get_schema(operator, version, domain)
    except defs.SchemaError:
        return None


def _problems(model: ModelProto, profile: Profile, versions: Mapping[str, int], free: str) -> Iterator[Problem]:
    yield from _versions(model, profile, versions)
    if profile.fixed_shapes and free:
        yield Problem("shapes", f"dimensions that vary: {free}")
    most = profile.limits.get("modelBytes")
    if most is not None and model.ByteSize() > most:
        yield Problem("bytes", f"the model has {model.ByteSize()} bytes; the target takes {most}")


def _versions(model: ModelProto, profile: Profile, versions: Mapping[str, int]) -> Iterator[Problem]:
    """What nodes fall back to opens the whole model first, so its bounds hold as well."""
    opset, (lowest, highest) = versions.get("", 0), profile.opsets
    behind = find_profile(profile.fallback) if profile.fallback is not None else None
    if behind is not None and highest is None:
        highest = behind.opsets[1]
    if highest is not None and opset > highest:
        yield Problem("opset", f"the model is of opset {opset}; the target knows opset {highest} at most")
    if lowest is not None and 0 < opset < lowest:
        yield Problem("opset", f"the model is of opset {opset}; the target knows opset {lowest} at least")
    most = profile.ir_version or (behind.ir_version if behind is not None else None)
    if most is not None and model.ir_version > most:
        yield Problem(
            "irVersion", f"the model is of IR version {model.ir_version}; the target knows IR version {most} at most"
        )


def _fixed(shape: tuple[int | str, ...] | None) -> bool:
    return shape is not None and all(isinstance(dim, int) for dim in shape)


def _dims(shape: tuple[int | str, ...] | None) -> str:
    return "even their number" if shape is None else ", ".join(map(str, shape))
