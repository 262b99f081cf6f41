"""Joining a fragment to a model: one artefact from raw array to answer.

The model keeps all its names; a name of the fragment that the model has too gets ``pre_`` or ``post_`` in front. Dimensions
are unified over the seam: a number on one side holds for the name on the other, and a fragment's ``batch`` takes the name
that the model uses. Names of dimensions that stay apart are kept apart, since a runtime may plan memory on equal names.

onnx.compose does not align opsets, prefixes everything or nothing, knows nothing of dimensions, and sends the whole model
through the checker as one message, which ends at 2 GiB; hence the merge is written out here.
"""

from collections.abc import Mapping
from typing import Literal

from onnx import GraphProto, ModelProto, ValueInfoProto

from edgewise.errors import InputError, ModelError, UnsupportedError
from edgewise.graph.inspect import checked
from edgewise.graph.opset import at_opset
from edgewise.graph.rename import dimension_names, fresh_names, rename, rename_dimensions, taken_names
from edgewise.graph.walk import dtype_name, opsets

__all__ = ["append", "prepend"]

_ANONYMOUS = ("", "?", "None")  # what exporters write for "not known": equal texts say nothing


def prepend(fragment: ModelProto, model: ModelProto, mapping: Mapping[str, str] | None = None) -> ModelProto:
    """``fragment``, then ``model``: the result takes the fragment's inputs in place of the model's that are fed by it.

    mapping: output of the fragment -> input of the model. Without one: the only ones there are, else equal names.
    Outputs of the fragment that feed nothing become outputs. Neither argument is changed.
    Raises InputError where the mapping names what is not there or is needed and missing; ModelError where types or shapes
    do not meet; UnsupportedError, naming both, for opsets that cannot be brought together.
    """
    return _join(fragment, model, mapping, "pre_")


def append(model: ModelProto, fragment: ModelProto, mapping: Mapping[str, str] | None = None) -> ModelProto:
    """``model``, then ``fragment``: the result has the fragment's outputs in place of the model's that feed it.

    mapping: output of the model -> input of the fragment. Otherwise as ``prepend``; inputs of the fragment that nothing
    feeds become inputs, outputs of the model that feed nothing stay.
    """
    return _join(fragment, model, mapping, "post_")


def _join(
    fragment: ModelProto, model: ModelProto, mapping: Mapping[str, str] | None, prefix: Literal["pre_", "post_"]
) -> ModelProto:
    opset = max(opsets(fragment).get("", 0), opsets(model).get("", 0))
    fragment, model = at_opset(fragment, opset), at_opset(model, opset)
    front, back = (fragment, model) if prefix == "pre_" else (model, fragment)
    pairs = _pairs(front.graph, back.graph, mapping, every="outputs" if prefix == "pre_" else "inputs")
    # From here on, the fragment's name -> the model's name.
    seam = pairs if prefix == "pre_" else {into: out for out, into in pairs.items()}
    _unify_dimensions(fragment, model, seam, prefix)
    own = taken_names(fragment.graph) - set(seam)
    rename(fragment.graph, fresh_names(own, taken_names(model.graph), prefix) | seam)
    _own_node_names(fragment.graph, model.graph, prefix)
    _merge_graphs(fragment.graph, model.graph, set(seam.values()), prefix)
    _merge_rest(fragment, model)
    return checked(model)


def _own_node_names(fragment: GraphProto, model: GraphProto, prefix: str) -> None:
    """A node called like the value at the seam keeps its name through the renaming, and a node of the model may have it."""
    taken = {node.name for node in model.node}
    names = fresh_names({node.name for node in fragment.node if node.name} & taken, taken, prefix)
    for node in fragment.node:
        node.name = names.get(node.name, node.name)


def _pairs(
    front: GraphProto, back: GraphProto, mapping: Mapping[str, str] | None, every: Literal["outputs", "inputs"]
) -> dict[str, str]:
    outputs = [value.name for value in front.output]
    stored = {tensor.name for tensor in back.initializer}
    inputs = [value.name for value in back.input if value.name not in stored]
    if mapping is None:
        needed = outputs if every == "outputs" else inputs
        if len(outputs) == len(inputs) == 1:
            return {outputs[0]: inputs[0]}
        if not needed or not set(needed) <= set(outputs) & set(inputs):
            raise InputError(
                f"it is not clear what feeds what: outputs {', '.join(outputs)}; inputs {', '.join(inputs)}",
                remedy="Pass mapping={'OUTPUT': 'INPUT'}.",
                outputs=outputs,
                inputs=inputs,
            )
        return {name: name for name in needed}
    unknown = [name for name in mapping if name not in outputs] + [n for n in mapping.values() if n not in inputs]
    if unknown or not mapping or len(set(mapping.values())) < len(mapping):
        raise InputError(
            f"the mapping is empty, feeds an input twice, or names what is not there: {', '.join(unknown) or dict(mapping)}",
            remedy=f"Outputs are {', '.join(outputs)}; inputs are {', '.join(inputs)}.",
        )
    return dict(mapping)


def _unify_dimensions(fragment: ModelProto, model: ModelProto, seam: Mapping[str, str], prefix: str) -> None:
    theirs = {value.name: value for value in (*model.graph.input, *model.graph.output)}
    ours = {value.name: value for value in (*fragment.graph.input, *fragment.graph.output)}
    equal = _Equalities()
    for name, other in seam.items():
        _unify(ours[name], theirs[other], equal)
    taken = dimension_names(model)
    apart = {name: name for name in dimension_names(fragment) if equal.of(("fragment", name)) == ("fragment", name)}
    names: dict[str, int | str] = dict(fresh_names(apart, taken, prefix))
    for name in dimension_names(fragment) - set(apart):
        names[name] = equal.text(("fragment", name))
    rename_dimensions(fragment, names)
    rename_dimensions(model, {name: equal.text(("model", name)) for name in taken})


_Dim = int | tuple[Literal["fragment", "model"], str]


class _Equalities:
    """Classes of dimensions that are equal, each with the one that speaks for it: a number, else a name of the model."""

    def __init__(self) -> None:
        self._speaker: dict[_Dim, _Dim] = {}

    def of(self, dim: _Dim) -> _Dim:
        while dim in self._speaker:
            dim = self._speaker[dim]
        return dim

    def text(self, dim: _Dim) -> int | str:
        speaker = self.of(dim)
        return speaker if isinstance(speaker, int) else speaker[1]

    def add(self, left: _Dim, right: _Dim) -> bool:
        """False where two different numbers would be equal."""
        # Numbers sort first, then the names of the model.
        first, second = sorted(
            (self.of(left), self.of(right)), key=lambda d: 0 if isinstance(d, int) else 1 + (d[0] != "model")
        )
        if isinstance(second, int):
            return first == second
        if first != second:
            self._speaker[second] = first
        return True


def _unify(ours: ValueInfoProto, theirs: ValueInfoProto, equal: _Equalities) -> None:
    left, right = ours.type.tensor_type, theirs.type.tensor_type
    if (
        not (ours.type.HasField("tensor_type") and theirs.type.HasField("tensor_type"))
        or left.elem_type != right.elem_type
    ):
        raise ModelError(
            f"the fragment's {ours.name} is {dtype_name(left.elem_type)}, "
            f"the model's {theirs.name} is {dtype_name(right.elem_type)}",
            remedy="Join tensors of one element type, or put a fragment that converts between them.",
        )
    if not (left.HasField("shape") and right.HasField("shape")):
        return
    fits = len(left.shape.dim) == len(right.shape.dim)
    for one, other in zip(left.shape.dim, right.shape.dim, strict=False):
        dims: list[_Dim] = []
        for dim, side in ((one, "fragment"), (other, "model")):
            if dim.HasField("dim_value"):
                dims.append(int(dim.dim_value))
            elif dim.dim_param not in _ANONYMOUS:
                dims.append(("fragment" if side == "fragment" else "model", dim.dim_param))
        fits = fits and (len(dims) < 2 or equal.add(dims[0], dims[1]))
    if not fits:
        raise ModelError(
            f"the fragment's {ours.name} has the shape {_shape(ours)}, the model's {theirs.name} {_shape(theirs)}",
            remedy="Build the fragment with the size, channels and layout that the model takes.",
        )


def _shape(value: ValueInfoProto) -> str:
    dims = [
        str(dim.dim_value) if dim.HasField("dim_value") else dim.dim_param or "?"
        for dim in value.type.tensor_type.shape.dim
    ]
    return f"({', '.join(dims)})"


def _merge_graphs(fragment: GraphProto, model: GraphProto, seam: set[str], prefix: str) -> None:
    """Put the fragment, already renamed, into the model's graph; what lies on the seam becomes internal."""
    in_front = prefix == "pre_"
    nodes = [*fragment.node, *model.node] if in_front else [*model.node, *fragment.node]
    inputs = (
        _replaced(model.input, fragment.input, seam) if in_front else [*model.input, *_others(fragment.input, seam)]
    )
    outputs = (
        [*_others(fragment.output, seam), *model.output] if in_front else _replaced(model.output, fragment.output, seam)
    )
    inner = [value for value in (model.input if in_front else model.output) if value.name in seam]
    known = {value.name for value in inner}
    infos = [*inner, *(value for value in (*model.value_info, *fragment.value_info) if value.name not in known)]
    for field, values in (("node", nodes), ("input", inputs), ("output", outputs), ("value_info", infos)):
        fresh = GraphProto()
        getattr(fresh, field).extend(values)
        model.ClearField(field)
        getattr(model, field).extend(getattr(fresh, field))
    model.initializer.extend(fragment.initializer)
    model.sparse_initializer.extend(fragment.sparse_initializer)
    model.quantization_annotation.extend(fragment.quantization_annotation)


def _others(values: list[ValueInfoProto], names: set[str]) -> list[ValueInfoProto]:
    return [value for value in values if value.name not in names]


def _replaced(old: list[ValueInfoProto], new: list[ValueInfoProto], gone: set[str]) -> list[ValueInfoProto]:
    """``old`` with ``new`` where the first of ``gone`` was."""
    at = next(index for index, value in enumerate(old) if value.name in gone)
    return [*_others(old[:at], gone), *new, *_others(old[at:], gone)]


def _merge_rest(fragment: ModelProto, model: ModelProto) -> None:
    model.ir_version = max(model.ir_version, fragment.ir_version)
    versions = opsets(model)
    for domain, version in opsets(fragment).items():
        if domain not in versions:
            model.opset_import.add(domain=domain, version=version)
        elif versions[domain] != version:
            raise UnsupportedError(
                f"the fragment uses {domain or 'ai.onnx'} {version} and the model {versions[domain]}", domain=domain
            )
    functions = {(function.domain, function.name, function.overload): function for function in model.functions}
    for function in fragment.functions:
        same = functions.get((function.domain, function.name, function.overload))
        if same is None:
            model.functions.append(function)
        elif same != function:
            raise UnsupportedError(
                f"the fragment and the model each have a function {function.domain}::{function.name}, and they differ",
                remedy="Inline the functions of one of them (onnx.inliner.inline_local_functions).",
            )
    keys = {entry.key for entry in model.metadata_props}
    model.metadata_props.extend(entry for entry in fragment.metadata_props if entry.key not in keys)
