"""Bringing a model to a later opset, so that it can share a graph with a fragment.

Most operators keep their meaning from one version to the next and only take more types. Where that holds for every node
(by onnx's own schemas: same attributes, same defaults, same inputs, what is new is optional), only the number in the model
changes: exact, and it works for functions, nested graphs and operators of other domains, which onnx.version_converter
handles poorly. The converter is for what is left.
"""

import onnx
from onnx import ModelProto, NodeProto
from onnx.defs import OpSchema

from edgewise.errors import UnsupportedError
from edgewise.graph.walk import is_default_domain, nodes, opsets

__all__ = ["at_opset"]

# Versions that changed the meaning of a model that is still valid under the new schema (onnx/version_converter/convert.h):
# another default, a new mandatory choice, scale per channel in place of per group.
_REWRITTEN = {"RoiAlign": 16, "Split": 18, "GroupNormalization": 21}


def at_opset(model: ModelProto, target: int) -> ModelProto:
    """A copy of ``model`` at the opset ``target``. Raises UnsupportedError naming both opsets where there is no way."""
    current = opsets(model).get("", target)
    copy = ModelProto()
    copy.CopyFrom(model)
    if current == target:
        return copy
    changed = [node.op_type for node in nodes(model) if not _keeps_meaning(node, current, target)]
    if current < target and not changed:
        for owner in (copy, *copy.functions):
            for entry in owner.opset_import:
                if is_default_domain(entry.domain):
                    entry.version = target
        return copy
    if current > target:
        raise _no_way(current, target, changed, "opsets are only raised")
    if any(attribute.HasField("g") for node in nodes(model) for attribute in node.attribute):
        raise _no_way(current, target, changed, "inside If and Loop onnx.version_converter is not reliable")
    try:
        plain = onnx.inliner.inline_local_functions(copy) if copy.functions else copy
        return onnx.version_converter.convert_version(plain, target)
    except (RuntimeError, ValueError, onnx.version_converter.ConvertError) as error:
        raise _no_way(current, target, changed, str(error).strip().splitlines()[0][:200]) from error


def _keeps_meaning(node: NodeProto, current: int, target: int) -> bool:
    if not is_default_domain(node.domain):
        return True
    try:
        old = onnx.defs.get_schema(node.op_type, current, "")
        new = onnx.defs.get_schema(node.op_type, target, "")
    except onnx.defs.SchemaError:
        return False
    if old.since_version == new.since_version:
        return True
    if new.deprecated or old.since_version < _REWRITTEN.get(node.op_type, 0) <= new.since_version:
        return False
    return _same_attributes(old, new) and _same_ends(old.inputs, new.inputs) and _same_ends(old.outputs, new.outputs)


def _same_attributes(old: OpSchema, new: OpSchema) -> bool:
    kept = all(
        name in new.attributes
        and (was.type, was.required, was.default_value)
        == (new.attributes[name].type, new.attributes[name].required, new.attributes[name].default_value)
        for name, was in old.attributes.items()
    )
    return kept and not any(added.required for name, added in new.attributes.items() if name not in old.attributes)


def _same_ends(old: list[OpSchema.FormalParameter], new: list[OpSchema.FormalParameter]) -> bool:
    added = new[len(old) :]
    return [end.option for end in old] == [end.option for end in new[: len(old)]] and all(
        end.option == OpSchema.FormalParameterOption.Optional for end in added
    )


def _no_way(current: int, target: int, changed: list[str], why: str) -> UnsupportedError:
    operators = ", ".join(sorted(set(changed))[:5])
    return UnsupportedError(
        f"opset {current} on one side and {target} on the other; {operators or 'the former'} cannot be brought there: {why}",
        remedy=f"Export it with opset {max(target, 18)}.",
        opset=current,
        needed=target,
        operators=sorted(set(changed)),
    )
