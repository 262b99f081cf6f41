"""An operator that ONNX defines by others, as the model of those others: what a runtime makes of it that has no kernel for it."""

from onnx import AttributeProto, FunctionProto, ModelProto, NodeProto, TensorProto, TypeProto, defs, helper

from edgewise.compress.targets.view import View
from edgewise.graph.walk import DTYPES

__all__ = ["parts"]

_ELEMENTS = {name: element for element, name in DTYPES.items()}


def parts(node: NodeProto, schema: defs.OpSchema | None, opset: int, *, view: View) -> ModelProto | None:
    """The operators that ``node`` is defined by, with its own input types and attributes; None where ONNX defines it by no others.

    opset: the model's. Without nodes where the types are not known that the definition depends on.
    """
    if schema is None or not (schema.has_function or schema.has_context_dependent_function):
        return None
    types = [_type(name, view) for name in node.input]
    known = all(kind.HasField("tensor_type") for kind, name in zip(types, node.input, strict=True) if name)
    if schema.has_context_dependent_function and not known:
        return helper.make_model(helper.make_graph([], schema.name, [], []))
    body = _body(node, schema, opset, types)
    if body is None:
        return None
    own = {attribute.name: attribute for attribute in node.attribute}
    defaults = {name: each.default_value for name, each in schema.attributes.items() if each.default_value.type}
    nodes = [_filled(part, {**defaults, **own}) for part in body.node]
    inputs = [
        helper.make_value_info(name, kind)
        for name, kind, given in zip(body.input, types, node.input, strict=False)
        if given and kind.HasField("tensor_type")
    ]
    graph = helper.make_graph(nodes, schema.name, inputs, [])
    return helper.make_model(graph, opset_imports=body.opset_import)


def _type(name: str, view: View) -> TypeProto:
    element = _ELEMENTS.get(view.dtype(name), TensorProto.UNDEFINED)
    return helper.make_tensor_type_proto(element, view.shape(name)) if name and element else TypeProto()


def _body(node: NodeProto, schema: defs.OpSchema, opset: int, types: list[TypeProto]) -> FunctionProto | None:
    """The newest definition of this form of the operator that the model's opset knows.

    One that does not depend on types counts only if the operators in it are still the same in that opset: onnx asks that
    (``OpSchema::GetFunction``), and onnxruntime leaves the operator as it is where they are not.
    """
    by_types = schema.has_context_dependent_function
    versions = schema.context_dependent_function_opset_versions if by_types else schema.function_opset_versions
    version = max((each for each in versions if each <= opset), default=None)
    if version is None:
        return None
    text = (
        schema.get_context_dependent_function_with_opset_version(
            version, node.SerializeToString(), [kind.SerializeToString() for kind in types]
        )
        if by_types
        else schema.get_function_with_opset_version(version)
    )
    body = FunctionProto.FromString(text) if text else FunctionProto()
    if not body.node:
        return None
    if not by_types and any(_since(part, version) != _since(part, opset) for part in body.node):
        return None
    if not body.opset_import:
        body.opset_import.append(helper.make_opsetid("", version))
    return body


def _since(part: NodeProto, version: int) -> int:
    try:
        return int(defs.get_schema(part.op_type, version, part.domain).since_version)
    except defs.SchemaError:
        return 0


def _filled(part: NodeProto, values: dict[str, AttributeProto]) -> NodeProto:
    """``part`` with the attributes of the function in place of references to them."""
    found = NodeProto()
    found.CopyFrom(part)
    del found.attribute[:]
    for attribute in part.attribute:
        if not attribute.ref_attr_name:
            found.attribute.append(attribute)
        elif attribute.ref_attr_name in values:
            filled = found.attribute.add()
            filled.CopyFrom(values[attribute.ref_attr_name])
            filled.name = attribute.name
    return found
