"""Putting a bundle together: document, files and evidence become blobs, a manifest and an index."""

from collections.abc import Iterable, Mapping
from typing import Any

from edgewise.bundle.bundle import Bundle, open_bundle
from edgewise.bundle.document import Document, parse_document
from edgewise.bundle.layout import (
    CONFIG_TYPE,
    DOCUMENT_TYPE,
    EVIDENCE_TYPE,
    FILEPATH,
    MANIFEST_TYPE,
    REF_NAME,
    Descriptor,
    Index,
    Manifest,
)
from edgewise.bundle.limits import DEFAULT_LIMITS, Limits
from edgewise.bundle.source import MemorySource, read_blob
from edgewise.bundle.statement import Envelope
from edgewise.bundle.strict_json import dump_json
from edgewise.digests import digest_of

__all__ = ["build_bundle", "with_evidence"]


def build_bundle(document: Document, files: Iterable[bytes], limits: Limits = DEFAULT_LIMITS) -> Bundle:
    """An unsigned bundle in memory. ``files`` holds the content of every file that the document names, in any order.

    Raises DocumentError for an invalid document, HostileBundleError if a file is missing or is not what the document says.
    """
    described = document.to_bytes()
    parse_document(described, limits)
    blobs = {digest_of(data): data for data in files}
    layers = [_descriptor(DOCUMENT_TYPE, described, "bundle.json")]
    seen: set[str] = set()
    for variant in document.variants:
        for file in variant.files:
            if file.digest not in seen:
                path = f"{variant.name}/{file.path}"
                layers.append(Descriptor(file.media_type, file.digest, file.size, {FILEPATH: path}))
                seen.add(file.digest)
    for file in [*([document.golden.file] if document.golden else []), *document.files]:
        if file.digest not in seen:
            layers.append(Descriptor(file.media_type, file.digest, file.size, {FILEPATH: file.path}))
            seen.add(file.digest)
    config = dump_json(_config(document, layers))
    blobs |= {digest_of(described): described, digest_of(config): config}
    manifest = Manifest(_descriptor(CONFIG_TYPE, config), tuple(layers), {REF_NAME: document.version})
    bundle = _assemble(manifest, Index((), {}), blobs, limits)
    bundle.check_blobs()
    return bundle


def with_evidence(bundle: Bundle, envelopes: Iterable[Envelope], without: Iterable[str] = ()) -> Bundle:
    """The same bundle with more evidence; everything else, unknown fields included, stays as it is.

    without: digests of envelopes that go. What a release lists can only go with that release.
    """
    old, gone = bundle.manifest, set(without)
    kept = [layer for layer in old.layers if layer.media_type != EVIDENCE_TYPE or layer.digest not in gone]
    present = {layer.digest for layer in kept}
    more = {digest_of(data): data for data in (envelope.to_bytes() for envelope in envelopes)}
    layers = [*kept, *(_descriptor(EVIDENCE_TYPE, more[digest]) for digest in more if digest not in present)]
    manifest = Manifest(old.config, tuple(layers), old.annotations, old.extra)
    blobs = {
        blob.digest: read_blob(bundle.source, blob, blob.digest, bundle.limits) for blob in (old.config, *kept)
    } | more
    return _assemble(manifest, bundle.index, blobs, bundle.limits)


def _assemble(manifest: Manifest, index: Index, blobs: Mapping[str, bytes], limits: Limits) -> Bundle:
    data = manifest.to_bytes()
    old = index.manifests[0] if index.manifests else Descriptor(MANIFEST_TYPE, "", 0, dict(manifest.annotations))
    extra = {name: value for name, value in old.extra.items() if name != "data"}  # the old manifest, embedded
    entry = Descriptor(MANIFEST_TYPE, digest_of(data), len(data), old.annotations, extra)
    listing = Index((entry,), index.annotations, index.extra).to_bytes()
    return open_bundle(MemorySource(listing, {**blobs, digest_of(data): data}), limits)


def _descriptor(media_type: str, data: bytes, path: str = "") -> Descriptor:
    return Descriptor(media_type, digest_of(data), len(data), {FILEPATH: path} if path else {})


def _config(document: Document, layers: list[Descriptor]) -> dict[str, Any]:
    # The ModelPack model config: who the model is and which layers it has, for tools that know nothing of our document.
    descriptor = {
        "name": document.name,
        "version": document.version,
        "licenses": [document.licence],
        "title": document.description,
    }
    return {
        "descriptor": {key: value for key, value in descriptor.items() if value and value != [""]},
        "config": {"format": document.variants[0].format},
        "modelfs": {"type": "layers", "diffIds": [layer.digest for layer in layers]},
    }
