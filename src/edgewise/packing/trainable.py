"""The training step that a bundle carries: built from a variant's own graph while it is packed, for devices without `onnx`.

What a user feeds the trainer is what he feeds ``predict``: preprocessing is in the graph, and in the step. Before it is packed
a step has answered the golden inputs as its variant does and has been run in a process of its own, which measures its memory.
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from onnx import ModelProto

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.document import Document, File, Variant
from edgewise.bundle.training_parts import PARTS, TrainingEntry
from edgewise.digests import digest_of
from edgewise.errors import InputError, MismatchError, ProbeError, UnsupportedError
from edgewise.graph.inspect import read_model
from edgewise.importing.imported import ImportedModel
from edgewise.packing.objective import Objective, find_objective
from edgewise.packing.training_request import TrainingRequest
from edgewise.runtime.golden_set import GoldenSet, read_golden
from edgewise.training.rewrites.batch_norm import train_batch_norm
from edgewise.training.rewrites.dequantize import dequantize
from edgewise.training.rewrites.dropout import train_dropout
from edgewise.training.rewrites.freezing import choose_trainable
from edgewise.training.rewrites.lora import add_lora
from edgewise.training.run.memory import estimate_memory, measure_memory
from edgewise.training.run.step_file import PARAMETER, MemoryEstimate, StepSpec, TrainingStep
from edgewise.training.run.stepper import Stepper
from edgewise.training.step.build import build_step
from edgewise.training.step.optimizers import SGD, Adam, AdamW, Optimizer

__all__ = ["Attached", "attach_step", "trainable_variant", "variant_step"]

# Constants of preprocessing that edgewise joined in front, as graph.draft names them: the window and bands of a spectrogram
# stand where weights stand, and are none.
_FRAGMENT = re.compile(r"(?:pre_|post_)*[a-z0-9_]+/(?:constant|Conv|MatMul|Gemm)_\d+")
_BATCHES = (4, 32)  # samples of the two measurements that the estimate of memory is drawn through
_FIXED_UNIT, _SAMPLE_UNIT = 1 << 20, 1 << 10  # bytes to which it is rounded up
_PROVEN = 8  # golden inputs that the step has to answer as its variant does
_MIB = 1 << 20
_OPTIMIZERS: Mapping[str, type[SGD | Adam | AdamW]] = {"adam": Adam, "adamw": AdamW, "sgd": SGD}


@dataclass(frozen=True, slots=True)
class Attached:
    """document: with the step. blobs: content of the files that were added to it. notes: for people."""

    document: Document
    blobs: tuple[bytes, ...]
    notes: tuple[str, ...]


def attach_step(
    bundle: Bundle, models: Mapping[str, ImportedModel], request: TrainingRequest, folder: Path
) -> Attached:
    """The step that trains the first variant of ``bundle`` that can be trained, as files of the bundle.

    folder: where it may lie while its memory is measured. Raises UnsupportedError, with operator, node and reason, for a model
    that cannot be trained; InputError for patterns that match nothing; MismatchError where the step does not answer as the
    variant does.
    """
    document = bundle.document
    variant = trainable_variant(document)
    step, name, notes = variant_step(document, variant, models[variant.name], request)
    golden = read_golden(bundle)
    if golden is not None:
        _prove(step, golden, bundle, variant)
    memory, why = _memory(step, folder, _sizes(step.spec, golden, variant))
    step = replace(step, spec=replace(step.spec, memory=memory))
    weights = sum(prod(state.shape) for state in step.spec.of_role(PARAMETER))
    notes.append(f"{variant.name} can learn on the device: {weights} weights by {name} and {request.optimizer}; {why}")
    return _attached(document, variant, step, (name, request.optimizer), notes)


def variant_step(
    document: Document, variant: Variant, model: ImportedModel, request: TrainingRequest
) -> tuple[TrainingStep, str, list[str]]:
    """The step that trains ``variant``, without an estimate of its memory; what its loss is called; notes for people."""
    graph = read_model(model.model, external=dict(model.files).__getitem__)
    notes: list[str] = []
    if variant.precision != "fp32":
        graph = dequantize(graph).model
        notes.append(f"the training step is of {variant.name} in floating point: its activations are not rounded")
    objective = find_objective(graph, document, variant, request.loss)
    step, lost = _built(objective, request)
    if lost:
        notes.append(f"not trained, since the loss does not depend on them: {', '.join(lost)}")
    return step, objective.name, notes


def trainable_variant(document: Document) -> Variant:
    """The first ONNX variant in fp32, or else in int8. Raises UnsupportedError where there is neither."""
    found = [variant for variant in document.variants if variant.format == "onnx"]
    whole = [variant for variant in found if variant.precision == "fp32"]
    found = whole or [variant for variant in found if variant.precision == "int8"]
    if not found:
        kinds = ", ".join(f"{variant.name} ({variant.format}, {variant.precision})" for variant in document.variants)
        raise UnsupportedError(
            f"a training step is made from an ONNX model in fp32 or int8; there are {kinds}",
            remedy="Pack the model in fp32 as well; a device may still answer with another variant.",
        )
    return found[0]


def _built(objective: Objective, request: TrainingRequest) -> tuple[TrainingStep, list[str]]:
    model, inference, names = _chosen(objective, request)
    buffers: dict[str, str] = {}
    model = train_dropout(model)
    if request.batch_statistics:
        norms = train_batch_norm(model)
        model, buffers = norms.model, norms.buffers
    lost: list[str] = []
    while True:
        try:
            step = build_step(
                model, objective.loss, _optimizer(request), [name for name in names if name not in lost], buffers=buffers,
                inference=inference, segments=request.recompute, outputs=False,
            )  # fmt: skip
            break
        except InputError as error:
            # What a wildcard caught beside the weights on the way to the loss is left out; what was named is an error.
            missing = error.details.get("parameters", [])
            if not missing or set(missing) & set(request.trainable) or len(lost) + len(missing) >= len(names):
                raise
            lost += missing
    wanted = tuple(value for value in step.spec.forward_outputs if value.name in objective.outputs)
    return replace(step, spec=replace(step.spec, forward_outputs=wanted)), lost


def _chosen(objective: Objective, request: TrainingRequest) -> tuple[ModelProto, ModelProto, Sequence[str]]:
    """The graph to train, the one that answers, and the names of what is trained."""
    if request.lora:
        tried = add_lora(objective.model, request.lora, request.trainable)
        nodes = [adapter.node for adapter in tried.adapters if _counts(adapter.node, request.trainable)]
        _require(nodes)
        adapted = add_lora(objective.model, request.lora, nodes)
        return adapted.model, add_lora(objective.inference, request.lora, nodes).model, adapted.trainable
    model, names = choose_trainable(objective.model, request.trainable, request.freeze)
    kept = [name for name in names if _counts(name, request.trainable)]
    _require(kept)
    return model, objective.inference, kept


def _counts(name: str, patterns: Sequence[str]) -> bool:
    return name in patterns or not _FRAGMENT.fullmatch(name)


def _require(names: Sequence[str]) -> None:
    if not names:
        raise InputError(
            "nothing is left to train: all that the patterns mean is preprocessing",
            remedy="Name what to train, or leave the patterns out.",
        )


def _optimizer(request: TrainingRequest) -> Optimizer:
    kind = _OPTIMIZERS[request.optimizer]
    return kind() if request.learning_rate is None else kind(rate=request.learning_rate)


def _prove(step: TrainingStep, golden: GoldenSet, bundle: Bundle, variant: Variant) -> None:
    """Before it has learnt anything the step answers the golden inputs as its variant did when they were recorded."""
    assert bundle.document.golden is not None
    stepper = Stepper(step, threads=1)
    share = bundle.document.golden.tolerance(variant.name)
    names = {inner: name for name, inner in variant.outputs.items()}
    count = min(golden.count, _PROVEN)
    answers = []
    for at in range(count):
        sample = {variant.inputs.get(name, name): array for name, array in golden.sample(at).items()}
        answers.append(stepper.predict(sample))
    for inner in answers[0]:
        want = golden.outputs[variant.name].get(names.get(inner, inner))
        if want is None or want.dtype.kind != "f" or not len(want) or len(answers[0][inner]) != 1:
            continue
        got = [float(abs(answer[inner][0] - want[at]).max()) for at, answer in enumerate(answers)]
        spread = float(want.max() - want.min()) or 1.0
        if max(got) > share * spread + bundle.document.golden.relative * float(abs(want).max()):
            raise MismatchError(
                f"the training step of {variant.name} answers otherwise than the variant: {inner} differs by {max(got):.3g} on "
                f"golden input {got.index(max(got))}",
                remedy="Report this as a bug, with the model. Without --trainable it can be packed.",
                difference=max(got),
            )


def _sizes(spec: StepSpec, golden: GoldenSet | None, variant: Variant) -> dict[str, int]:
    """Dimensions that vary, in the sizes that the golden inputs have."""
    sizes: dict[str, int] = {}
    outer = {inner: name for name, inner in variant.inputs.items()}
    for value in spec.inputs:
        rows = golden.inputs.get(outer.get(value.name, value.name)) if golden is not None else None
        if rows is not None and rows.ndim == len(value.shape):
            pairs = zip(value.shape[1:], rows.shape[1:], strict=True)
            sizes |= {dim: size for dim, size in pairs if isinstance(dim, str)}
    return sizes


def _memory(step: TrainingStep, folder: Path, sizes: dict[str, int]) -> tuple[MemoryEstimate | None, str]:
    """The estimate, and a sentence about it. Where a dimension varies and nothing says how far, there is none."""
    step.write(folder)
    first = step.spec.inputs[0].shape[0]
    open_dims = {dim for value in step.spec.inputs for dim in value.shape[1:] if isinstance(dim, str)} - set(sizes)
    batches = (first,) if isinstance(first, int) else _BATCHES
    try:
        found = [
            (samples, measure_memory(folder, samples, sys.executable, sizes, frugal=True).extra) for samples in batches
        ]
    except ProbeError:
        if not open_dims:
            raise
        return None, f"its memory is not known, since {', '.join(sorted(open_dims))} may be anything"
    if len(found) == 1:
        estimate = MemoryEstimate(_up(found[0][1], _FIXED_UNIT), 0)
    else:
        line = estimate_memory(*found)
        estimate = MemoryEstimate(_up(line.fixed, _FIXED_UNIT), _up(line.per_sample, _SAMPLE_UNIT))
    samples = batches[-1]
    return estimate, f"a step over {samples} samples takes {estimate.peak(samples) / _MIB:.1f} MiB"


def _up(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _attached(
    document: Document, variant: Variant, step: TrainingStep, called: tuple[str, str], notes: Sequence[str]
) -> Attached:
    blobs = step.to_blobs()
    files = tuple(
        File(f"training/{variant.name}/{name}", PARTS[name].media_type, digest_of(data), len(data))
        for name, data in blobs.items()
    )
    paths = {name: file.path for name, file in zip(blobs, files, strict=True)}
    entry = TrainingEntry(variant.name, variant.digest, paths, *called)
    whole = replace(document, files=(*document.files, *files), training=(*document.training, entry))
    return Attached(whole, tuple(blobs.values()), tuple(notes))
