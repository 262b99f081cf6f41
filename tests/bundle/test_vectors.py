"""The vectors in spec/vectors/bundle mean here what they mean to every other reader, and fit the schemas."""

import json
import subprocess
import sys
from base64 import b64decode
from io import BytesIO
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest

from edgewise.bundle.bundle import Bundle, open_bundle
from edgewise.bundle.document import parse_document
from edgewise.bundle.layout import parse_index, parse_manifest
from edgewise.bundle.safetensors import dump_arrays, parse_arrays
from edgewise.bundle.source import read_blob
from edgewise.bundle.statement import RECEIPT, RELEASE, parse_statement, pre_authentication_encoding
from edgewise.bundle.strict_json import dump_json, parse_json
from edgewise.bundle.tarball import TarSource
from edgewise.errors import SignatureError
from edgewise.routing.calibration import CALIBRATION
from edgewise.trust.keys import PrivateKey, PublicKey
from edgewise.trust.root import TrustRoot
from edgewise.trust.verification import verify_bundle

REPOSITORY = Path(__file__).resolve().parents[2]
VECTORS = REPOSITORY / "spec" / "vectors" / "bundle"
BUNDLES = sorted(path.stem for path in VECTORS.glob("*.bundle"))


def opened(name: str) -> Bundle:
    return open_bundle(TarSource(BytesIO((VECTORS / f"{name}.bundle").read_bytes())))


def table(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


def schema(name: str) -> jsonschema.Draft202012Validator:
    text = json.loads((REPOSITORY / "spec" / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(text)
    return jsonschema.Draft202012Validator(text)


def public_key(name: str) -> PublicKey:
    return PublicKey.from_pem((VECTORS / "TEST-ONLY-keys" / f"{name}.pub").read_bytes())


def document_bytes(bundle: Bundle) -> bytes:
    layer = next(layer for layer in bundle.manifest.layers if layer.digest == bundle.document_digest)
    return read_blob(bundle.source, layer, "the document")


def test_there_are_vectors() -> None:
    assert set(BUNDLES) == {
        "minimal", "all-fields", "unknown-fields", "external-data", "shared-blob", "two-receipts", "training-step", "derivation",
        "calibrated",
    }  # fmt: skip


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_says_what_its_vector_says(name: str) -> None:
    bundle, want = opened(name), table(name)
    bundle.check_blobs()
    assert (bundle.ref, bundle.document_digest) == (want["ref"], want["documentDigest"])
    assert json.loads(document_bytes(bundle)) == want["document"] == bundle.document.to_json()
    assert bundle.content() == want["content"]
    assert list(bundle.evidence()) == want["evidence"]
    blobs = [{"digest": blob.digest, "size": blob.size, "mediaType": blob.media_type} for blob in bundle.blobs()]
    assert blobs == want["blobs"]


@pytest.mark.parametrize("name", BUNDLES)
def test_a_bundle_proves_what_its_vector_says(name: str) -> None:
    names = {public_key(path.stem).key_id: path.stem for path in (VECTORS / "TEST-ONLY-keys").glob("*.pub")}
    root = TrustRoot.parse((VECTORS / "root.json").read_bytes())
    want = table(name)["verification"]
    if want is None:
        with pytest.raises(SignatureError, match="not signed"):
            verify_bundle(opened(name), root)
        return
    got = verify_bundle(opened(name), root)
    assert [names[key_id] for key_id in got.signers] == want["signers"]
    assert [
        {
            "digest": item.digest,
            "predicateType": item.statement.predicate_type,
            "signers": [names[key_id] for key_id in item.signers],
            "released": item.released,
        }
        for item in got.evidence
    ] == want["evidence"]


@pytest.mark.parametrize("name", BUNDLES)
def test_writing_what_was_read_gives_the_same_bytes(name: str) -> None:
    """Unknown fields included: of the archive, and of each document by itself."""
    bundle, target = opened(name), BytesIO()
    bundle.write(target)
    assert target.getvalue() == (VECTORS / f"{name}.bundle").read_bytes()
    index = bundle.source.read_file("index.json", 1 << 20)
    assert parse_index(index).to_bytes() == index
    manifest = read_blob(bundle.source, bundle.index.manifests[0], "the manifest")
    assert parse_manifest(manifest).to_bytes() == manifest
    assert parse_document(document_bytes(bundle)).to_bytes() == document_bytes(bundle)
    for envelope in bundle.evidence().values():
        assert parse_statement(envelope.payload).to_bytes() == envelope.payload


def test_the_unknown_fields_are_really_there() -> None:
    text = json.dumps(table("unknown-fields")["document"])
    assert text.count("x-future") > 15
    assert "x-future" in opened("unknown-fields").source.read_file("index.json", 1 << 20).decode()


@pytest.mark.parametrize("name", BUNDLES)
def test_every_document_fits_its_schema(name: str) -> None:
    bundle = opened(name)
    schema("bundle").validate(json.loads(document_bytes(bundle)))
    predicates = {RECEIPT: schema("receipt"), RELEASE: schema("release"), CALIBRATION: schema("calibration")}
    for layer in bundle.manifest.layers:
        if layer.digest in bundle.evidence():
            schema("envelope").validate(json.loads(read_blob(bundle.source, layer, "an envelope")))
    for envelope in bundle.evidence().values():
        statement = json.loads(envelope.payload)
        schema("statement").validate(statement)
        predicates[statement["predicateType"]].validate(statement["predicate"])


def test_a_training_step_fits_its_schema_and_a_hostile_one_does_not() -> None:
    """The exceptions are references between fields, which JSON Schema has no words for."""
    learner = VECTORS.parent / "training" / "learner.bundle"
    bundle = open_bundle(TarSource(BytesIO(learner.read_bytes())))
    schema("bundle").validate(json.loads(document_bytes(bundle)))
    (entry,) = bundle.document.training
    described = schema("training-step")
    described.validate(json.loads(bundle.training_parts(entry)["spec.json"]))
    attacks = REPOSITORY / "spec" / "attacks" / "step-spec"
    accepted = {
        path.stem
        for path in attacks.glob("*.json")
        if "deep" not in path.stem and described.is_valid(json.loads(path.read_bytes()))
    }
    assert accepted == {"step-spec-no-parameter", "step-spec-state-twice"}


def test_the_trust_root_fits_its_schema() -> None:
    schema("root").validate(table("root"))


def test_pre_authentication_encoding() -> None:
    key = public_key("publisher")
    for case in table("pae"):
        encoded = pre_authentication_encoding(case["payloadType"], b64decode(case["payload"]))
        assert encoded == b64decode(case["encoded"])
        assert key.verify(encoded, b64decode(case["publisherSignature"]))
    # The example of the DSSE protocol, v1.0.
    assert b64decode(table("pae")[0]["encoded"]) == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"


def test_canonical_json() -> None:
    for case in table("canonical-json"):
        canonical = b64decode(case["canonical"])
        assert dump_json(case["value"]) == canonical
        assert parse_json(canonical, "a vector") == case["value"]


def test_key_ids() -> None:
    for case in table("key-ids"):
        key = public_key(case["name"])
        private = (VECTORS / "TEST-ONLY-keys" / f"TEST-ONLY-{case['name']}.key").read_bytes()
        assert key == PrivateKey.from_pem(private).public == PublicKey(bytes.fromhex(case["publicHex"]))
        assert dump_json(key.to_json()).decode() == case["described"]
        assert key.key_id == case["keyId"]


def test_safetensors() -> None:
    for case in table("safetensors"):
        data = b64decode(case["file"])
        arrays = parse_arrays(data, "a vector")
        assert set(arrays) == set(case["arrays"])
        for name, want in case["arrays"].items():
            assert (arrays[name].dtype.name, list(arrays[name].shape)) == (want["dtype"], want["shape"])
            assert np.array_equal(arrays[name].ravel(), np.array(want["values"], want["dtype"]))
        assert dump_arrays(arrays) == data


def test_the_generator_writes_the_committed_vectors(tmp_path: Path) -> None:
    subprocess.run([sys.executable, REPOSITORY / "scripts" / "make_vectors.py", tmp_path], check=True, timeout=60)
    made = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert made == {path.relative_to(VECTORS): path.read_bytes() for path in VECTORS.rglob("*") if path.is_file()}
