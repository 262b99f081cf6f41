"""The messages of the Open Inference Protocol over gRPC, made when they are needed.

From ``specification/protocol/open_inference_grpc.proto`` of https://github.com/open-inference/open-inference-protocol: names and
numbers of the fields, which are the protocol. Not generated code: that is bound to one version of protobuf's runtime, and it
registers ``inference.*`` for the whole process, where a client of Triton in the same process registers it once more and fails.
Here the messages have a pool of their own.
"""

from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

from edgewise.errors import MissingExtraError

__all__ = ["CONTENTS", "PACKAGE", "SERVICE", "messages"]

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
#: Message -> field -> "NUMBER type": * repeated, % a map from text.
_FIELDS: Mapping[str, Mapping[str, str]] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": "1 bool"},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": "1 bool"},
    "ModelReadyRequest": {"name": "1 string", "version": "2 string"},
    "ModelReadyResponse": {"ready": "1 bool"},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {"name": "1 string", "version": "2 string", "extensions": "3 string*"},
    "ModelMetadataRequest": {"name": "1 string", "version": "2 string"},
    "ModelMetadataResponse.TensorMetadata": {"name": "1 string", "datatype": "2 string", "shape": "3 int64*"},
    "ModelMetadataResponse": {
        "name": "1 string", "versions": "2 string*", "platform": "3 string",
        "inputs": "4 ModelMetadataResponse.TensorMetadata*", "outputs": "5 ModelMetadataResponse.TensorMetadata*",
    },
    "InferParameter": {
        "bool_param": "1 bool", "int64_param": "2 int64", "string_param": "3 string", "double_param": "4 double",
        "uint64_param": "5 uint64",
    },
    "InferTensorContents": {
        "bool_contents": "1 bool*", "int_contents": "2 int32*", "int64_contents": "3 int64*", "uint_contents": "4 uint32*",
        "uint64_contents": "5 uint64*", "fp32_contents": "6 float*", "fp64_contents": "7 double*", "bytes_contents": "8 bytes*",
    },
    "ModelInferRequest.InferInputTensor": {
        "name": "1 string", "datatype": "2 string", "shape": "3 int64*", "parameters": "4 InferParameter%",
        "contents": "5 InferTensorContents",
    },
    "ModelInferRequest.InferRequestedOutputTensor": {"name": "1 string", "parameters": "2 InferParameter%"},
    "ModelInferRequest": {
        "model_name": "1 string", "model_version": "2 string", "id": "3 string", "parameters": "4 InferParameter%",
        "inputs": "5 ModelInferRequest.InferInputTensor*", "outputs": "6 ModelInferRequest.InferRequestedOutputTensor*",
        "raw_input_contents": "7 bytes*",
    },
    "ModelInferResponse.InferOutputTensor": {
        "name": "1 string", "datatype": "2 string", "shape": "3 int64*", "parameters": "4 InferParameter%",
        "contents": "5 InferTensorContents",
    },
    "ModelInferResponse": {
        "model_name": "1 string", "model_version": "2 string", "id": "3 string", "parameters": "4 InferParameter%",
        "outputs": "5 ModelInferResponse.InferOutputTensor*", "raw_output_contents": "6 bytes*",
    },
}  # fmt: skip
#: Datatype -> the field of InferTensorContents that has its values; 16-bit floats come as raw bytes alone.
CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents", "INT64": "int64_contents",
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
_ONE_OF = "InferParameter"  # its fields exclude each other


@cache
def messages() -> Any:
    """The classes, by their names without the package, and DecodeError. Raises MissingExtraError."""
    for module in ("grpc", "google.protobuf"):
        if not _is_there(module):
            raise MissingExtraError(f"an upstream over gRPC needs {module}", remedy="pip install 'edgewise[grpc]'")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory  # type: ignore[import-untyped] # noqa: PLC0415
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped] # noqa: PLC0415  (an optional extra)

    file = descriptor_pb2.FileDescriptorProto(name="open_inference_grpc.proto", package=PACKAGE, syntax="proto3")
    made: dict[str, Any] = {}
    for name in sorted(_FIELDS, key=lambda name: name.count(".")):  # what holds others comes before them
        outer, _, inner = name.rpartition(".")
        made[name] = (made[outer].nested_type if outer else file.message_type).add(name=inner)
    for name, fields in _FIELDS.items():
        if name == _ONE_OF:
            made[name].oneof_decl.add(name="parameter_choice")
        for field, form in fields.items():
            _add_field(made[name], name, field, form)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return SimpleNamespace(
        DecodeError=DecodeError,
        **{
            name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
            for name in _FIELDS
            if "." not in name
        },
    )


def _add_field(message: Any, owner: str, field: str, form: str) -> None:
    number, _, kind = form.partition(" ")
    repeated = kind[-1] in "*%"
    added = message.field.add(name=field, number=int(number), label=3 if repeated else 1)
    if owner == _ONE_OF:
        added.oneof_index = 0
    if kind[-1] == "%":  # a map is a list of pairs on the wire
        pair = f"{''.join(part.capitalize() for part in field.split('_'))}Entry"
        entry = message.nested_type.add(name=pair)
        entry.options.map_entry = True
        _add_field(entry, "", "key", "1 string")
        _add_field(entry, "", "value", f"2 {kind[:-1]}")
        kind = f"{owner}.{pair}"
    kind = kind.rstrip("*")
    if kind in _TYPES:
        added.type = _TYPES[kind]
    else:
        added.type, added.type_name = 11, f".{PACKAGE}.{kind}"


#: Numbers of google.protobuf.FieldDescriptorProto.Type; 11 is a message.
_TYPES = {
    "double": 1, "float": 2, "int64": 3, "uint64": 4, "int32": 5, "bool": 8, "string": 9, "bytes": 12, "uint32": 13,
}  # fmt: skip


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # the package that it is in
        return False
