"""Reading a model that somebody else wrote: bounded, checked, with everything inline and every shape that can be known."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import GraphProto, ModelProto, TensorProto, ValueInfoProto

from edgewise.errors import ModelError, UnsupportedError
from edgewise.graph.external import inline_external_data
from edgewise.graph.precision import guess_precision, is_weight
from edgewise.graph.walk import dtype_name, element_bits, is_default_domain, nodes, opsets, tensors

__all__ = [
    "DEFAULT_LIMITS",
    "DOMAINS",
    "IR_VERSIONS",
    "OPSETS",
    "ModelLimits",
    "ModelSummary",
    "ValueSummary",
    "checked",
    "describe",
    "read_model",
]

#: Lowest and highest version of the default domain that onnxruntime 1.32 opens (6 opens too; nothing is exported so old).
OPSETS = (7, 28)
#: Lowest and highest ``ir_version`` that onnxruntime 1.32 opens.
IR_VERSIONS = (3, 14)
#: Other domains whose operators are let through, with the highest version onnxruntime 1.32 opens.
DOMAINS = {"ai.onnx.ml": 5, "com.microsoft": 1}
# Larger initializers are left out when a model goes through onnx's C++ code: they cannot change a shape, and the copy that
# goes there as one protobuf message may not pass 2 GiB.
_LARGE = 1 << 16  # bytes
_PROTOBUF_LIMIT = (2 << 30) - 1  # bytes of one message


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """How much is read. model_bytes: the file itself. external_bytes: all external data. nodes: with nested graphs."""

    model_bytes: int = _PROTOBUF_LIMIT
    external_bytes: int = 2 << 30
    nodes: int = 1_000_000


DEFAULT_LIMITS = ModelLimits()


@dataclass(frozen=True, slots=True)
class ValueSummary:
    """An input or output. dtype: NumPy's spelling, ``sequence``, ``optional`` or ``map`` for what is no tensor.

    shape: numbers, names, and ``?`` for a dimension of which nothing is said; None where even the rank is unknown.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None


@dataclass(frozen=True, slots=True)
class ModelSummary:
    """What a model is, without running it.

    opsets: domain -> version, ``ai.onnx`` for the default one. operators: operator -> how often, those of other domains as
    ``domain::operator``. parameters: elements of its weights (floating-point, or integers of 8 bits and less).
    size: bytes with all weights inline. control_flow: some node has a graph of its own.
    precision: ``fp32``, ``fp16``, ``int8``, ``int4`` or ``mixed``, a guess from where the weights are.
    """

    inputs: tuple[ValueSummary, ...]
    outputs: tuple[ValueSummary, ...]
    ir_version: int
    opsets: dict[str, int]
    operators: dict[str, int]
    parameters: int
    size: int
    functions: tuple[str, ...]
    control_flow: bool
    precision: str


def read_model(
    data: bytes, *, external: Callable[[str], bytes] | None = None, limits: ModelLimits = DEFAULT_LIMITS
) -> ModelProto:
    """The model in ``data``, checked, with its external data inline and its shapes inferred as far as they go.

    external: location -> bytes of a file beside the model; asked only for safe relative paths.
    Raises ModelError for what is no sound ONNX model, and for external data that is missing, points outside or does not
    fit; UnsupportedError for an opset, IR version, domain or size that edgewise or onnxruntime does not take.
    """
    if len(data) > limits.model_bytes:
        raise UnsupportedError(
            f"the model file has {len(data)} bytes; at most {limits.model_bytes} are read",
            remedy="Save the weights as external data, or use a smaller model.",
        )
    try:
        model = ModelProto.FromString(data)
    except DecodeError:
        raise ModelError("this is no ONNX file: it does not parse as protobuf") from None
    if not model.HasField("graph") or not model.graph.output:
        raise ModelError("this is no ONNX model: it has no graph with an output")
    _check_versions(model)
    _check_operators(model, limits)
    inline_external_data(model, external, limits.external_bytes)
    return checked(model)


def checked(model: ModelProto) -> ModelProto:
    """A copy of ``model`` that passed onnx.checker, with inferred shapes. All data must be inline.

    Raises ModelError with the checker's words where it does not pass.
    """
    small, large = _without_large(model)
    try:
        onnx.checker.check_model(small)
        inferred = onnx.shape_inference.infer_shapes(small, check_type=False, strict_mode=False, data_prop=True)
    # onnx raises its own two kinds, and bare RuntimeError or ValueError out of its C++ code.
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, RuntimeError, ValueError) as error:
        raise ModelError(f"the model does not pass ONNX's own check: {_first_lines(error)}") from error
    for tensor in large:
        _check_payload(tensor)
    if large:
        del inferred.graph.initializer[:]
        inferred.graph.initializer.extend(model.graph.initializer)
        del inferred.graph.input[:]
        inferred.graph.input.extend(model.graph.input)
    return inferred


def describe(model: ModelProto) -> ModelSummary:
    """What ``model`` is. Needs no check before, and reads no external data."""
    stored = {tensor.name for tensor in model.graph.initializer}
    operators = Counter(
        node.op_type if is_default_domain(node.domain) else f"{node.domain}::{node.op_type}" for node in nodes(model)
    )
    small, large = _without_large(model)
    return ModelSummary(
        inputs=tuple(_value(value) for value in model.graph.input if value.name not in stored),
        outputs=tuple(_value(value) for value in model.graph.output),
        ir_version=model.ir_version,
        opsets={domain or "ai.onnx": version for domain, version in sorted(opsets(model).items())},
        operators=dict(sorted(operators.items())),
        parameters=sum(prod(tensor.dims) for tensor in tensors(model) if is_weight(tensor)),
        size=small.ByteSize() + sum(tensor.ByteSize() for tensor in large),
        functions=tuple(f"{function.domain}::{function.name}" for function in model.functions),
        control_flow=any(True for node in nodes(model) if any(a.HasField("g") or a.graphs for a in node.attribute)),
        precision=guess_precision(model),
    )


def _check_versions(model: ModelProto) -> None:
    lowest, highest = IR_VERSIONS
    highest = min(highest, onnx.IR_VERSION)
    if not lowest <= model.ir_version <= highest:
        raise UnsupportedError(
            f"the model has IR version {model.ir_version}; versions {lowest} to {highest} are read",
            remedy="Export it again with an ir_version in that range (onnx.helper.make_model(..., ir_version=10)).",
            ir_version=model.ir_version,
        )
    imported = opsets(model)
    if len(imported) < len(model.opset_import):
        raise ModelError("the model imports one operator domain twice")
    lowest, highest = OPSETS[0], min(OPSETS[1], onnx.defs.onnx_opset_version())
    opset = imported.get("")
    if opset is not None and not lowest <= opset <= highest:
        raise UnsupportedError(
            f"the model uses opset {opset}; onnxruntime and the onnx package here take {lowest} to {highest}",
            remedy="Export it with an opset in that range, or convert it with onnx.version_converter.",
            opset=opset,
        )
    for domain, most in DOMAINS.items():
        if imported.get(domain, most) > most:
            raise UnsupportedError(
                f"the model uses {domain} {imported[domain]}; onnxruntime takes up to {most}", domain=domain
            )


def _check_operators(model: ModelProto, limits: ModelLimits) -> None:
    if model.training_info:
        raise UnsupportedError("the model carries training graphs (training_info), which onnxruntime does not run")
    functions = {(function.domain, function.name) for function in model.functions}
    for at, node in enumerate(nodes(model)):
        if at >= limits.nodes:
            raise UnsupportedError(f"the model has more than {limits.nodes} nodes")
        known = is_default_domain(node.domain) or node.domain in DOMAINS or (node.domain, node.op_type) in functions
        if not known:
            raise UnsupportedError(
                f"the node {node.name or f'number {at}'!r} is a {node.op_type} of the domain {node.domain!r}, "
                "which onnxruntime does not have",
                remedy="Export the model with standard operators (domain ai.onnx) only.",
                operator=node.op_type,
                domain=node.domain,
                node=node.name,
            )


def _without_large(model: ModelProto) -> tuple[ModelProto, list[TensorProto]]:
    """A copy in which every large initializer of the main graph is an input, and those initializers."""
    large = [tensor for tensor in model.graph.initializer if len(tensor.raw_data) > _LARGE]
    small = ModelProto()
    if not large:
        small.CopyFrom(model)
        return small, large
    _copy_but(model, small, "graph")
    _copy_but(model.graph, small.graph, "initializer")
    small.graph.initializer.extend(tensor for tensor in model.graph.initializer if len(tensor.raw_data) <= _LARGE)
    declared = {value.name for value in model.graph.input}
    small.graph.input.extend(
        onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
        for tensor in large
        if tensor.name not in declared
    )
    return small, large


def _copy_but(source: ModelProto | GraphProto, target: ModelProto | GraphProto, left_out: str) -> None:
    """Copy every field that is set, but one."""
    for field, value in source.ListFields():
        if field.name == left_out:
            continue
        if field.is_repeated:
            getattr(target, field.name).extend(value)
        elif field.message_type is not None:
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)


def _check_payload(tensor: TensorProto) -> None:
    """What the checker would say of an initializer that it was not shown."""
    bits = element_bits(tensor.data_type)
    if not tensor.name or any(dim < 0 for dim in tensor.dims) or not bits:
        raise ModelError(f"the initializer {tensor.name!r} has no name, a negative dimension, or text in raw_data")
    needed = (prod(tensor.dims) * bits + 7) // 8
    if len(tensor.raw_data) != needed:
        raise ModelError(
            f"the initializer {tensor.name!r} has {len(tensor.raw_data)} bytes; its shape needs {needed}",
            tensor=tensor.name,
        )


def _value(value: ValueInfoProto) -> ValueSummary:
    kind = value.type.WhichOneof("value")
    if kind not in {"tensor_type", "sparse_tensor_type"}:
        return ValueSummary(value.name, (kind or "unknown").removesuffix("_type"), None)
    tensor = getattr(value.type, kind)
    dims: Iterator[int | str] = (
        int(dim.dim_value) if dim.HasField("dim_value") else str(dim.dim_param) or "?" for dim in tensor.shape.dim
    )
    return ValueSummary(value.name, dtype_name(tensor.elem_type), tuple(dims) if tensor.HasField("shape") else None)


def _first_lines(error: Exception) -> str:
    return " ".join(line.strip() for line in str(error).strip().splitlines()[:3])[:400]
