"""A network while it is drawn: nodes and parameters under names that say where they belong.

Names are a dotted path, ``stage1.conv.weight``; the node that uses the parameter is called as the path without its last
part, and so is its output. Of the initializers only parameters have a dot in their name: constants are called ``constant``,
``constant_1``, ...
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, helper

from edgewise.graph.draft import FRAGMENT_IR, FRAGMENT_OPSET
from edgewise.graph.inspect import checked
from edgewise.graph.walk import DTYPES
from edgewise.graph.writer import Dims, Writer

__all__ = ["BATCH", "Builder"]

#: Name of the first dimension of every input and output.
BATCH = "batch"
_ELEMENTS = {name: element for element, name in DTYPES.items()}


class Builder:
    """A model being drawn from nothing. Final. Layers are functions over it; ``random`` is where starting values come from."""

    def __init__(self, name: str, seed: int) -> None:
        opset = [helper.make_opsetid("", FRAGMENT_OPSET)]
        empty = helper.make_graph([], name, [], [])
        self.writer = Writer(
            helper.make_model(empty, opset_imports=opset, ir_version=FRAGMENT_IR, producer_name="edgewise")
        )
        self.random = np.random.default_rng(seed)

    def input(self, name: str, dtype: str, shape: Dims) -> str:
        """Declare an input; ``shape`` goes without the batch."""
        return self.writer.input(name, dtype, (BATCH, *shape))

    def parameter(self, name: str, value: npt.ArrayLike) -> str:
        """Store a float32 initializer, by its full path."""
        return self.writer.store(self.writer.fresh(name), np.asarray(value, np.float32))

    def node(
        self, name: str, operator: str, *inputs: str, shape: Dims, dtype: str = "float32", **attributes: object
    ) -> str:
        """Add a node with one output; ``shape`` is the output's, with the batch. Gives the output's name."""
        return self.split(name, operator, *inputs, shapes=(shape,), dtype=dtype, **attributes)[0]

    def split(
        self, name: str, operator: str, *inputs: str, shapes: tuple[Dims | None, ...], dtype: str = "float32",
        **attributes: object,
    ) -> tuple[str, ...]:  # fmt: skip
        """Add a node with one output for each of ``shapes``; None leaves an output out, and its name is empty."""
        own = self.writer.fresh(name)
        outputs = [own] if len(shapes) == 1 else [
            "" if shape is None else self.writer.fresh(f"{own}.{at}") for at, shape in enumerate(shapes)
        ]  # fmt: skip
        self.writer.append(helper.make_node(operator, inputs, outputs, own, **attributes))
        for output, shape in zip(outputs, shapes, strict=True):
            if output:
                self.writer.declare(output, dtype, shape)
        return tuple(outputs)

    def shape(self, value: str) -> Dims:
        """Shape of a value, with the batch."""
        shape = self.writer.shape(value)
        assert shape is not None, value
        return shape

    def known(self, value: str, axis: int) -> int:
        """One dimension of a value, which must be a number."""
        size = self.shape(value)[axis]
        assert isinstance(size, int), f"{value} axis {axis} is {size}"
        return size

    def finish(self, outputs: Mapping[str, str]) -> ModelProto:
        """The model, checked. outputs: name of each -> the value behind it, which takes that name."""
        graph = self.writer.graph
        renamed = {value: name for name, value in outputs.items()}
        for node in graph.node:
            for ends in (node.input, node.output):
                ends[:] = [renamed.get(end, end) for end in ends]
        for name, value in outputs.items():
            element = _ELEMENTS[self.writer.dtype(value)]
            graph.output.append(helper.make_tensor_value_info(name, element, list(self.shape(value))))
        return checked(self.writer.model)
