"""Writing the integers into a graph: QuantizeLinear and DequantizeLinear where a placement says, weights stored as int8.

A bias is an int32 on the grid of the sum that it starts: scale of the input times scale of the weight, no zero point. Zero points
that are 0 are left out where onnxruntime fuses without them (weights of Conv, biases): a table of zeros for each channel is bytes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from onnx import ModelProto, NodeProto, helper

from edgewise.compress.quantize.grids import Grid, bias_room
from edgewise.compress.quantize.placement import Placement, bounds
from edgewise.graph.order import captured
from edgewise.graph.writer import Writer
from edgewise.measure.npz import Array
from edgewise.training.rewrites.opening import closed, node_name

__all__ = ["Bias", "Written", "write"]

Bias = Literal["int32", "float32"]
# onnxruntime rounds the weights of these by itself, with one scale, where their neighbours are in integers: a layer that was left
# in float would not be, and ConvTranspose, for which there are no integers, would convert its weights back at every run. It
# does not where something without an integer form is in front. The largest of one number is that number.
_TAKEN_IN = {"Conv", "ConvTranspose", "Gemm"}
_CLOSE = 1e-5  # relative; a grid's end that is a Clip's bound but for rounding


@dataclass(frozen=True, slots=True)
class Written:
    """model: with integers. weights, biases: layer -> the initializer that holds its integers (float32 for a bias kept so).

    sums: layer -> the value that it gives before anything is rounded.
    """

    model: ModelProto
    weights: Mapping[str, str] = field(default_factory=dict)
    biases: Mapping[str, str] = field(default_factory=dict)
    sums: Mapping[str, str] = field(default_factory=dict)


def write(
    writer: Writer, placement: Placement, activations: Mapping[str, Grid], weights: Mapping[str, Grid],
    integers: Mapping[str, Array] | None = None, *, bias: Bias = "int32",
) -> Written:  # fmt: skip
    """The model of ``writer``, which is used up, with integers where ``placement`` says.

    activations: grid of each value that speaks for others in ``placement.values``. weights: grid of each layer's stored weight,
    by layer. integers: of a layer's weight, in place of the nearest ones (learnt rounding).
    """
    return _Writing(writer, placement, activations, weights, integers or {}, bias).written()


class _Writing:
    def __init__(
        self, writer: Writer, placement: Placement, activations: Mapping[str, Grid], weights: Mapping[str, Grid],
        integers: Mapping[str, Array], bias: Bias,
    ) -> None:  # fmt: skip
        self.w, self.placement, self.activations, self.weights = writer, placement, activations, weights
        self.integers, self.bias = integers, bias
        self.made: dict[object, str] = {}
        self.shared: dict[str, str] = {}
        self.stored: dict[str, dict[str, str]] = {"weights": {}, "biases": {}, "sums": {}}

    def written(self) -> Written:
        w, placement = self.w, self.placement
        layers, inside = set(placement.layers), {*placement.layers, *placement.between}
        outputs = {value.name for value in w.graph.output}
        nodes = w.take_nodes()
        # A value that is rounded -> what it is called before.
        raw = {name: w.fresh(f"{name}/raw") for name in placement.values if name in outputs}
        gone = self._vanished(nodes, outputs, raw)
        for node in nodes:
            if id(node) in gone:
                continue
            name = node_name(node)
            self._rename(node, name in inside, raw)
            if name in layers:
                self.stored["sums"][name] = node.output[0]
                self._layer(node, name)
            w.append(node)
        for name in raw.keys() & outputs:
            self._numbers(name, raw)
        for node in w.graph.node:
            # Who else reads a weight reads it from the same integers.
            node.input[:] = [self.shared.get(name, name) for name in node.input]
        return Written(closed(w), **self.stored)

    def _rename(self, node: NodeProto, inside: bool, raw: Mapping[str, str]) -> None:
        values = self.placement.values
        for at, value in enumerate(node.input):
            if value in values and (inside or self.w.array(value) is None):
                node.input[at] = self._numbers(value, raw)
        for at, value in enumerate(node.output):
            node.output[at] = raw.get(value, value)
        if not inside and node.op_type in _TAKEN_IN and self.w.array(node.input[0]) is None:
            node.input[0] = self.w.node("Max", node.input[0])

    def _vanished(self, nodes: list[NodeProto], outputs: set[str], raw: dict[str, str]) -> set[int]:
        """Relu and Clip that the grid behind them does: their reader is it alone, and it spans no more than they let through."""
        readers: dict[str, int] = {}
        for node in nodes:
            for name in node.input:
                readers[name] = readers.get(name, 0) + 1
        inner = {name for node in nodes for name in captured(node) - set(node.input)}
        gone = set()
        for node in nodes:
            if node.op_type not in {"Relu", "Clip"} or node.output[0] not in self.placement.values:
                continue
            entering, result = node.input[0], node.output[0]
            if readers[entering] != 1 or {entering, result} & inner or entering in {*outputs, *self.placement.values}:
                continue
            (low, high), grid = bounds(self.w, node), self._grid(result)
            first, last = grid.ends
            if first >= low and last <= high * (1 + _CLOSE):
                gone.add(id(node))
                raw[result] = entering
        return gone

    def _grid(self, value: str) -> Grid:
        return self.activations[self.placement.values[value]]

    def _numbers(self, value: str, raw: Mapping[str, str]) -> str:
        """``value`` rounded."""
        if value not in self.made:
            grid, stored = self._grid(value), self.w.array(value)
            parts = self._parts(grid, zero=True)
            if stored is not None:
                integers = self.w.store(self.w.fresh(f"{value}/q"), grid.integers(np.asarray(stored)))
            else:
                integers = self.w.fresh(f"{value}/q")
                self.w.append(helper.make_node("QuantizeLinear", [raw.get(value, value), *parts], [integers]))
            outputs = {item.name for item in self.w.graph.output}
            self.made[value] = value if value in outputs else self.w.fresh(f"{value}/dq")
            self.w.append(helper.make_node("DequantizeLinear", [integers, *parts], [self.made[value]]))
        return str(self.made[value])

    def _parts(self, grid: Grid, *, zero: bool) -> list[str]:
        scale = self.w.constant(grid.scale)
        # Gemm's fusion wants the zero point of a weight spelled out; Conv's does not.
        return [scale, self.w.constant(np.full(grid.scale.shape, grid.zero), grid.dtype)] if zero else [scale]

    def _layer(self, node: NodeProto, name: str) -> None:
        weight = self.w.array(node.input[1])
        if weight is None:
            return
        scale = self._grid(next(str(value) for value, result in self.made.items() if result == node.input[0])).scale
        grid = self.weights[name]
        bias = self.w.array(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        vector = None if bias is None else np.asarray(bias, np.float32).reshape(-1)
        if vector is not None and grid.axis is not None and vector.size != grid.scale.size:
            vector = np.broadcast_to(vector, grid.scale.shape)
        if vector is not None and name not in self.integers:
            grid = bias_room(grid, scale, vector)
        node.input[1] = self._weight(node, name, np.asarray(weight), grid)
        if vector is not None:
            node.input[2] = self._bias(node.input[2], name, vector, scale, grid, node.op_type)

    def _weight(self, node: NodeProto, name: str, weight: Array, grid: Grid) -> str:
        whole = self.integers[name].astype("int8") if name in self.integers else grid.integers(weight)
        key = (node.input[1], whole.tobytes(), grid.scale.tobytes(), grid.axis)
        if key not in self.made:
            stored = self.w.store(self.w.fresh(f"{node.input[1]}/q"), whole)
            result = self.w.fresh(f"{node.input[1]}/dq")
            axis = {} if grid.axis is None else {"axis": grid.axis}
            parts = self._parts(grid, zero=node.op_type != "Conv")
            self.w.append(helper.make_node("DequantizeLinear", [stored, *parts], [result], **axis))
            self.made[key] = result
            self.made["stored", result] = stored
            self.shared.setdefault(node.input[1], result)
        self.stored["weights"][name] = self.made["stored", self.made[key]]
        return self.made[key]

    def _bias(self, value: str, name: str, bias: Array, entering: Array, grid: Grid, operator: str) -> str:
        if self.bias == "float32" and operator == "Conv":  # Gemm is fused with integers alone
            # Its own copy, so that a correction of this layer changes no other one.
            self.stored["biases"][name] = self.w.store(self.w.fresh(f"{value}/b"), bias)
            return self.stored["biases"][name]
        scale = np.asarray(entering * grid.scale, np.float32)
        whole = np.round(bias.astype(np.float64) / scale).astype(np.int32)
        stored = self.w.store(self.w.fresh(f"{value}/q"), whole)
        result = self.w.fresh(f"{value}/dq")
        axis = {"axis": 0} if scale.ndim else {}
        self.w.append(helper.make_node("DequantizeLinear", [stored, self.w.constant(scale)], [result], **axis))
        self.stored["biases"][name] = stored
        return result
