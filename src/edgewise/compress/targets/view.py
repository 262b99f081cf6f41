"""What is known of the values of a model, in its own graph and in those of If, Loop and Scan."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, numpy_helper, shape_inference

from edgewise.graph.inference import Dims, inferred_types
from edgewise.graph.walk import dtype_name, graphs, is_default_domain

__all__ = ["View"]

_RANDOM = frozenset(
    {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)


class View:
    """Final. Values are named by strings, as in ONNX; a name that two nested graphs both use is known by the first."""

    def __init__(self, model: ModelProto) -> None:
        self._types = dict(inferred_types(model))
        self._tensors: dict[str, TensorProto] = {}
        self._before: dict[str, NodeProto] = {}
        self._stored: dict[str, bool] = {}
        nested = list(graphs(model.graph))[1:]
        if nested:
            # ONNX's inference writes what it finds of a nested graph into that graph.
            inferred = shape_inference.infer_shapes(model, check_type=False, strict_mode=False, data_prop=True)
            for graph in list(graphs(inferred.graph))[1:]:
                for name, dtype, dims in _declared(graph):
                    self._types.setdefault(name, (dtype, dims))
        for graph in graphs(model.graph):
            for tensor in graph.initializer:
                self._tensors.setdefault(tensor.name, tensor)
            for node in graph.node:
                self._before.update(dict.fromkeys(filter(None, node.output), node))
                for attribute in node.attribute:
                    if node.op_type == "Constant" and is_default_domain(node.domain) and attribute.name == "value":
                        self._tensors.setdefault(node.output[0], attribute.t)

    def shape(self, name: str) -> Dims | None:
        """Shape of a value; None where not even the rank is known."""
        return self._types.get(name, ("", None))[1]

    def dtype(self, name: str) -> str:
        """NumPy's name of a value's element type; "" where it is not known."""
        return self._types.get(name, ("", None))[0]

    def stored(self, name: str) -> bool:
        """Whether the value is known before any input is: it lies in the model, or is computed from what does."""
        if name not in self._stored:
            before = self._before.get(name)
            if name in self._tensors or before is None:
                self._stored[name] = name in self._tensors
            else:
                # Entered as unknown first: a name that a nested graph uses again could lead round in a circle.
                self._stored[name] = False
                free = before.op_type in _RANDOM or any(attribute.HasField("g") for attribute in before.attribute)
                self._stored[name] = not free and all(self.stored(each) for each in before.input if each)
        return self._stored[name]

    def array(self, name: str) -> npt.NDArray[np.generic] | None:
        """The stored value; None where it is computed or fed."""
        tensor = self._tensors.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def maker(self, name: str) -> NodeProto | None:
        """The node that computes the value; None for what is fed or stored."""
        return self._before.get(name)


def _declared(graph: GraphProto) -> Iterator[tuple[str, str, Dims | None]]:
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        dims = tuple(d.dim_value if d.HasField("dim_value") else (d.dim_param or None) for d in tensor.shape.dim)
        if tensor.elem_type:
            yield value.name, dtype_name(tensor.elem_type), dims if tensor.HasField("shape") else None
    for stored in graph.initializer:
        yield stored.name, dtype_name(stored.data_type), tuple(stored.dims)
