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

from edgewise.bundle.build import build_bundle, with_evidence
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.document import Document
from edgewise.bundle.statement import release_statement
from edgewise.bundle.tensors import StateSpec, TensorSpec
from edgewise.clock import Clock, SystemClock
from edgewise.errors import EdgewiseError, InputError, MissingExtraError, ProbeError
from edgewise.importing.imported import ImportedModel
from edgewise.measure.candidates import candidates_for, reference_candidate
from edgewise.measure.dataset import Dataset
from edgewise.measure.evaluation import Evaluation, evaluate, to_receipt
from edgewise.measure.memory import peak_memory
from edgewise.packing.describing import describe, narrowed
from edgewise.packing.faithful import compare_recorded
from edgewise.packing.golden import Samples, from_data, from_seeds, record_golden
from edgewise.packing.training_request import TrainingRequest
from edgewise.runtime.device import read_device
from edgewise.runtime.opening import open_candidate
from edgewise.runtime.replay import require_replay
from edgewise.runtime.requirements import Requirements
from edgewise.store.bundles import write_file
from edgewise.store.home import Home
from edgewise.trust.keys import PrivateKey
from edgewise.trust.verification import sign_statement

__all__ = ["PackRequest", "Packed", "pack"]


@dataclass(frozen=True, slots=True)
class PackRequest:
    """What to pack. ``models``: variant name -> imported model; the first one's interface is the bundle's.

    evaluation: labelled data to measure on. golden: where golden inputs are taken from, by default ``evaluation``.
    allow_unfaithful: pack variants whose answers point elsewhere than the first one's (cosine below 0.9) all the same.
    training: the step by which the model may learn on a device.
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
    states: tuple[StateSpec, ...] = ()
    description: str = ""
    licence: str = ""
    files: Mapping[str, bytes] = field(default_factory=dict)
    allow_unfaithful: bool = False
    training: TrainingRequest | None = None


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
    document, blobs = _described(request)
    with TemporaryDirectory(prefix="edgewise-pack-") as folder:
        home = Home(Path(folder))  # compiled copies and the like are not kept
        bundle = build_bundle(document, blobs)
        samples, notes = _samples(request, bundle, home)
        notes += narrowed(request.models)
        if samples is not None:
            golden, data = record_golden(bundle, samples, request.golden_count, home, progress)
            document = replace(document, golden=golden)
            blobs.append(data)
            bundle = build_bundle(document, blobs)
            notes += compare_recorded(document, data, allow_unfaithful=request.allow_unfaithful)
        if request.training is not None:
            progress("training step", 0, 1)
            bundle = _with_step(bundle, request, request.training, blobs, home, notes)
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


def _with_step(
    bundle: Bundle, request: PackRequest, training: TrainingRequest, blobs: list[bytes], home: Home, notes: list[str]
) -> Bundle:
    try:
        # Deferred: it takes time to import, and most bundles have no step.
        from edgewise.packing.trainable import attach_step  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"making a training step needs {error.name}", remedy="pip install 'edgewise[pack]'"
        ) from None
    attached = attach_step(bundle, request.models, training, home.root / "step")
    notes += attached.notes
    return build_bundle(attached.document, [*blobs, *attached.blobs])


def _samples(request: PackRequest, bundle: Bundle, home: Home) -> tuple[Samples | None, list[str]]:
    """What golden inputs are chosen from, and why there is nothing where there is not."""
    if not request.golden_count:
        return None, ["no golden set, as you asked: a device cannot tell whether this model answers as it should"]
    given = request.golden or request.evaluation
    if given is not None:
        return from_data(bundle.document, given), []
    made = from_seeds(bundle, request.models, home)
    if made is None:
        return None, ["no golden set: no input could be made up that the model takes; pass real ones with --golden"]
    return made, ["the golden inputs are made up from the interface; real ones (--eval, --golden) prove more"]


def _described(request: PackRequest) -> tuple[Document, list[bytes]]:
    first = next(iter(request.models.values()))
    decision = request.decision or (
        first.outputs[0].name if len(first.outputs) == 1 or request.task != "tensor" else ""
    )
    document = Document(
        name=request.name,
        version=request.version,
        task=request.task,
        inputs=request.inputs or first.inputs,
        outputs=first.outputs,
        variants=(),
        decision=decision,
        labels=tuple(request.labels or first.labels),
        states=request.states,
        description=request.description,
        licence=request.licence,
    )
    return describe(document, request.models, {**first.extra_files, **request.files})


def _measure(
    bundle: Bundle, data: Dataset | None, home: Home, clock: Clock, progress: Callable[[str, int, int], None]
) -> tuple[list[Evaluation], list[str]]:
    """Evaluate every way to run every variant here; what cannot be run, or answers wrongly, is left out and named.

    Raises GoldenReplayError where even the engine that recorded the golden outputs does not repeat them.
    """
    device, path = read_device(), home.root / "measured.bundle"
    write_file(bundle, path)
    recorded = [reference_candidate(bundle, variant.name) for variant in bundle.document.variants]
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
            skipped.append(f"{candidate} is not used here: {error.what}")
            continue
        try:
            result = replace(result, peak_rss=peak_memory(path, candidate, home, sys.executable).peak)
        except ProbeError as error:
            skipped.append(f"the receipt for {candidate} is without memory: {error.what}")
        results.append(result)
    return results, skipped
