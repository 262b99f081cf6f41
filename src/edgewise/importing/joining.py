"""Graph fragments joined to imported models: the result is checked, opened and described like a model that arrived whole."""

from collections.abc import Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import InputError, MissingExtraError
from edgewise.importing.imported import ImportedModel
from edgewise.importing.onnx_file import onnx_from_bytes

__all__ = ["with_back", "with_front"]


def with_front(
    model: ImportedModel,
    fragment: Any,
    *,
    content: str = "tensor",
    limits: tuple[float, float] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> ImportedModel:
    """``model`` behind ``fragment`` (a ModelProto with one input) in one graph; the weights come into the model file.

    content, limits, extra: what the new input's specification says of it. Where the model's input has one axis of length 1
    more than the fragment gives (a channel), it is added. Raises what ``graph.join.prepend`` and ``import_onnx`` raise.
    """
    fitted = _with_axis(fragment, model.inputs[0]) if len(model.inputs) == 1 else fragment
    joined = _joined(model, _graph("join").prepend(fitted, _graph_of(model)))
    (spec, *rest) = joined.inputs
    return replace(joined, inputs=(replace(spec, range=limits, content=content, extra=dict(extra or {})), *rest))


def with_back(model: ImportedModel, fragment: Any, mapping: Mapping[str, str]) -> ImportedModel:
    """``model`` before ``fragment`` in one graph. mapping: output of the model -> input of the fragment."""
    joined = _joined(model, _graph("join").append(_graph_of(model), fragment, mapping))
    return replace(joined, inputs=model.inputs)


def _joined(model: ImportedModel, graph: Any) -> ImportedModel:
    found = onnx_from_bytes(next(iter(model.files)), graph.SerializeToString())
    return replace(
        found, name=model.name, precision=model.precision, labels=model.labels, extra_files=model.extra_files,
        notes=model.notes,
    )  # fmt: skip


def _graph_of(model: ImportedModel) -> Any:
    if model.format != "onnx":
        raise InputError(
            f"{model.name} is {model.format}; only ONNX graphs can be joined",
            remedy="Join the fragment before the model is converted, or pack the ONNX form of it.",
        )
    return _graph("inspect").read_model(model.model, external=dict(model.files).__getitem__)


def _with_axis(fragment: Any, wanted: TensorSpec) -> Any:
    (output,) = fragment.graph.output if len(fragment.graph.output) == 1 else (None,)
    if output is None:
        return fragment
    dims = output.type.tensor_type.shape.dim
    given = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in dims]
    if len(wanted.shape) != len(given) + 1:
        return fragment
    places = [
        at
        for at in range(1, len(wanted.shape))
        if wanted.shape[at] == 1 and _meet(given, [*wanted.shape[:at], *wanted.shape[at + 1 :]])
    ]
    if len(places) != 1:
        return fragment
    answer = _graph("answer")
    added = answer.unsqueeze(places[0], given, input_name=output.name, output_name=f"{output.name}_with_axis")
    return _graph("join").append(fragment, added)


def _meet(given: list[int | str], wanted: list[int | str]) -> bool:
    return all(isinstance(ours, str) or isinstance(theirs, str) or ours == theirs
               for ours, theirs in zip(given, wanted, strict=True))  # fmt: skip


def _graph(name: str) -> Any:
    try:
        return import_module(f"edgewise.graph.{name}")  # here, not above: onnx is the optional extra
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"joining graphs needs {error.name}", remedy="pip install 'edgewise[pack]'") from None
