"""A TFLite file becomes an imported model: identifier and size first, then the interface as LiteRT itself reports it."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.bundle.tensors import DTYPES, TensorSpec
from edgewise.errors import MissingExtraError, ModelError, NotFoundError, UnsupportedError
from edgewise.importing.folder import Folder
from edgewise.importing.imported import ImportedModel, name_from
from edgewise.runtime import telemetry

__all__ = ["import_tflite"]

# FlatBuffers: the root's offset in four bytes, then the file identifier, which schema.fbs of TFLite sets to TFL3.
_IDENTIFIER = b"TFL3"
_LIMIT = (2 << 30) - 1  # bytes; FlatBuffers' offsets are signed 32-bit numbers


def import_tflite(path: Path) -> ImportedModel:
    """The model in the TFLite file at ``path``.

    Quantization parameters of an input or output are kept in ``TensorSpec.extra["quantization"]``: real = scale * (value -
    zeroPoint). Raises NotFoundError, ModelError for what is no sound TFLite file, UnsupportedError for a dtype that the
    bundle cannot state, MissingExtraError without the extra ``litert``.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}", remedy="Check the path.")
    data = Folder(path.parent).read(path.name, _LIMIT) if not path.is_symlink() else path.read_bytes()
    _check_flatbuffer(data, path.name)
    interpreter = _interpreter(data, path.name)
    inputs = tuple(_spec(details, path.name) for details in interpreter.get_input_details())
    outputs = tuple(_spec(details, path.name) for details in interpreter.get_output_details())
    if not inputs or not outputs:
        raise ModelError(f"{path.name} has {len(inputs)} inputs and {len(outputs)} outputs; both are needed")
    name = path.name if path.suffix == ".tflite" else "model.tflite"
    return ImportedModel(
        name=name_from(path.stem),
        format="tflite",
        precision=_precision(interpreter.get_tensor_details()),
        files={_plain(name): data},
        inputs=inputs,
        outputs=outputs,
        requires={"schema": _IDENTIFIER.decode()},
    )


def _check_flatbuffer(data: bytes, name: str) -> None:
    if len(data) < 16 or data[4:8] != _IDENTIFIER:
        raise ModelError(
            f"{name} is no TFLite file: it has {len(data)} bytes and {data[4:8]!r} where {_IDENTIFIER!r} belongs",
            remedy="Convert the model to TFLite, or name a file that is one.",
        )
    root = int.from_bytes(data[:4], "little")
    if not 8 <= root <= len(data) - 4:
        raise ModelError(f"{name} is damaged: its root lies at byte {root} of {len(data)}")


def _interpreter(data: bytes, name: str) -> Any:
    try:
        with telemetry.withheld():
            runtime = import_module("ai_edge_litert.interpreter")  # here, not above: LiteRT is the optional extra
    except ImportError:
        raise MissingExtraError(
            f"reading {name} needs ai_edge_litert", remedy="pip install 'edgewise[litert]'"
        ) from None
    try:
        interpreter = runtime.Interpreter(model_content=data, num_threads=1)
        interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        first = str(error).strip().split("\n")[0][:300]
        raise ModelError(f"LiteRT cannot open {name}: {first}") from None
    return interpreter


def _spec(details: Mapping[str, Any], file: str) -> TensorSpec:
    name = str(details["name"])
    kind = details["dtype"]
    dtype = "str" if kind in (np.bytes_, np.str_, np.object_) else np.dtype(kind).name
    if dtype not in DTYPES:
        raise UnsupportedError(f"{file}: the tensor {name} has dtype {dtype}, which no bundle can state")
    signature = [int(size) for size in details.get("shape_signature", details["shape"])]
    shape = tuple(
        size if size > 0 else "batch" if at == 0 else f"{name_from(name)}_{at}" for at, size in enumerate(signature)
    )
    return TensorSpec(name, dtype, shape, extra=_quantization(details))


def _quantization(details: Mapping[str, Any]) -> dict[str, Any]:
    parameters = details["quantization_parameters"]
    scales, zeros = parameters["scales"].tolist(), parameters["zero_points"].tolist()
    if not scales:
        return {}
    if len(scales) == 1:
        return {"quantization": {"scale": scales[0], "zeroPoint": zeros[0]}}
    return {
        "quantization": {"scale": scales, "zeroPoint": zeros, "axis": int(parameters["quantized_dimension"])},
    }


def _precision(tensors: list[dict[str, Any]]) -> str:
    """From the tensors with elements that are quantized or floating: int8 where none is floating, and so on."""
    kinds = {np.dtype(details["dtype"]).name for details in tensors if _counts(details)}
    if kinds <= {"int8", "uint8", "int16"} and kinds:
        return "int8"
    if kinds & {"int8", "uint8"}:
        return "mixed"
    return "fp16" if kinds == {"float16"} else "fp32"


def _counts(details: Mapping[str, Any]) -> bool:
    kind = details["dtype"]
    if kind in (np.bytes_, np.str_, np.object_):
        return False
    found = np.dtype(kind)
    quantized = len(details["quantization_parameters"]["scales"]) > 0
    # Quantized models keep their biases as int32 and shapes as int32 or int64: only narrow types tell of the precision.
    return found.kind == "f" or (quantized and found.itemsize < 4)


def _plain(name: str) -> str:
    stem, _, suffix = name.rpartition(".")
    return f"{name_from(stem)}.{suffix}"
