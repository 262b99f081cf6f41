"""Small models with a NumPy reference, for the suite that every engine passes.

The ONNX ones are built here (needs the package onnx, extra ``pack``). The TFLite ones lie beside this file, written by
scripts/make_tiny_tflite.py from the weights below.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgewise.runtime.engine import Array

__all__ = ["BIAS", "QUANTIZED", "WEIGHTS", "Example", "Feeds", "Quantized", "antialiased_resize", "example", "examples"]

_MODELS = Path(__file__).resolve().parent / "models"
_OPSET, _IR = 17, 8  # old enough for every engine that is still in use
Feeds = dict[str, Array]  # by name

#: (4, 3) and (3,), float32; exact in binary so that sums of products come out the same in any order.
WEIGHTS = np.array([[0.5, -1, 2], [1, 0.25, -0.5], [-2, 1, 0.125], [0.75, -0.5, 1]], np.float32)
BIAS = np.array([0.25, -0.5, 1], np.float32)


@dataclass(frozen=True, slots=True)
class Quantized:
    """An int8 dense layer as TFLite defines it: real = scale * (q - zero), weights symmetric, bias in x_scale * w_scale."""

    x_scale: float = 1 / 16
    x_zero: int = -5
    w_scale: float = 1 / 32
    y_scale: float = 1 / 4
    y_zero: int = 10

    @property
    def weights(self) -> Array:
        """(4, 3), int8."""
        return np.asarray(WEIGHTS / self.w_scale, np.int8)

    @property
    def bias(self) -> Array:
        """(3,), int32."""
        return np.asarray(BIAS / (self.x_scale * self.w_scale), np.int32)

    def run(self, x: Array) -> Array:
        """(N, 4) int8 to (N, 3) int8."""
        total = (x.astype(np.int32) - self.x_zero) @ self.weights.astype(np.int32) + self.bias
        scaled = np.rint(total * (self.x_scale * self.w_scale / self.y_scale)) + self.y_zero
        return np.asarray(np.clip(scaled, -128, 127), np.int8)


QUANTIZED = Quantized()


@dataclass(frozen=True, slots=True)
class Example:
    """A model with its reference.

    inputs, outputs: name -> (dtype, shape), -1 where a dimension varies. feeds: batch size and seed to inputs.
    expected: inputs to outputs. tolerance: largest absolute difference from the reference that still counts as right.
    """

    name: str
    format: str
    files: Mapping[str, bytes]
    inputs: Mapping[str, tuple[str, tuple[int, ...]]]
    outputs: Mapping[str, tuple[str, tuple[int, ...]]]
    expected: Callable[[Feeds], Feeds]
    tolerance: float = 1e-5

    def feeds(self, batch: int = 1, seed: int = 0) -> Feeds:
        """Random inputs; every dimension that varies but the first is 5."""
        random = np.random.default_rng(seed)
        shapes = {
            name: [batch if dim == -1 and at == 0 else 5 if dim == -1 else dim for at, dim in enumerate(shape)]
            for name, (_, shape) in self.inputs.items()
        }
        return {name: _values(random, self.inputs[name][0], shape) for name, shape in shapes.items()}


def examples(model_format: str) -> tuple[Example, ...]:
    """Every example of ``onnx`` or ``tflite``; none for another format."""
    return tuple(make() for make in _MAKERS.get(model_format, {}).values())


def example(model_format: str, name: str) -> Example:
    """One of them. ``affine`` and ``types`` are there in every format."""
    return _MAKERS[model_format][name]()


def _values(random: np.random.Generator, dtype: str, shape: list[int]) -> Array:
    if dtype == "bool":
        return random.random(shape) < 0.5
    if dtype.startswith("float"):
        return np.asarray(random.integers(-32, 32, shape) / 8, dtype)
    info = np.iinfo(dtype)
    return random.integers(max(info.min, -100), min(info.max, 100), shape, dtype, endpoint=True)


def _dense(feeds: Feeds) -> Feeds:
    return {"y": _relu_dense(feeds["x"])}


def _relu_dense(x: Array) -> Array:
    return np.asarray(np.maximum(x @ WEIGHTS + BIAS, 0))


# ------------------------------------------------------------------------------------------------------------- ONNX

_ELEMENTS = {
    "float32": TensorProto.FLOAT, "float16": TensorProto.FLOAT16, "int64": TensorProto.INT64, "int32": TensorProto.INT32,
    "uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "bool": TensorProto.BOOL,
}  # fmt: skip
Spec = Mapping[str, tuple[str, tuple[int, ...]]]


def _onnx(nodes: list[onnx.NodeProto], inputs: Spec, outputs: Spec, weights: Mapping[str, Array]) -> onnx.ModelProto:
    def infos(spec: Spec) -> list[onnx.ValueInfoProto]:
        names = ("batch", "channels", "height", "width")
        return [
            helper.make_tensor_value_info(
                name, _ELEMENTS[dtype], [names[at] if dim == -1 else dim for at, dim in enumerate(shape)]
            )
            for name, (dtype, shape) in spec.items()
        ]

    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "main", infos(inputs), infos(outputs), initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR)


def _onnx_affine() -> Example:
    inputs: Spec = {"x": ("float32", (-1, 4))}
    outputs: Spec = {"y": ("float32", (-1, 3))}
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["h"], "dense"), helper.make_node("Relu", ["h"], ["y"], "relu")]
    model = _onnx(nodes, inputs, outputs, {"w": WEIGHTS, "b": BIAS})
    return Example("affine", "onnx", {"model.onnx": model.SerializeToString()}, inputs, outputs, _dense)


def _onnx_external() -> Example:
    """The same, with the weights in a second file."""
    inputs: Spec = {"x": ("float32", (-1, 4))}
    outputs: Spec = {"y": ("float32", (-1, 3))}
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["h"], "dense"), helper.make_node("Relu", ["h"], ["y"], "relu")]
    model = _onnx(nodes, inputs, outputs, {"w": WEIGHTS, "b": BIAS})
    tensor = model.graph.initializer[0]
    data = b"\0" * 64 + tensor.raw_data  # an offset, so that reading from the start of the file shows
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "weights.data"), ("offset", "64"), ("length", str(WEIGHTS.nbytes))):
        tensor.external_data.add(key=key, value=value)
    files = {"model.onnx": model.SerializeToString(), "weights.data": data}
    return Example("external", "onnx", files, inputs, outputs, _dense)


def _onnx_convolution() -> Example:
    """Spatial dimensions that vary, and the operator that engines rewrite the most."""
    inputs: Spec = {"image": ("float32", (-1, 3, -1, -1))}
    outputs: Spec = {"y": ("float32", (-1, 16))}
    kernel = np.asarray(np.random.default_rng(3).integers(-8, 8, (16, 3, 3, 3)) / 8, np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["maps"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["maps"], ["positive"], "relu"),
        helper.make_node("ReduceMean", ["positive"], ["y"], "mean", axes=[2, 3], keepdims=0),
    ]

    def expected(feeds: Feeds) -> Feeds:
        padded = np.pad(feeds["image"], ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
        return {"y": np.maximum(np.einsum("nchwij,ocij->nohw", windows, kernel), 0).mean((2, 3))}

    model = _onnx(nodes, inputs, outputs, {"kernel": kernel})
    return Example("convolution", "onnx", {"model.onnx": model.SerializeToString()}, inputs, outputs, expected, 1e-4)


def _onnx_types() -> Example:
    """Integers, booleans, half precision and a scalar, each through one operator."""
    inputs: Spec = {
        "i": ("int64", (-1, 2)), "j": ("int64", (-1, 2)), "u": ("uint8", (-1, 2)), "b": ("bool", (-1, 2)),
        "h": ("float16", (-1, 2)), "s": ("float32", ()),
    }  # fmt: skip
    outputs: Spec = {
        "i_out": ("int64", (-1, 2)), "u_out": ("uint8", (-1, 4)), "b_out": ("bool", (-1, 2)), "h_out": ("float16", (-1, 2)),
        "s_out": ("float32", ()),
    }  # fmt: skip
    nodes = [
        helper.make_node("Add", ["i", "j"], ["i_out"], "add"),
        helper.make_node("Concat", ["u", "u"], ["u_out"], "concat", axis=1),
        helper.make_node("Not", ["b"], ["b_out"], "not"),
        helper.make_node("Mul", ["h", "h"], ["h_out"], "square"),
        helper.make_node("Add", ["s", "s"], ["s_out"], "double"),
    ]

    def expected(feeds: Feeds) -> Feeds:
        return {
            "i_out": feeds["i"] + feeds["j"], "u_out": np.concatenate([feeds["u"]] * 2, 1), "b_out": ~feeds["b"],
            "h_out": feeds["h"] * feeds["h"], "s_out": feeds["s"] * 2,
        }  # fmt: skip

    data = _onnx(nodes, inputs, outputs, {}).SerializeToString()
    return Example("types", "onnx", {"model.onnx": data}, inputs, outputs, expected)


def _onnx_twice() -> Example:
    """Outputs that are one tensor, or the input, to an engine that removes Identity: each keeps its own name and memory."""
    inputs: Spec = {"x": ("float32", (-1, 4))}
    outputs: Spec = dict.fromkeys(("second", "first", "same", "other"), ("float32", (-1, 4)))
    nodes = [
        helper.make_node("Relu", ["x"], ["activation"], "relu"),
        helper.make_node("Identity", ["activation"], ["first"], "named"),
        helper.make_node("Identity", ["activation"], ["second"], "again"),
        helper.make_node("Identity", ["x"], ["same"], "through"),
        helper.make_node("Neg", ["x"], ["other"], "negate"),
    ]

    def expected(feeds: Feeds) -> Feeds:
        positive = np.maximum(feeds["x"], 0)
        return {"first": positive, "second": positive, "same": feeds["x"], "other": -feeds["x"]}

    data = _onnx(nodes, inputs, outputs, {}).SerializeToString()
    return Example("twice", "onnx", {"model.onnx": data}, inputs, outputs, expected)


def antialiased_resize() -> Example:
    """An image made smaller: what engines leave the antialiasing out of. In no list of examples, since one may refuse it."""
    inputs: Spec = {"image": ("float32", (-1, 1, 13, 9))}
    outputs: Spec = {"y": ("float32", (-1, 1, 5, 4))}
    resize = helper.make_node(
        "Resize", ["image", "", "", "sizes"], ["y"], "resize", mode="linear", antialias=1, axes=[2, 3],
        coordinate_transformation_mode="half_pixel", exclude_outside=1,
    )  # fmt: skip
    model = _onnx([resize], inputs, outputs, {"sizes": np.array([5, 4], np.int64)})
    model.opset_import[0].version = 18

    def expected(feeds: Feeds) -> Feeds:
        rows, columns = _triangles(13, 5), _triangles(9, 4)
        return {"y": np.einsum("oh,pw,nchw->ncop", rows, columns, feeds["image"]).astype(np.float32)}

    return Example("antialiased", "onnx", {"model.onnx": model.SerializeToString()}, inputs, outputs, expected, 1e-4)


def _triangles(before: int, after: int) -> Array:
    """(after, before): weights of a triangle filter as wide as the reduction (Pillow, ImagingPrecompute)."""
    scale = before / after
    centres = (np.arange(after) + 0.5) * scale - 0.5
    weights = np.maximum(0, 1 - np.abs(np.arange(before) - centres[:, None]) / scale)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


# ----------------------------------------------------------------------------------------------------------- TFLite


def _tflite(name: str, inputs: Spec, outputs: Spec, expected: Callable[[Feeds], Feeds], tolerance: float) -> Example:
    data = (_MODELS / f"{name}.tflite").read_bytes()
    return Example(name, "tflite", {"model.tflite": data}, inputs, outputs, expected, tolerance)


def _tflite_affine() -> Example:
    """The file's signature calls the tensors x and y; engines go by the tensors' own names."""

    def expected(feeds: Feeds) -> Feeds:
        return {"inner_y": _relu_dense(feeds["inner_x"])}

    return _tflite("affine", {"inner_x": ("float32", (-1, 4))}, {"inner_y": ("float32", (-1, 3))}, expected, 1e-5)


def _tflite_quantized() -> Example:
    def expected(feeds: Feeds) -> Feeds:
        return {"y": QUANTIZED.run(feeds["x"])}

    # One step: engines differ in whether they round in integers or in floats.
    return _tflite("quantized", {"x": ("int8", (-1, 4))}, {"y": ("int8", (-1, 3))}, expected, 1)


def _tflite_types() -> Example:
    inputs: Spec = {"i": ("int32", (-1, 2)), "j": ("int32", (-1, 2)), "b": ("bool", (-1, 2)), "h": ("float16", (-1, 2))}
    outputs: Spec = {"i_out": ("int32", (-1, 2)), "b_out": ("bool", (-1, 2)), "h_out": ("float32", (-1, 2))}

    def expected(feeds: Feeds) -> Feeds:
        return {"i_out": feeds["i"] + feeds["j"], "b_out": ~feeds["b"], "h_out": feeds["h"].astype(np.float32)}

    return _tflite("types", inputs, outputs, expected, 0)


_MAKERS: dict[str, dict[str, Callable[[], Example]]] = {
    "onnx": {
        "affine": _onnx_affine,
        "external": _onnx_external,
        "convolution": _onnx_convolution,
        "types": _onnx_types,
        "twice": _onnx_twice,
    },
    "tflite": {"affine": _tflite_affine, "quantized": _tflite_quantized, "types": _tflite_types},
}
