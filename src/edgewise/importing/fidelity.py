"""How faithful is a variant that somebody else made smaller? Seeded inputs through both, before anything is packed.

Random inputs do not tell accuracy; that is measured on data, later. They do tell a broken file from a sound one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module

import numpy as np

from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import MismatchError
from edgewise.importing.check import Comparison, measure_outputs, open_imported, require_faithful
from edgewise.importing.imported import ImportedModel
from edgewise.measure.samples import synthetic
from edgewise.runtime.engine import Array

__all__ = ["compare_variants", "seeded_inputs", "within_quantization"]

_ROUNDS = 8
_LENGTH = 16  # of a dimension that varies and is neither the batch nor fixed by the model
# Inputs of text models (transformers) whose values have a meaning of their own.
_ONES = ("attention_mask", "input_mask", "pixel_mask")
_ZEROS = ("token_type_ids", "segment_ids")


def compare_variants(
    reference: ImportedModel, others: Sequence[ImportedModel], *, vocabulary: int = 0, allow_unfaithful: bool = False
) -> list[tuple[ImportedModel, Comparison]]:
    """Each of ``others`` with how it differs from ``reference`` on the same seeded inputs, which its notes say too.

    vocabulary: number of tokens that a text model knows, 0 where unknown. Raises MismatchError with the numbers for a variant
    below ``LEAST_COSINE``, unless ``allow_unfaithful``; always for other shapes, NaN and infinity.
    """
    results: list[tuple[ImportedModel, Comparison]] = []
    for model in others:
        if [(spec.name, spec.dtype) for spec in model.inputs] != [(spec.name, spec.dtype) for spec in reference.inputs]:
            raise MismatchError(
                f"{model.name} takes {[str(spec) for spec in model.inputs]}, {reference.name} takes "
                f"{[str(spec) for spec in reference.inputs]}",
                remedy="Import it by itself; it is no variant of the same model.",
            )
        what = f"{model.name} against {reference.name}"
        specs = within_quantization(reference.inputs, model)
        rounds = [seeded_inputs(specs, seed, vocabulary) for seed in range(_ROUNDS)]
        compared = measure_outputs(_run(reference, rounds), _run(model, rounds), what=what)
        if not allow_unfaithful:
            require_faithful(compared, what, model.name)
        results.append((model.with_notes(f"{what}, {_ROUNDS} seeded inputs: {compared}"), compared))
    return results


def seeded_inputs(
    specs: Sequence[TensorSpec], seed: int, vocabulary: int = 0, *, length: int = _LENGTH, top: int = 255
) -> dict[str, Array]:
    """Repeatable inputs with a batch of one.

    vocabulary: number of tokens that a text model knows, 0 where unknown. length: of dimensions that vary and are not the
    batch. top: highest whole number where neither the vocabulary nor the range is known.
    """
    feeds: dict[str, Array] = {}
    for at, spec in enumerate(specs):
        shape = tuple(_size(dim, place, length) for place, dim in enumerate(spec.shape))
        kind = np.dtype(object if spec.dtype == "str" else spec.dtype).kind
        if kind in "iubf" and spec.name in _ONES:
            feeds[spec.name] = np.ones(shape, spec.dtype)
        elif kind in "iu" and spec.name in _ZEROS:
            feeds[spec.name] = np.zeros(shape, spec.dtype)
        elif kind in "iu" and spec.name == "position_ids":
            feeds[spec.name] = np.broadcast_to(np.arange(shape[-1], dtype=spec.dtype), shape).copy()
        else:
            limits = (0.0, float(vocabulary - 1)) if kind == "i" and vocabulary > 0 else spec.range
            feeds[spec.name] = synthetic(replace(spec, shape=shape, range=limits), seed * len(specs) + at, top=top)
    return feeds


def within_quantization(specs: Sequence[TensorSpec], model: ImportedModel) -> list[TensorSpec]:
    """The inputs with the range that ``model`` was quantized for: beyond it a sound model clips, and looks broken."""
    if model.format != "onnx":
        return list(specs)
    onnx, precision = import_module("onnx"), import_module("edgewise.graph.precision")  # extra: pack
    ranges = precision.input_ranges(onnx.ModelProto.FromString(model.model))
    return [spec if spec.range else replace(spec, range=ranges.get(spec.name)) for spec in specs]


def _size(dim: int | str, place: int, length: int) -> int:
    if isinstance(dim, int):
        return dim
    return 1 if place == 0 or "batch" in dim else length


def _run(model: ImportedModel, rounds: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    session = open_imported(model)
    try:
        results = [session.run(dict(feeds)) for feeds in rounds]
    finally:
        session.close()
    return {name: np.stack([result[name] for result in results]) for name in results[0]}
