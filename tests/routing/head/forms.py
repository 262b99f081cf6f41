"""The digits' classifier in every form that a variant can have, with noisy images on which it errs."""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from edgewise.compress.quantize.dynamic import Dynamic
from edgewise.compress.quantize.half import Half
from edgewise.compress.quantize.quiet import quiet
from edgewise.compress.quantize.static import Static
from edgewise.compress.quantize.weight_only import Blocks, Storage
from edgewise.compress.samples import Samples
from edgewise.digits import load_split, model_bytes
from edgewise.measure.dataset import Dataset
from edgewise.runtime.engine import Array, OpenOptions, find_engine

FORMS = (
    "fp32", "int8", "static s8", "qoperator", "dynamic", "int4 blocks", "int4 storage", "half", "half compute", "half out",
    "softmax", "half softmax", "int8 softmax", "opset 13", "integers out",
)  # fmt: skip
_PASSES = {
    "static s8": Static(activations="s8", count=64), "dynamic": Dynamic(), "int4 blocks": Blocks(), "int4 storage": Storage(bits=4),
    "half": Half(), "half compute": Half(compute=True),
}  # fmt: skip


@cache
def noisy(count: int = 1797, noise: float = 0.35) -> tuple[Array, Array]:
    """Pixels (N, 1, 8, 8) float32 with noise, and digits (N,)."""
    images, digits = (
        np.concatenate([load_split(name)[at] for name in ("train", "calibration", "eval")]) for at in (0, 1)
    )
    draw = np.random.default_rng(0)
    order = draw.permutation(len(images))[:count]
    pixels = images[order, None] / 16 + draw.normal(0, noise, (len(order), 1, 8, 8))
    return np.clip(pixels, 0, 1).astype(np.float32), digits[order]


@cache
def form(name: str) -> bytes:
    """One of FORMS, with the output ``logits`` whatever it holds."""
    if name in ("fp32", "int8"):
        return model_bytes(name)
    model = onnx.ModelProto.FromString(model_bytes("int8" if name in ("int8 softmax", "integers out") else "fp32"))
    if name in _PASSES:
        model = _PASSES[name].apply(model, _samples())
    elif name == "qoperator":
        model = _qoperator(model)
    elif name.startswith("half "):
        model = Half(compute=True).apply(model, _samples())
        last = model.graph.node.pop()
        assert last.op_type == "Cast", last.op_type
        model.graph.node[-1].output[0] = "logits"
        model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16
        del model.graph.value_info[:]
        if name == "half softmax":
            behind(model, "Softmax", axis=-1)
    elif name.endswith("softmax"):
        behind(model, "Softmax", axis=-1)
    elif name == "opset 13":
        model.opset_import[0].version = 13
    elif name == "integers out":
        _integers_out(model)
    return model.SerializeToString()


def _samples() -> Samples:
    x, y = noisy()
    return Samples(Dataset(x, y), "classification", "pixels", "logits")


def behind(model: ModelProto, operator: str, **attributes: object) -> None:
    """Put an operator at the end; the output keeps its name."""
    for node in model.graph.node:
        node.output[:] = ["raw" if name == "logits" else name for name in node.output]
    model.graph.node.append(helper.make_node(operator, ["raw"], ["logits"], "last", **attributes))
    del model.graph.value_info[:]


def _integers_out(model: ModelProto) -> None:
    """Without the conversion at the end."""
    last = model.graph.node.pop()
    assert last.op_type == "DequantizeLinear"
    model.graph.node[-1].output[0] = "logits"
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.UINT8
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    assert numpy_helper.to_array(stored[last.input[2]]).dtype == np.uint8


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self) -> None:
        self.feeds = iter([{"pixels": noisy()[0][:64]}])

    def get_next(self) -> object:
        return next(self.feeds, None)


def _qoperator(model: ModelProto) -> ModelProto:
    with TemporaryDirectory() as folder, quiet():
        path = Path(folder)
        onnx.save(model, str(path / "model.onnx"))
        quantize_static(
            str(path / "model.onnx"), str(path / "quantized.onnx"), _Reader(), quant_format=QuantFormat.QOperator,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
        return onnx.load(str(path / "quantized.onnx"))


def run(model: bytes, x: Array) -> dict[str, Array]:
    session = find_engine("onnxruntime").open({"model.onnx": model}, OpenOptions(threads=1))
    try:
        return session.run({session.inputs[0].name: x})
    finally:
        session.close()


def disagreement(model: bytes, count: int = 1797) -> Array:
    """(N,) where it is not right."""
    x, y = noisy(count)
    found: Array = run(model, x)["logits"].argmax(axis=1) != y
    return found
