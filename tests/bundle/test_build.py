"""Building and extending bundles."""

import json
from dataclasses import replace

import pytest

from edgewise.bundle.build import build_bundle, with_evidence
from edgewise.bundle.bundle import open_bundle
from edgewise.bundle.layout import DOCUMENT_TYPE, EVIDENCE_TYPE
from edgewise.bundle.source import MemorySource
from edgewise.bundle.statement import Envelope
from edgewise.digests import digest_of
from edgewise.errors import DocumentError, HostileBundleError, NotFoundError
from edgewise.testing.raw_layout import RawLayout
from edgewise.testing.sample_bundles import full_bundle, minimal_bundle, sample_document, signed_bundle

pytestmark = pytest.mark.bare


def test_a_file_that_the_document_names_has_to_be_given() -> None:
    with pytest.raises(HostileBundleError) as raised:
        build_bundle(sample_document(b"one"), [b"another"])
    assert raised.value.rule == "blob-missing"


def test_an_invalid_document_is_not_built() -> None:
    with pytest.raises(DocumentError, match="variants"):
        build_bundle(replace(sample_document(), variants=()), [])


def test_a_shared_file_is_stored_once_and_named_by_all() -> None:
    bundle = full_bundle()
    digests = [file.digest for file in bundle.document.all_files()]
    assert len(digests) > len(set(digests))
    layers = [layer.digest for layer in bundle.manifest.layers]
    assert len(layers) == len(set(layers)) == len(set(digests)) + 1
    assert dict(bundle.model_files(bundle.variant("int8")))["labels.txt"] == b"shared by all"


def test_the_model_comes_first_among_the_files_of_a_variant() -> None:
    bundle = full_bundle()
    assert list(bundle.model_files(bundle.variant("fp32"))) == ["model.onnx", "model.data", "labels.txt"]


def test_an_unknown_variant_is_answered_with_those_there_are() -> None:
    with pytest.raises(NotFoundError, match="it has fp32, int8"):
        full_bundle().variant("int4")


def test_evidence_that_is_there_is_not_added_again() -> None:
    bundle = signed_bundle()
    envelopes = list(bundle.evidence().values())
    again = with_evidence(bundle, [*envelopes, *envelopes])
    assert again.manifest == bundle.manifest
    new = Envelope(b"{}", ())
    assert len(with_evidence(bundle, [new, new]).manifest.layers) == len(bundle.manifest.layers) + 1


def test_adding_evidence_keeps_what_others_wrote() -> None:
    raw = RawLayout.of(minimal_bundle())
    raw.index["manifests"][0] |= {
        "x-future": 1,
        "data": "c3RhbGU=",
        "annotations": {"org.opencontainers.image.ref.name": "v1"},
    }
    raw.index["x-future"] = 2
    raw.manifest |= {"x-future": 3, "annotations": {"a": "b"}}
    bundle = with_evidence(open_bundle(raw.source()), [Envelope(b"{}", ())])
    entry = bundle.index.manifests[0]
    assert (entry.extra, bundle.index.extra, bundle.manifest.extra) == (
        {"x-future": 1},
        {"x-future": 2},
        {"x-future": 3},
    )
    assert (entry.annotations, bundle.manifest.annotations) == ({"org.opencontainers.image.ref.name": "v1"}, {"a": "b"})
    assert bundle.manifest.layers[-1].media_type == EVIDENCE_TYPE


def test_a_release_has_to_cover_config_document_and_every_file() -> None:
    bundle = full_bundle()
    everything = {blob.digest for blob in bundle.blobs()} - {bundle.index.manifests[0].digest}
    assert set(bundle.content()) == everything
    assert set(signed_bundle(bundle).content()) == everything


@pytest.mark.parametrize("part", ["manifest", "document", "envelope"])
def test_a_document_that_claims_to_be_huge_is_refused_before_it_is_read(part: str) -> None:
    """By the size that is claimed: nothing of it is there, so reading it first would break another rule."""
    raw = RawLayout.of(signed_bundle())
    source = raw.source()
    manifest, index = json.loads(source.blobs[raw.index["manifests"][0]["digest"]]), raw.index
    huge = 5 << 20
    if part == "manifest":
        index["manifests"][0]["size"] = huge
    else:
        wanted = DOCUMENT_TYPE if part == "document" else EVIDENCE_TYPE
        next(layer for layer in manifest["layers"] if layer["mediaType"] == wanted)["size"] = huge
        data = json.dumps(manifest).encode()
        source.blobs[digest_of(data)] = data
        index["manifests"][0] |= {"digest": digest_of(data), "size": len(data)}
    with pytest.raises(HostileBundleError) as raised:
        open_bundle(MemorySource(json.dumps(index).encode(), source.blobs))
    assert raised.value.rule == "json-size"
