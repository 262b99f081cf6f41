"""An ONNX file becomes an imported model: checked, its external data gathered, its interface stated, and opened once.

``graph.inspect`` says whether it is sound; opening it with onnxruntime proves that it runs here. External data is read from
below the model's folder only (a location in a model is text by a stranger), and no link is followed on the way.
"""

import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from edgewise.bundle.tensors import DTYPES, TensorSpec
from edgewise.errors import MissingExtraError, ModelError, NotFoundError, UnsupportedError
from edgewise.importing.folder import Folder
from edgewise.importing.imported import ImportedModel, name_from
from edgewise.runtime.engine import EngineSession, OpenOptions, TensorInfo, find_engine

__all__ = ["ONNX_LIMIT", "import_onnx", "onnx_from_bytes"]

#: Bytes of the model file itself: protobuf does not go beyond 2 GiB; larger weights are external data.
ONNX_LIMIT = (2 << 30) - 1
# What the bundle document accepts in a path (spec/bundle.md); the location inside the model has to be the same text.
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,127}")
_UNNAMED = "?"  # graph.inspect's word for a dimension of which nothing is said


def import_onnx(path: Path) -> ImportedModel:
    """The model in the ONNX file at ``path`` with its external data.

    Dimensions that vary and have no name get one: ``batch`` for the first, ``INPUT_2`` for the third of INPUT. Raises
    NotFoundError; ModelError for what is no sound ONNX or what onnxruntime does not open; UnsupportedError, naming the part,
    for what cannot run or a bundle cannot state; RefusedError for external data behind a link;
    MissingExtraError without the extra ``pack``.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no file {path}", remedy="Check the path.")
    if path.stat().st_size > ONNX_LIMIT:
        raise ModelError(f"{path.name} has more than {ONNX_LIMIT} bytes", remedy="Save its weights as external data.")
    return onnx_from_bytes(path.name, path.read_bytes(), Folder(path.parent))


def onnx_from_bytes(name: str, data: bytes, folder: Folder | None = None) -> ImportedModel:
    """Like ``import_onnx`` for a model in memory; ``folder`` is where its external data may lie, None for nowhere."""
    inspect = _inspect(name)
    gathered: dict[str, bytes] = {}

    def read(location: str) -> bytes:
        if not all(map(_SEGMENT.fullmatch, location.split("/"))):
            raise UnsupportedError(
                f"the external data {location!r:.100} has a name that a bundle cannot carry",
                remedy="Save the model again with a location of letters, digits, dots and hyphens.",
            )
        assert folder is not None
        gathered[location] = folder.read(location)
        return gathered[location]

    try:
        summary = inspect.describe(inspect.read_model(data, external=read if folder else None))
        if gathered:
            _check_holders(data)
    except (ModelError, UnsupportedError) as error:
        raise type(error)(f"{name}: {error.what}", remedy=error.remedy, **error.details) from None
    inputs = tuple(_spec(value, name) for value in summary.inputs)
    outputs = tuple(_spec(value, name) for value in summary.outputs)
    if not inputs:
        raise UnsupportedError(f"{name} has no input; it would always give the same answer")
    files = {_plain_name(name): data, **gathered}
    _prove(files, inputs, outputs, name)
    return ImportedModel(
        name=name_from(name.removesuffix(".onnx")),
        format="onnx",
        precision=summary.precision,
        files=files,
        inputs=inputs,
        outputs=outputs,
        requires={
            "opset": summary.opsets.get("ai.onnx", 0),
            "irVersion": summary.ir_version,
            "domains": {domain: version for domain, version in summary.opsets.items() if domain != "ai.onnx"},
        },
    )


def _inspect(name: str) -> Any:
    try:
        return import_module("edgewise.graph.inspect")  # here, not above: onnx is the optional extra
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"reading {name} needs {error.name}", remedy="pip install 'edgewise[pack]'") from None


def _check_holders(data: bytes) -> None:
    """External data of anything but the main graph's initializers: onnxruntime would look for it in the current folder."""
    walk, model = import_module("edgewise.graph.walk"), import_module("onnx").ModelProto.FromString(data)
    held = sum(tensor.data_location == tensor.EXTERNAL for tensor in model.graph.initializer)
    if held != sum(tensor.data_location == tensor.EXTERNAL for tensor in walk.tensors(model)):
        raise UnsupportedError(
            "a constant of a node, or a weight of a nested graph, is external data, which cannot be given from memory",
            remedy="Save the model again with onnx.save_model(..., convert_attribute=False), or in one file.",
        )


def _spec(value: Any, file: str) -> TensorSpec:
    if value.dtype not in DTYPES:
        raise UnsupportedError(
            f"{file}: {value.name} is of type {value.dtype}, which a bundle's interface cannot state"
        )
    if value.shape is None:
        raise UnsupportedError(
            f"{file}: the shape of {value.name} is not stated and cannot be derived",
            remedy="Export it with shapes, or set them (onnx.tools.update_model_dims).",
        )
    return TensorSpec(
        value.name, value.dtype, tuple(_dimension(dim, at, value.name) for at, dim in enumerate(value.shape))
    )


def _dimension(dim: int | str, at: int, name: str) -> int | str:
    # Zero and negative numbers are how some exporters write "any".
    if isinstance(dim, int) and dim > 0:
        return dim
    if isinstance(dim, str) and dim.strip() and dim != _UNNAMED:
        return dim
    return "batch" if at == 0 else f"{name}_{at}"


def _prove(files: dict[str, bytes], inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], name: str) -> None:
    session: EngineSession = find_engine("onnxruntime").open(files, OpenOptions())
    try:
        _check_names(inputs, session.inputs, "inputs", name)
        _check_names(outputs, session.outputs, "outputs", name)
    finally:
        session.close()


def _check_names(stated: Sequence[TensorSpec], found: Sequence[TensorInfo], what: str, name: str) -> None:
    ours, theirs = [(spec.name, spec.dtype) for spec in stated], [(info.name, info.dtype) for info in found]
    if ours != theirs:
        raise ModelError(f"{name}: the file states the {what} {ours}; onnxruntime sees {theirs}")


def _plain_name(name: str) -> str:
    return name if _SEGMENT.fullmatch(name) and ".." not in name else "model.onnx"
