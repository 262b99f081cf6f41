"""Extending a model: new nodes, constants, inputs and outputs, under names that are new in it."""

import hashlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgewise.graph.inference import Dims, inferred_types
from edgewise.graph.walk import DTYPES, graphs

__all__ = ["Dims", "Writer"]

_ELEMENTS = {name: element for element, name in DTYPES.items()}
_INLINE = 64  # bytes of a constant that are compared as they are; longer ones by digest


class Writer:
    """A model being extended. Final. ``model`` is its own copy; values are named by strings, as in ONNX.

    What is written twice is stored once: an equal constant, or a node with the same operator, inputs and attributes,
    gives the name it had the first time.
    """

    def __init__(self, model: ModelProto) -> None:
        self.model = ModelProto()
        self.model.CopyFrom(model)
        self.graph = self.model.graph
        self._taken = {name for graph in graphs(self.graph) for name in _names(graph)}
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._written: dict[object, tuple[str, ...]] = {}
        self._types: dict[str, tuple[str, Dims | None]] = {}
        self._reshaped: dict[str, str] = {}  # result of a Reshape written here -> what was reshaped
        self._arrays = _constants(self.graph) | {tensor.name: tensor for tensor in self.graph.initializer}
        self.infer()

    def infer(self) -> None:
        """Find the types and shapes of everything written so far (ONNX shape inference)."""
        self._types.update(inferred_types(self.model))

    def fresh(self, stem: str) -> str:
        """A name that nothing in the model has yet."""
        name, count = stem, 0
        while name in self._taken:
            count += 1
            name = f"{stem}_{count}"
        self._taken.add(name)
        return name

    def shape(self, name: str) -> Dims | None:
        """Shape of a value; None where not even the rank is known. Values written since ``infer`` may be unknown."""
        return self._types.get(name, ("", None))[1]

    def dtype(self, name: str) -> str:
        """NumPy's name of a value's element type; "" where it is not known."""
        return self._types.get(name, ("", None))[0]

    def declare(self, name: str, dtype: str, shape: Dims | None) -> str:
        """Say what is known of a value that was just written, without running inference; gives ``name`` back."""
        self._types[name] = (dtype, shape)
        return name

    def array(self, name: str) -> npt.NDArray[np.generic] | None:
        """The stored value behind ``name``; None where it is computed or fed."""
        tensor = self._arrays.get(name)
        if tensor is None:
            return None
        array: npt.NDArray[np.generic] = numpy_helper.to_array(tensor)
        return array

    def constant(self, value: npt.ArrayLike, dtype: str = "float32") -> str:
        """A stored tensor; equal ones are stored once."""
        array = np.asarray(value, dtype)
        data = array.tobytes()
        key = (dtype, array.shape, data if len(data) <= _INLINE else hashlib.sha256(data).digest())
        if key not in self._constants:
            self._constants[key] = self.store(self.fresh("constant"), array)
        return self._constants[key]

    def ints(self, *values: int) -> str:
        """A stored vector of int64: axes, sizes, pads."""
        return self.constant(values, "int64")

    def store(self, name: str, array: npt.NDArray[np.generic]) -> str:
        """Add an initializer under exactly this name (``fresh`` gives one); gives the name back."""
        tensor = numpy_helper.from_array(array, name)
        self._taken.add(name)
        self.graph.initializer.append(tensor)
        self._arrays[name] = tensor
        self._types[name] = (DTYPES[tensor.data_type], tuple(array.shape))
        return name

    def forget(self, names: Iterable[str]) -> None:
        """Take these for computed: their stored values are no longer in the model."""
        for name in names:
            self._arrays.pop(name, None)

    def node(self, operator: str, *inputs: str, domain: str = "", **attributes: object) -> str:
        """Add a node with one output, and return the output's name."""
        return self.split(operator, 1, *inputs, domain=domain, **attributes)[0]

    def split(self, operator: str, count: int, *inputs: str, domain: str = "", **attributes: object) -> tuple[str, ...]:
        """Add a node with ``count`` outputs, and return their names."""
        if operator == "Reshape" and not attributes:
            source = self._before_reshape(*inputs)
            if source is not None and inputs[1] in self._arrays and self.shape(source) == self._target(inputs[1]):
                return (source,)
            inputs = (source or inputs[0], inputs[1])
        key = _key(operator, domain, count, inputs, attributes)
        if key is not None and key in self._written:
            return self._written[key]
        name = self.fresh(operator)
        outputs = (name,) if count == 1 else tuple(self.fresh(f"{name}_{at}") for at in range(count))
        self.append(helper.make_node(operator, inputs, outputs, name, domain=domain, **attributes))
        if domain:
            self.require_domain(domain)
        if key is not None:
            self._written[key] = outputs
        if operator == "Reshape":
            self._reshaped[outputs[0]] = inputs[0]
        return outputs

    def _before_reshape(self, name: str, target: str) -> str | None:
        """What was reshaped to ``name``, where reshaping that to ``target`` gives the same: one node in place of two."""
        source = self._reshaped.get(name)
        dims = self._target(target)
        # A 0 in the target copies a dimension of the input: of which input, then makes a difference.
        return source if source is not None and dims is not None and 0 not in dims else None

    def _target(self, name: str) -> Dims | None:
        array = self.array(name)
        return None if array is None else tuple(int(dim) for dim in array.reshape(-1))

    def take_nodes(self) -> list[NodeProto]:
        """Take out all nodes, to be added again or replaced; gives copies. No later node is merged with one of them."""
        nodes = []
        for node in self.graph.node:
            copy = NodeProto()
            copy.CopyFrom(node)
            nodes.append(copy)
        del self.graph.node[:]
        self._written.clear()
        self._reshaped.clear()
        return nodes

    def append_named(self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: object) -> None:
        """Add a node whose outputs have names already: where it takes the place of another one."""
        self.append(helper.make_node(operator, inputs, outputs, self.fresh(operator), **attributes))

    def append(self, node: NodeProto) -> None:
        """Add a node as it is; its output names must be new (``fresh``)."""
        self._taken.update(node.output)
        self.graph.node.append(node)

    def require_domain(self, domain: str, version: int = 1) -> None:
        """Import an operator domain."""
        if all(entry.domain != domain for entry in self.model.opset_import):
            self.model.opset_import.append(helper.make_opsetid(domain, version))

    def input(self, name: str, dtype: str, shape: Sequence[int | str | None]) -> str:
        """Declare an input of the graph; gives the name, made new where it was taken."""
        name = self.fresh(name)
        self.graph.input.append(helper.make_tensor_value_info(name, _ELEMENTS[dtype], list(shape)))
        self._types[name] = (dtype, tuple(shape))
        return name

    def output(self, name: str, value: str, dtype: str, shape: Sequence[int | str | None] | None) -> str:
        """Make ``value`` an output of the graph called ``name``, made new where it was taken; gives that name."""
        name = self.fresh(name)
        self.append(helper.make_node("Identity", [value], [name], name))
        self.graph.output.append(
            helper.make_tensor_value_info(name, _ELEMENTS[dtype], None if shape is None else list(shape))
        )
        self._types[name] = (dtype, None if shape is None else tuple(shape))
        return name


def _key(operator: str, domain: str, count: int, inputs: tuple[str, ...], attributes: dict[str, object]) -> object:
    values: list[tuple[str, object]] = []
    for name, value in sorted(attributes.items()):
        if isinstance(value, list | tuple):
            values.append((name, tuple(value)))
        elif isinstance(value, int | float | str | bytes):
            values.append((name, (type(value), value)))
        else:
            return None  # a graph or a tensor: never merged
    if operator in _RANDOM:
        return None
    return operator, domain, count, inputs, tuple(values)


_RANDOM = {
    "RandomUniform",
    "RandomNormal",
    "RandomUniformLike",
    "RandomNormalLike",
    "Bernoulli",
    "Multinomial",
    "Dropout",
}


def _names(graph: onnx.GraphProto) -> set[str]:
    names = {value.name for value in (*graph.input, *graph.output)} | {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        names.update((node.name, *node.input, *node.output))
    return names


def _constants(graph: onnx.GraphProto) -> dict[str, TensorProto]:
    """What Constant nodes hold, in any of their spellings."""
    found = {}
    for node in graph.node:
        if node.op_type == "Constant" and node.domain in {"", "ai.onnx"} and len(node.attribute) == 1:
            name, value = node.attribute[0].name, helper.get_attribute_value(node.attribute[0])
            if name == "value":
                found[node.output[0]] = value
            elif name in _KINDS:
                found[node.output[0]] = numpy_helper.from_array(np.asarray(value, _KINDS[name]))
    return found


_KINDS = {"value_int": "int64", "value_ints": "int64", "value_float": "float32", "value_floats": "float32"}
