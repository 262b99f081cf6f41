"""The same graph in fewer bytes: what a file holds besides weights is names, notes and what goes without saying.

In a small network that is a third of the file. Names of inputs, outputs and dimensions stay, since callers use them; so does the
model's metadata.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, product
from string import ascii_letters

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgewise.compress.passes import Watch, nobody
from edgewise.compress.samples import Samples
from edgewise.graph.order import pruned
from edgewise.graph.rename import rename
from edgewise.graph.walk import graphs, is_default_domain, opsets, tensors

__all__ = ["Compact", "compacted"]

_WINDOWED = {"Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool"}


@dataclass(frozen=True, slots=True)
class Compact:
    """The pass of ``compacted``: the last of a chain, since nothing can be found by its name behind it."""

    @property
    def name(self) -> str:
        return "compact"

    def describe(self) -> str:
        return "short names, defaults and notes left out, equal constants stored once"

    def apply(self, model: ModelProto, samples: Samples, watch: Watch = nobody) -> ModelProto:  # noqa: ARG002  (the protocol)
        return compacted(model)


def compacted(model: ModelProto) -> ModelProto:
    """``model`` with the same answers, inputs, outputs and metadata, in fewer bytes.

    Nodes lose their names, other values get short ones; equal initializers are one; attributes that have their default, notes and
    inferred shapes are left out; numbers are stored as raw bytes.
    """
    small = pruned(model)
    _share(small.graph)
    for tensor in tensors(small):
        _raw(tensor)
    versions = opsets(small)
    for graph in graphs(small.graph):
        graph.ClearField("doc_string")
        graph.ClearField("value_info")
        for value in (*graph.input, *graph.output):
            value.ClearField("doc_string")
        for node in graph.node:
            _bare(node, versions)
    small.ClearField("doc_string")
    rename(small.graph, _short(small.graph))
    small.graph.name = "g"  # a graph must have a name
    return small


def _share(graph: GraphProto) -> None:
    """One initializer for all equal ones. Those that are inputs as well, or outputs, are left as they are."""
    fixed = {value.name for value in (*graph.input, *graph.output)}
    first: dict[tuple[int, tuple[int, ...], bytes], str] = {}
    same: dict[str, str] = {}
    for tensor in graph.initializer:
        if (
            tensor.name in fixed
            or tensor.data_location == TensorProto.EXTERNAL
            or tensor.data_type == TensorProto.STRING
        ):
            continue
        key = (tensor.data_type, tuple(tensor.dims), numpy_helper.to_array(tensor).tobytes())
        if first.setdefault(key, tensor.name) != tensor.name:
            same[tensor.name] = first[key]
    kept = [tensor for tensor in graph.initializer if tensor.name not in same]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for part in graphs(graph):
        hidden = set() if part is graph else {tensor.name for tensor in part.initializer} | {i.name for i in part.input}
        for node in part.node:
            node.input[:] = [name if name in hidden else same.get(name, name) for name in node.input]
        for value in part.output:
            if part is not graph and value.name not in hidden:
                value.name = same.get(value.name, value.name)


def _raw(tensor: TensorProto) -> None:
    tensor.ClearField("doc_string")
    if (
        tensor.HasField("raw_data")
        or tensor.data_location == TensorProto.EXTERNAL
        or tensor.data_type == TensorProto.STRING
    ):
        return
    name = tensor.name
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), name))


def _bare(node: NodeProto, versions: dict[str, int]) -> None:
    node.ClearField("name")
    node.ClearField("doc_string")
    while node.input and not node.input[-1]:
        node.input.pop()
    while len(node.output) > 1 and not node.output[-1]:
        node.output.pop()
    if is_default_domain(node.domain):
        node.ClearField("domain")
        kept = [entry for entry in node.attribute if not _goes_without_saying(node, entry, versions[""])]
        del node.attribute[:]
        node.attribute.extend(kept)
    for entry in node.attribute:
        entry.ClearField("doc_string")


def _goes_without_saying(node: NodeProto, entry: AttributeProto, version: int) -> bool:
    if entry.ref_attr_name:
        return False
    value = helper.get_attribute_value(entry)
    if node.op_type in _WINDOWED:
        if entry.name in {"dilations", "strides"} and set(value) == {1}:
            return True
        if entry.name in {"pads", "output_padding"} and set(value) == {0}:
            return not any(other.name == "auto_pad" and other.s not in {b"", b"NOTSET"} for other in node.attribute)
        if entry.name == "kernel_shape" and node.op_type in {"Conv", "ConvTranspose"}:
            return False  # optional to ONNX, but other readers look for it
    schema = onnx.defs.get_schema(node.op_type, version, "")
    default = schema.attributes[entry.name].default_value if entry.name in schema.attributes else None
    if default is None or default.type == AttributeProto.UNDEFINED or default.type != entry.type:
        return False
    return bool(np.array_equal(np.asarray(helper.get_attribute_value(default)), np.asarray(value)))


def _short(graph: GraphProto) -> dict[str, str]:
    """Short names for all that no caller knows, the most used first; nested graphs too, no name twice."""
    fixed = {value.name for value in (*graph.input, *graph.output)}
    uses: dict[str, int] = {}
    for part in graphs(graph):
        for tensor in part.initializer:
            uses[tensor.name] = uses.get(tensor.name, 0) + 1
        for value in (*part.input, *part.output):
            uses[value.name] = uses.get(value.name, 0) + 1
        for node in part.node:
            for name in (*node.input, *node.output):
                uses[name] = uses.get(name, 0) + 1
    free = (name for name in _names() if name not in fixed)
    names = sorted(set(uses) - fixed - {""}, key=lambda name: (-uses[name], name))
    return {name: next(free) for name in names}


def _names() -> Iterator[str]:
    for length in count(1):
        yield from map("".join, product(ascii_letters, repeat=length))
