"""Writing a fragment: a small model of standard operators, to be joined in front of a model or behind it.

Opset 18 is the first with an antialiased Resize; up to 20 nothing that is used here changed its meaning.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgewise.errors import InputError
from edgewise.graph.inspect import checked
from edgewise.graph.walk import DTYPES

__all__ = ["FRAGMENT_IR", "FRAGMENT_OPSET", "Draft", "Spec"]

FRAGMENT_OPSET, FRAGMENT_IR = 18, 8
#: Name of a value -> (dtype in NumPy's spelling, shape of numbers and names).
Spec = Mapping[str, tuple[str, Sequence[int | str]]]
_ELEMENTS = {name: element for element, name in DTYPES.items()}


class Draft:
    """A fragment being written, front to back. Final; values are names, and every name but those passed in is new."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[NodeProto] = []
        self._constants: dict[str, TensorProto] = {}

    def constant(self, value: npt.ArrayLike, dtype: str = "float32") -> str:
        """A stored tensor; equal ones are stored once."""
        array = np.asarray(value, dtype)
        if not np.all(np.isfinite(array)):
            raise InputError(f"a constant of the fragment {self._name} is not finite")
        for name, tensor in self._constants.items():
            same = tensor.raw_data == array.tobytes() and list(tensor.dims) == list(array.shape)
            if same and tensor.data_type == _ELEMENTS[dtype]:
                return name
        name = f"{self._name}/constant_{len(self._constants)}"
        self._constants[name] = numpy_helper.from_array(array, name)
        return name

    def ints(self, *values: int) -> str:
        """A stored vector of int64: axes, sizes, pads."""
        return self.constant(values, "int64")

    def texts(self, *values: str) -> str:
        """A stored vector of texts."""
        name = f"{self._name}/texts_{len(self._constants)}"
        encoded = [value.encode() for value in values]
        self._constants[name] = helper.make_tensor(name, TensorProto.STRING, [len(encoded)], encoded)
        return name

    def node(self, operator: str, *inputs: str, **attributes: object) -> str:
        """Add a node with one output, and return the output's name."""
        return self.split(operator, 1, *inputs, **attributes)[0]

    def split(self, operator: str, count: int, *inputs: str, **attributes: object) -> tuple[str, ...]:
        """Add a node with ``count`` outputs."""
        name = f"{self._name}/{operator}_{len(self._nodes)}"
        outputs = (name,) if count == 1 else tuple(f"{name}_{at}" for at in range(count))
        self._nodes.append(helper.make_node(operator, inputs, outputs, name, **attributes))
        return outputs

    def finish(self, inputs: Spec, outputs: Spec, results: Sequence[str]) -> ModelProto:
        """The fragment, checked. results: the value behind each of ``outputs``, in order."""
        if len({*inputs, *outputs}) < len(inputs) + len(outputs):
            raise InputError(f"the fragment {self._name} needs different names for its inputs and outputs")
        ends = [
            helper.make_node("Identity", [result], [name], f"{self._name}/to_{name}")
            for result, name in zip(results, outputs, strict=True)
        ]
        graph = helper.make_graph(
            [*self._nodes, *ends], self._name, _infos(inputs), _infos(outputs), list(self._constants.values())
        )
        opset = [helper.make_opsetid("", FRAGMENT_OPSET)]
        return checked(helper.make_model(graph, opset_imports=opset, ir_version=FRAGMENT_IR, producer_name="edgewise"))


def _infos(spec: Spec) -> list[object]:
    return [helper.make_tensor_value_info(name, _ELEMENTS[dtype], list(shape)) for name, (dtype, shape) in spec.items()]
