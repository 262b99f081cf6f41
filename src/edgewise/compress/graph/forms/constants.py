"""Expressions of small constants that give a large one: nodes that a runtime folds when it opens the file."""

import numpy as np
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgewise.graph.writer import Writer
from edgewise.runtime import telemetry

telemetry.disable()

import onnxruntime as ort  # noqa: E402  (the switch above must come first)

__all__ = ["Expression"]


class Expression:
    """Nodes and constants of one expression, counted, and written only when it is known to be smaller than what it gives."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._nodes: list[NodeProto] = []
        self._stored: list[tuple[str, np.ndarray]] = []
        self._size = 0

    def constant(self, value: object, dtype: str = "int64") -> str:
        """A small stored value."""
        array = np.asarray(value, dtype)
        name = self._writer.fresh("part")
        self._stored.append((name, array))
        self._size += array.nbytes + _OVERHEAD
        return name

    def node(self, operator: str, *inputs: str, **attributes: object) -> str:
        """A node of one output; gives its name."""
        name = self._writer.fresh(operator)
        self._nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        self._size += _OVERHEAD
        return name

    def range(self, count: int) -> str:
        """0, 1, ... ``count`` - 1, int64."""
        return self.node("Range", self.constant(0), self.constant(count), self.constant(1))

    def wide(self, array: np.ndarray) -> str:
        """Non-negative whole numbers as int64, stored in as few bytes as they need."""
        kind = np.min_scalar_type(int(array.max(initial=0)))
        return self.node("Cast", self.constant(array, kind.name), to=TensorProto.INT64)

    @property
    def size(self) -> int:
        """Bytes in the file, about."""
        return self._size

    def evaluate(self, result: str, *others: str) -> np.ndarray:
        """What onnxruntime makes of it. others: stored values of the model that it reads."""
        stored = [numpy_helper.from_array(array, part) for part, array in self._stored]
        read = [tensor for tensor in self._writer.graph.initializer if tensor.name in others]
        given = helper.make_tensor_value_info(result, TensorProto.UNDEFINED, None)
        given.ClearField("type")
        graph = helper.make_graph(self._nodes, "expression", [], [given], [*stored, *read])
        model = helper.make_model(
            graph, opset_imports=list(self._writer.model.opset_import), ir_version=self._writer.model.ir_version
        )
        options = ort.SessionOptions()
        options.log_severity_level = 4
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        made: np.ndarray = session.run(None, {})[0]
        return made

    def write(self, result: str, name: str) -> None:
        """Into the model: ``name`` is what ``result`` gives from now on, in place of a stored tensor of that name."""
        writer = self._writer
        kept = [tensor for tensor in writer.graph.initializer if tensor.name != name]
        del writer.graph.initializer[:]
        writer.graph.initializer.extend(kept)
        writer.forget([name])
        for part, array in self._stored:
            writer.store(part, array)
        for node in self._nodes:
            writer.append(node)
        writer.append_named("Identity", [result], [name])


_OVERHEAD = 24  # bytes of a small node or tensor beside its contents
