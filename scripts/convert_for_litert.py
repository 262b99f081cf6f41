"""Converts ONNX's test models of one node to TFLite with onnx2tf, for make_targets.py and the tests of the LiteRT profiles.

    python scripts/convert_for_litert.py      (needs onnx2tf 2.6.9, in an environment of its own; about twenty minutes)

Writes tests/compress/targets/litert_models.tar.xz: NAME.FORM.onnx with NAME.FORM.tflite, or NAME.FORM.error where onnx2tf
refuses. FORM is ``fed`` (as ONNX's tests have it) or ``stored`` (all inputs but the first in the model, as weights are in
real ones).
"""

import contextlib
import io
import signal
import sys
import tarfile
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx2tf
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

OUT = Path(__file__).resolve().parent.parent / "tests/compress/targets/litert_models.tar.xz"
#: Element types that ONNX's tests have and hardly anybody's model.
RARE = ("float8", "float6", "float4", "e8m0", "bfloat16", "int4", "int2", "string", "optional", "sequence", "complex")
EACH = 12  # test models of one operator
SECONDS = 30  # for one conversion; some never end


def main() -> int:
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGALRM, _too_long)
    found: dict[str, bytes] = {}
    for name, model in models():
        found[f"{name}.onnx"] = model.SerializeToString()
        try:
            found[f"{name}.tflite"] = converted(model)
        except Exception as error:
            found[f"{name}.error"] = f"{type(error).__name__}: {error}".encode()[:300]
    with tarfile.open(OUT, "w:xz", preset=9) as archive:
        for name in sorted(found, key=lambda name: (Path(name).suffix, name)):  # what is alike beside each other
            member = tarfile.TarInfo(name)  # without a date: the same bytes each time
            member.size = len(found[name])
            archive.addfile(member, io.BytesIO(found[name]))
    return 0


def models() -> Iterator[tuple[str, ModelProto]]:
    seen: Counter[str] = Counter()
    for case in collect_testcases(None):
        nodes = case.model.graph.node
        name = case.name.lower().replace("reversesequence", "reverse")
        if len(nodes) != 1 or nodes[0].domain or any(kind in name for kind in RARE):
            continue
        operator = nodes[0].op_type
        seen[operator] += 1
        if seen[operator] > EACH and "pool" not in case.name:
            continue
        yield f"{case.name}.fed", case.model
        if len(case.model.graph.input) > 1 and (model := with_stored(case)) is not None:
            yield f"{case.name}.stored", model
    yield from ((f"{name}.stored", model) for name, model in more())


def with_stored(case: Any) -> ModelProto | None:
    """The test model with all inputs but the first stored in it; None where one of them is no tensor."""
    model, arrays = ModelProto(), case.data_sets[0][0]
    model.CopyFrom(case.model)
    if not all(isinstance(array, np.ndarray | np.generic) for array in arrays):
        return None
    for value, array in list(zip(model.graph.input, arrays, strict=False))[1:]:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), value.name))
    del model.graph.input[1:]
    return model


def more() -> Iterator[tuple[str, ModelProto]]:
    """What ONNX's tests have not: convolutions in one and three dimensions and by group, element types of common operators."""
    for dims in (1, 2, 3):
        for operator, groups in (("Conv", 1), ("Conv", 4), ("ConvTranspose", 1)):
            weight = np.ones((4, 4 // groups, *[3] * dims), np.float32)
            shape = [1, 4, *[6] * dims]
            yield f"more_{operator.lower()}_{dims}d_{groups}", _one(operator, shape, [weight], group=groups)
    for mode in ("constant", "edge", "reflect"):
        yield f"more_pad_{mode}", _one("Pad", [1, 4, 6, 6], [np.array([0, 0, 1, 1, 0, 0, 1, 1])], mode=mode)
    for operator, kind in (("QuantizeLinear", np.uint8), ("QuantizeLinear", np.int8), ("DequantizeLinear", np.uint8)):
        element = TensorProto.FLOAT if operator == "QuantizeLinear" else TensorProto.UINT8
        yield (
            f"more_{operator.lower()}_{kind.__name__}",
            _one(operator, [1, 4, 6, 6], [np.array(0.5, np.float32), np.array(3, kind)], element),
        )
    yield "more_dequantizelinear_int8", _one("DequantizeLinear", [4], [np.float32(0.5), np.int8(3)], TensorProto.INT8)
    yield "more_dequantizelinear_int32", _one("DequantizeLinear", [4], [np.float32(0.5)], TensorProto.INT32)
    for operator in ("Relu", "Add", "Mul", "Softmax", "Sigmoid", "Concat", "MatMul"):
        for kind in ("FLOAT16", "DOUBLE", "INT32", "INT64"):
            element = TensorProto.DataType.Value(kind)
            if operator in ("Softmax", "Sigmoid", "Relu") and kind.startswith("INT"):
                continue
            other = np.ones((4, 4), helper.tensor_dtype_to_np_dtype(element))
            inputs = [] if operator in ("Relu", "Softmax", "Sigmoid") else [other]
            attributes = {"axis": 0} if operator == "Concat" else {}
            yield f"more_{operator.lower()}_{kind.lower()}", _one(operator, [4, 4], inputs, element, **attributes)


def _one(
    operator: str, shape: list[int], stored: list[Any], element: int = TensorProto.FLOAT, **attributes: Any
) -> ModelProto:
    names = [f"w{at}" for at in range(len(stored))]
    node = helper.make_node(operator, ["x", *names], ["y"], **attributes)
    graph = helper.make_graph(
        [node], "one", [helper.make_tensor_value_info("x", element, shape)],
        [helper.make_tensor_value_info("y", element, None)],
        [numpy_helper.from_array(np.asarray(array), name) for array, name in zip(stored, names, strict=True)],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def converted(model: ModelProto) -> bytes:
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        source = Path(folder) / "model.onnx"
        source.write_bytes(model.SerializeToString())
        signal.alarm(SECONDS)
        try:
            with contextlib.redirect_stderr(io.StringIO()):
                onnx2tf.convert(
                    input_onnx_file_path=str(source), output_folder_path=folder, non_verbose=True, verbosity="error",
                    tflite_backend="flatbuffer_direct", not_use_onnxsim=True,
                )  # fmt: skip
        except SystemExit as left:
            raise RuntimeError(f"onnx2tf left with {left.code}") from None
        finally:
            signal.alarm(0)
        return next(Path(folder).glob("*_float32.tflite")).read_bytes()


def _too_long(*_: Any) -> None:
    raise TimeoutError(f"not done after {SECONDS} seconds")


if __name__ == "__main__":
    sys.exit(main())
