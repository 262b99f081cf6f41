"""A bundle in which one variant has a head: another document, to be built, measured and signed by whoever has the key."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from edgewise.bundle.build import build_bundle
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.derivation import Derivation
from edgewise.bundle.document import Document, File, Variant
from edgewise.bundle.statement import RELEASE, Envelope, parse_statement
from edgewise.digests import digest_of
from edgewise.errors import InputError, UnsupportedError
from edgewise.graph.inspect import describe, read_model
from edgewise.routing.head.head import SCORE, Head
from edgewise.routing.head.join import join_head
from edgewise.routing.head.proof import prove_joined
from edgewise.runtime.engine import Array
from edgewise.runtime.golden_set import read_golden

__all__ = ["Headed", "with_head"]

_STEP = "deferral head, "


@dataclass(frozen=True, slots=True)
class Headed:
    """document: with the variant's new file. blobs: the content of every file that it names, for ``build_bundle``.

    evidence: of the former bundle, what is still about files of this one; a release is not among it. notes: for people.
    """

    document: Document
    blobs: tuple[bytes, ...]
    evidence: tuple[Envelope, ...]
    notes: tuple[str, ...]


def with_head(bundle: Bundle, variant: str, head: Head, samples: Mapping[str, Array] | None = None) -> Headed:
    """``bundle`` with ``head`` in the model file of ``variant``; its other outputs stay as they were, so the golden set holds.

    samples: by the interface's names, one batch on which that is proven beside the golden inputs; they or these have to be there.
    What was measured or calibrated of the old file falls away, and so does a training step that was made of it.
    Raises NotFoundError for an unknown variant, UnsupportedError for one that is no ONNX, InputError for a head of another output
    or with nothing to prove it on, MismatchError where an output would change, otherwise as ``join_head``.
    """
    old, document = bundle.variant(variant), bundle.document
    if old.format != "onnx":
        raise UnsupportedError(
            f"{variant} is {old.format}: a head is joined into ONNX graphs",
            remedy="Choose another variant, or another rule.",
        )
    decision = document.decision or document.outputs[0].name
    if old.outputs.get(decision, decision) != head.output:
        raise InputError(
            f"the head reads {head.output}, and {variant} decides by {old.outputs.get(decision, decision)}"
        )
    if SCORE in {spec.name for spec in document.outputs}:
        raise InputError(f"the interface has an output {SCORE!r} of its own", remedy="Give it another name.")
    files = bundle.model_files(old)
    model, *_ = files.values()
    external = {path: data for path, data in files.items() if path != old.files[0].path}
    joined = join_head(model, head, external)
    feeds = list(_feeds(bundle, old, samples))
    if not feeds:
        raise InputError(
            "this bundle has no golden inputs on which to prove that the head changes nothing", remedy="Pass samples."
        )
    apart = prove_joined(model, joined, head, feeds, external)
    new, notes = _replaced(document, old, joined, head)
    notes.insert(0, f"{variant} has the output {SCORE}: {head.kind}, within {apart:.1g} on {len(feeds)} inputs")
    kept = [bundle.read(file) for file in new.all_files() if file.digest != digest_of(joined)]
    evidence, dropped = _evidence(bundle, build_bundle(new, [*kept, joined]))
    if dropped:
        notes.append(
            f"{dropped} receipts and calibrations of the former file of {variant} are left out: measure it again"
        )
    return Headed(new, (*kept, joined), evidence, tuple(notes))


def _feeds(bundle: Bundle, variant: Variant, samples: Mapping[str, Array] | None) -> Iterator[dict[str, Array]]:
    golden = read_golden(bundle)
    given = [] if golden is None else [golden.sample(at) for at in range(golden.count)]
    for feed in [*given, *([] if samples is None else [samples])]:
        yield {variant.inputs.get(name, name): array for name, array in feed.items()}


def _replaced(document: Document, old: Variant, joined: bytes, head: Head) -> tuple[Document, list[str]]:
    first = old.files[0]
    file = File(first.path, first.media_type, digest_of(joined), len(joined), first.extra)
    read = describe(read_model(joined))
    facts = {"opset": read.opsets["ai.onnx"], "irVersion": read.ir_version}
    requires = {**old.requires, **{name: value for name, value in facts.items() if name in old.requires}}
    variant = replace(old, files=(file,), requires=requires, derivation=_derived(old, head))
    gone = [entry for entry in document.training if entry.variant == old.name]
    training = tuple(entry for entry in document.training if entry.variant != old.name)
    used = {path for entry in training for path in entry.parts.values()}
    parts = {path for entry in gone for path in entry.parts.values()} - used
    notes = [f"the training step of {old.name} is left out: it was made from the file without the head"] if gone else []
    new = replace(
        document, variants=tuple(variant if each.name == old.name else each for each in document.variants), training=training,
        files=tuple(each for each in document.files if each.path not in parts),
    )  # fmt: skip
    return new, notes


def _derived(old: Variant, head: Head) -> Derivation:
    """What was done to the model, and this; a former head's step is no more true."""
    step = f"{_STEP}{head.kind}"
    if old.derivation is None:
        return Derivation(old.digest, (step,))
    before = tuple(each for each in old.derivation.steps if not each.startswith(_STEP))
    return replace(old.derivation, steps=(*before, step))


def _evidence(bundle: Bundle, built: Bundle) -> tuple[tuple[Envelope, ...], int]:
    there, kept, dropped = set(built.content()), [], 0
    for envelope in bundle.evidence().values():
        statement = parse_statement(envelope.payload, bundle.limits)
        if statement.predicate_type == RELEASE:
            continue
        if set(statement.subject) <= there:
            kept.append(envelope)
        else:
            dropped += 1
    return tuple(kept), dropped
