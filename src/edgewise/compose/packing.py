"""`edgewise pack`: from model files to a signed bundle with measured evidence.

Order matters: the document and files come first, then each variant is run on this device for its golden outputs and its
receipts, then everything is signed. A bundle that cannot answer its own golden set is never written.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgewise.bundle.build import build_bundle, with_evidence
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.document import Document, File, Golden, Variant
from edgewise.bundle.safetensors import dump_arrays
from edgewise.bundle.statement import release_statement
from edgewise.bundle.tensors import TensorSpec
from edgewise.clock import Clock, SystemClock
from edgewise.compose.faithful import compare_recorded, compare_seeded
from edgewise.digests import digest_of
from edgewise.errors import EdgewiseError, InputError, ModelError, ProbeError
from edgewise.importing.imported import ImportedModel
from edgewise.measure.choice import candidates_for
from edgewise.measure.dataset import Dataset
from edgewise.measure.evaluation import Evaluation, evaluate, predict_all, to_receipt
from edgewise.measure.golden import choose_golden
from edgewise.measure.memory import peak_memory
from edgewise.runtime.device import read_device
from edgewise.runtime.engine import ENGINES, find_engine, installed_engines
from edgewise.runtime.opening import Candidate, open_candidate
from edgewise.runtime.replay import require_replay
from edgewise.runtime.requirements import Requirements
from edgewise.runtime.rows import join_rows, row_at
from edgewise.store.bundles import write_file
from edgewise.store.home import Home
from edgewise.trust.keys import PrivateKey
from edgewise.trust.verification import sign_statement

__all__ = ["PackRequest", "Packed", "pack"]

GOLDEN_TYPE = "application/vnd.edgewise.golden.v1+safetensors"
LABELS_LIMIT = 65_536
# Rounding differs between processors: fp32 by a few ulp after hundreds of additions; a quantized activation may land one
# step away and travel on. Where outputs are probabilities 0.05 is half of what flips a decision worth having.
_TOLERANCE = {"fp32": 1e-3, "fp16": 2e-2, "mixed": 5e-2, "int8": 5e-2, "int4": 1e-1}
_RELATIVE = 1e-3


@dataclass(frozen=True, slots=True)
class PackRequest:
    """What to pack. ``models``: variant name -> imported model; the first one's interface is the bundle's.

    evaluation: labelled data to measure on. golden: where golden inputs are taken from, by default ``evaluation``.
    allow_unfaithful: pack variants whose answers point elsewhere than the first one's (cosine below 0.9) all the same.
    """

    name: str
    version: str
    models: Mapping[str, ImportedModel]
    task: str = "tensor"
    labels: Sequence[str] = ()
    decision: str = ""
    evaluation: Dataset | None = None
    golden: Dataset | None = None
    data_name: str = ""
    golden_count: int = 32
    inputs: tuple[TensorSpec, ...] = ()
    states: tuple[Any, ...] = ()
    description: str = ""
    licence: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    allow_unfaithful: bool = False


@dataclass(frozen=True, slots=True)
class Packed:
    """The bundle, and what was measured while it was packed.

    notes: how each variant compares with the first. skipped: what could not be measured here, and why.
    """

    bundle: Bundle
    evaluations: tuple[Evaluation, ...]
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()


def pack(
    request: PackRequest,
    key: PrivateKey | None,
    *,
    clock: Clock | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Packed:
    """Build, measure and sign. Without ``key`` the bundle is unsigned and loads only where verification is switched off.

    Raises InputError for a request that contradicts itself, ModelError where the variants' interfaces differ, MismatchError
    with the numbers where their answers do.
    """
    clock = clock or SystemClock()
    if not request.models:
        raise InputError("there is nothing to pack", remedy="Name at least one model file.")
    document, blobs = _describe(request)
    with TemporaryDirectory(prefix="edgewise-pack-") as folder:
        home = Home(Path(folder))  # compiled copies and the like are not kept
        bundle = build_bundle(document, blobs)
        samples = request.golden or request.evaluation
        if samples is not None and request.golden_count:
            golden, data = _golden(bundle, samples, request.golden_count, home)
            document = replace(document, golden=golden)
            blobs.append(data)
            bundle = build_bundle(document, blobs)
            notes = compare_recorded(document, data, allow_unfaithful=request.allow_unfaithful)
        else:
            notes = compare_seeded(request.models, allow_unfaithful=request.allow_unfaithful)
        evaluations, skipped = _measure(bundle, request.evaluation, home, clock, progress)
    if key is None:
        return Packed(bundle, tuple(evaluations), tuple(notes), tuple(skipped))
    device = read_device()
    receipts = [
        sign_statement(
            to_receipt(result, request.data_name or "data", device, clock).statement(
                bundle.variant(result.candidate.variant)
            ),
            key,
        )
        for result in evaluations
    ]
    signed = sign_release(with_evidence(bundle, receipts), key)
    return Packed(signed, tuple(evaluations), tuple(notes), tuple(skipped))


def sign_release(bundle: Bundle, key: PrivateKey) -> Bundle:
    """The bundle with a release statement over everything that is in it now."""
    document = bundle.document
    release = release_statement(document.name, document.version, bundle.content(), list(bundle.evidence()))
    return with_evidence(bundle, [sign_statement(release, key)])


def _describe(request: PackRequest) -> tuple[Document, list[bytes]]:
    variants: list[Variant] = []
    blobs: list[bytes] = []
    first = next(iter(request.models.values()))
    for name, model in request.models.items():
        _check_same_interface(first, model, name)
        variant, contents = model.to_variant(name)
        variants.append(variant)
        blobs += contents
    extra = {**first.extra_files, **request.files}
    blobs += extra.values()
    outputs = first.outputs
    decision = request.decision or (outputs[0].name if len(outputs) == 1 or request.task != "tensor" else "")
    document = Document(
        name=request.name,
        version=request.version,
        task=request.task,
        inputs=request.inputs or first.inputs,
        outputs=outputs,
        variants=tuple(variants),
        decision=decision,
        labels=tuple(request.labels or first.labels),
        states=request.states,
        files=tuple(
            File(path, "application/octet-stream", digest_of(data), len(data)) for path, data in sorted(extra.items())
        ),
        description=request.description,
        licence=request.licence,
    )
    return document, blobs


def _check_same_interface(first: ImportedModel, model: ImportedModel, name: str) -> None:
    def form(specs: Sequence[TensorSpec]) -> list[tuple[str, str, int]]:
        return [(spec.name, spec.dtype, len(spec.shape)) for spec in specs]

    for kind in ("inputs", "outputs"):
        ours, theirs = form(getattr(first, kind)), form(getattr(model, kind))
        if ours != theirs:
            raise ModelError(
                f"the variant {name} has other {kind} than the first one: {theirs}, not {ours}",
                remedy="Variants of one bundle answer the same inputs; rename tensors or add the conversion to the graph.",
            )


def _candidates(bundle: Bundle) -> list[Candidate]:
    """One way to run each variant: the first installed engine that reads it, on its CPU-class provider."""
    found: list[Candidate] = []
    for variant in bundle.document.variants:
        for name in installed_engines():
            engine = find_engine(name)
            if variant.format in engine.formats:
                providers = [provider.name for provider in engine.providers()]
                plain = next((provider for provider in providers if "CPU" in provider.upper()), providers[0])
                found.append(Candidate(variant.name, name, plain))
                break
        else:
            needed = [entry.extra for entry in ENGINES.values() if entry.extra]
            raise ModelError(
                f"no installed engine reads the {variant.format} variant {variant.name}, so nothing can be measured on it",
                remedy=f"pip install 'edgewise[{','.join(needed)}]'",
            )
    return found


def _golden(bundle: Bundle, data: Dataset, count: int, home: Home) -> tuple[Golden, bytes]:
    """Choose inputs by the first variant's answers, then record every variant's outputs for them."""
    device = read_device()
    if len(bundle.document.inputs) - len(bundle.document.states) != 1:
        raise InputError("a golden set is chosen from a data set only for models with one input")
    recordable = [spec for spec in bundle.document.outputs if spec.dtype != "str"]
    if not recordable or data.x.dtype.kind not in "biuf":
        raise InputError(
            "a golden set holds numbers; this model takes or gives only text",
            remedy="Pack it with --golden-count 0; its replay then proves nothing on the device.",
        )
    candidates = _candidates(bundle)
    arrays: dict[str, Any] = {}
    chosen: Any = None
    states = {state.input for state in bundle.document.states}
    name, rank = next((spec.name, len(spec.shape)) for spec in bundle.document.inputs if spec.name not in states)
    for candidate in candidates:
        with open_candidate(bundle, candidate, home=home, device=device) as session:
            if chosen is None:
                outputs = predict_all(session, data.x)
                chosen = choose_golden(outputs, count=count, classifies=session.origin.task == "classification")
                arrays[f"in/{name}"] = data.x[chosen]
            rows = [session.predict(row_at(data.x, at, rank)).outputs for at in chosen]
            alone = () if session.origin.batched else (session.origin.decision,)
        for output in recordable:
            joined = join_rows([row[output.name] for row in rows], batched=output.name not in alone)
            arrays[f"out/{candidate.variant}/{output.name}"] = joined
    content = dump_arrays(arrays)
    file = File("golden.safetensors", GOLDEN_TYPE, digest_of(content), len(content))
    tolerance = {variant.name: _TOLERANCE[variant.precision] for variant in bundle.document.variants}
    agreement = 1.0 if set(tolerance.values()) == {_TOLERANCE["fp32"]} else 1.0 - 1.0 / len(chosen)
    return Golden(file, max(tolerance.values()), _RELATIVE, agreement, tolerance), content


def _measure(
    bundle: Bundle, data: Dataset | None, home: Home, clock: Clock, progress: Callable[[str, int, int], None]
) -> tuple[list[Evaluation], list[str]]:
    """Evaluate every way to run every variant here; what cannot be run, or answers wrongly, is left out and named.

    Raises GoldenReplayError where even the engine that recorded the golden outputs does not repeat them.
    """
    device, path = read_device(), home.root / "measured.bundle"
    write_file(bundle, path)
    recorded = _candidates(bundle)
    results: list[Evaluation] = []
    skipped: list[str] = []
    for candidate in [*recorded, *(other for other in candidates_for(bundle, Requirements()) if other not in recorded)]:
        try:
            with open_candidate(bundle, candidate, home=home, device=device) as session:
                require_replay(bundle, session)
            if data is None:
                continue
            report = partial(progress, f"measure {candidate}")
            result = evaluate(bundle, candidate, data, home=home, device=device, clock=clock, progress=report)
        except EdgewiseError as error:
            if candidate in recorded:
                raise
            skipped.append(f"no receipt for {candidate}: {error.what}")
            continue
        try:
            result = replace(result, peak_rss=peak_memory(path, candidate, home, sys.executable).peak)
        except ProbeError as error:
            skipped.append(f"the receipt for {candidate} is without memory: {error.what}")
        results.append(result)
    return results, skipped
