"""ONNX's own test models of one node, and the same in older opsets and other element types."""

import warnings
from collections.abc import Iterator
from functools import cache

import onnx
import onnxruntime as ort
from onnx import ModelProto, TensorProto, defs

#: Element types that ONNX's tests have and hardly anybody's model.
RARE = {"float8", "float4", "bfloat16", "int4", "uint4", "int2", "uint2"}
OTHER_TYPES = (
    TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.INT32, TensorProto.INT64, TensorProto.INT8, TensorProto.UINT8,
)  # fmt: skip


@cache
def node_tests() -> dict[str, ModelProto]:
    """Those in ONNX's own domain."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    return {
        case.name: case.model for case in cases
        if len(case.model.graph.node) == 1 and not case.model.graph.node[0].domain
        and not any(kind in case.name.lower() for kind in RARE)
    }  # fmt: skip


def one_of_each() -> Iterator[tuple[str, ModelProto]]:
    seen = set()
    for name, model in node_tests().items():
        if (operator := model.graph.node[0].op_type) not in seen:
            seen.add(operator)
            yield name, model


def variants(name: str, model: ModelProto) -> Iterator[tuple[str, ModelProto]]:
    """The model in each older opset that changed its operator, and with other types in place of float32, where ONNX allows it."""
    operator, top = model.graph.node[0].op_type, model.opset_import[0].version
    history = {s.since_version for s in defs.get_all_schemas_with_history() if s.name == operator and not s.domain}
    for version in sorted(each for each in history if 7 <= each < top):
        older = ModelProto()
        older.CopyFrom(model)
        older.opset_import[0].version = version
        older.ir_version = min(older.ir_version, 10)
        yield from _if_sound(f"{name} in opset {version}", older)
    for element in OTHER_TYPES:
        other = ModelProto()
        other.CopyFrom(model)
        del other.graph.value_info[:]
        values = [*other.graph.input, *other.graph.output]
        if any(value.type.tensor_type.elem_type == TensorProto.FLOAT for value in values):
            for value in values:
                if value.type.tensor_type.elem_type == TensorProto.FLOAT:
                    value.type.tensor_type.elem_type = element
            yield from _if_sound(f"{name} in {TensorProto.DataType.Name(element)}", other)


def _if_sound(name: str, model: ModelProto) -> Iterator[tuple[str, ModelProto]]:
    try:
        onnx.checker.check_model(model)
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return
    yield name, model


def opens(model: ModelProto) -> bool:
    """Whether onnxruntime opens it on the CPU."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    try:
        ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception:
        return False
    return True
