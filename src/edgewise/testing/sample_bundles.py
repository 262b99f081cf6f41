"""Small bundles with keys that are public: the model bytes are made up, everything around them is as it is in use.

NEVER trust these keys anywhere but in a test: their seeds are in this file.
"""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np

from edgewise.bundle.build import build_bundle, with_evidence
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.derivation import DataUse, Derivation, Judgement
from edgewise.bundle.document import Document, File, Golden, Variant
from edgewise.bundle.layout import WEIGHT_TYPE
from edgewise.bundle.safetensors import dump_arrays
from edgewise.bundle.statement import RECEIPT, Statement, release_statement
from edgewise.bundle.tensors import StateSpec, TensorSpec
from edgewise.bundle.training_parts import PARTS, TrainingEntry
from edgewise.digests import digest_of
from edgewise.trust.keys import PrivateKey
from edgewise.trust.root import TrustRoot
from edgewise.trust.verification import sign_statement

__all__ = [
    "ARRAYS_TYPE", "PUBLIC_TEST_KEYS", "derived_bundle", "full_bundle", "learning_bundle", "minimal_bundle", "receipt",
    "release", "sample_document", "sample_file", "sample_root", "signed_bundle",
]  # fmt: skip

ARRAYS_TYPE = "application/vnd.safetensors"
#: Known to everybody. publisher signs releases, laboratory and workshop sign receipts, stranger is trusted by nobody.
PUBLIC_TEST_KEYS = {
    name: PrivateKey(sha256(f"edgewise PUBLIC TEST KEY, do not trust: {name}".encode()).digest())
    for name in ("publisher", "laboratory", "workshop", "stranger")
}


def sample_file(path: str, data: bytes, media_type: str = WEIGHT_TYPE, **extra: Any) -> File:
    """The document's entry for ``data``."""
    return File(path, media_type, digest_of(data), len(data), extra)


def sample_document(data: bytes = b"not really a model", name: str = "digits", version: str = "1.0.0") -> Document:
    """The least that a document can say, for a model file with the content ``data``."""
    return Document(
        name=name, version=version, task="classification",
        inputs=(TensorSpec("x", "float32", ("batch", 4)),), outputs=(TensorSpec("y", "float32", ("batch", 3)),),
        variants=(Variant("fp32", "onnx", "fp32", (sample_file("model.onnx", data),)),),
    )  # fmt: skip


def minimal_bundle() -> Bundle:
    """One variant of one file, not signed."""
    data = b"not really a model"
    return build_bundle(sample_document(data), [data])


def full_bundle() -> Bundle:
    """Every field but training steps, several variants that share a file, external data, a golden set; not signed."""
    graph, weights, small, labels = b"graph", b"weights" * 20, b"small graph", b"shared by all"
    golden = dump_arrays(
        {
            "in/x": np.arange(8, dtype=np.float32).reshape(2, 4),
            "out/fp32/y": np.full((2, 3), 0.25, np.float32),
            "out/int8/y": np.full((2, 3), 0.5, np.float32),
        }
    )
    shared = sample_file("labels.txt", labels, "text/plain")
    document = Document(
        name="all.fields", version="2.0.0-rc.1", task="classification",
        inputs=(
            TensorSpec("x", "float32", ("batch", 4), (-1.5, 1.0), "sensor"), TensorSpec("memory", "float32", ("batch", 5)),
        ),
        outputs=(TensorSpec("y", "float32", ("batch", 3)), TensorSpec("memory_out", "float32", ("batch", 5))),
        variants=(
            Variant("fp32", "onnx", "fp32", (sample_file("model.onnx", graph), sample_file("model.data", weights), shared)),
            Variant(
                "int8", "onnx", "int8", (sample_file("model.onnx", small), sample_file("weights/model.data", weights), shared),
                {"x": "x:0"}, {"y": "Identity:0"}, {"opset": 20, "irVersion": 10, "memoryBytes": 65_536},
            ),
        ),
        decision="y", labels=("null", "eins", "zwei \u2013 \u4e8c"), states=(StateSpec("memory", "memory_out"),),
        golden=Golden(sample_file("golden.safetensors", golden, ARRAYS_TYPE), 0.001, 0.01, 0.99, {"int8": 0.125}),
        files=(sample_file("preprocessing/labels.txt", labels, "text/plain"),),
        description="Every field.\nTwo lines.", licence="Apache-2.0",
    )  # fmt: skip
    return build_bundle(document, [graph, weights, small, labels, golden])


def learning_bundle(*without: str) -> Bundle:
    """One variant with a training step whose parts are made up, less those named; not signed."""
    document = sample_document(name="learner")
    contents = {name: f"not really {name}".encode() for name in PARTS if name not in without}
    files = tuple(sample_file(f"training/fp32/{name}", data, PARTS[name].media_type) for name, data in contents.items())
    parts = {name: file.path for name, file in zip(contents, files, strict=True)}
    entry = TrainingEntry("fp32", document.variants[0].digest, parts, "cross-entropy", "adam")
    return build_bundle(replace(document, files=files, training=(entry,)), [b"not really a model", *contents.values()])


def derived_bundle() -> Bundle:
    """Two variants, the second made from the first with every field of its derivation; not signed."""
    original, small = b"not really a model", b"not a model"
    document = sample_document(original, "derived")
    judged = Judgement("accuracy", 0.998, 0.25, 0.5, "McNemar, exact, one-sided", False, True, 0.5)
    uses = (DataUse("learning", digest_of(b"learning"), 751), DataUse("held out", digest_of(b"held out"), 497))
    made = Derivation(
        document.variants[0].digest,
        ("weights as int8 per channel", "short names"),
        "edgewise 0.1.0",
        0,
        12,
        uses,
        judged,
    )
    second = Variant("best", "onnx", "int8", (sample_file("model.onnx", small),), derivation=made)
    return build_bundle(replace(document, variants=(*document.variants, second)), [original, small])


def receipt(bundle: Bundle, variant: str, accuracy: float = 0.95) -> Statement:
    """A receipt with invented numbers for one variant."""
    chosen = bundle.variant(variant)
    predicate = {
        "variant": variant, "engine": {"name": "onnxruntime", "version": "1.32.0"}, "provider": "CPUExecutionProvider",
        "device": {"cpu": "an invented processor", "cores": 2},
        "data": {"name": "digits", "digest": digest_of(b"data"), "samples": 1000},
        "metrics": [
            {"name": "accuracy", "value": accuracy, "low": accuracy - 0.015, "high": accuracy + 0.0125, "confidence": 0.95,
             "method": "wilson", "samples": 1000, "higherIsBetter": True},
        ],
        "latency": {"p50Ms": 1.5, "p95Ms": 2.0, "p99Ms": 2.5, "meanMs": 1.625, "runs": 200, "throughputPerSecond": 615.4,
                    "batch": 1, "threads": 1},
        "memory": {"peakRssBytes": 70_000_000}, "size": {"bytes": chosen.size},
        "placement": {"nodes": 12, "byProvider": {"CPUExecutionProvider": 12}}, "measuredAt": "2026-01-31T12:00:00Z",
    }  # fmt: skip
    return Statement(RECEIPT, {file.digest: f"{variant}/{file.path}" for file in chosen.files}, predicate)


def release(bundle: Bundle) -> Statement:
    """The release statement for ``bundle`` as it is, all its evidence included."""
    document = bundle.document
    return release_statement(document.name, document.version, bundle.content(), list(bundle.evidence()))


def signed_bundle(bundle: Bundle | None = None) -> Bundle:
    """``bundle`` (the minimal one by default) with a receipt of the laboratory for each variant, released by the publisher."""
    bundle = bundle or minimal_bundle()
    laboratory, publisher = PUBLIC_TEST_KEYS["laboratory"], PUBLIC_TEST_KEYS["publisher"]
    receipts = [sign_statement(receipt(bundle, variant.name), laboratory) for variant in bundle.document.variants]
    bundle = with_evidence(bundle, receipts)
    return with_evidence(bundle, [sign_statement(release(bundle), publisher)])


def sample_root(release_threshold: int = 1, receipt_threshold: int = 1) -> TrustRoot:
    """Trusts publisher for releases, laboratory and workshop for receipts; stranger for nothing."""
    keys = PUBLIC_TEST_KEYS
    root = TrustRoot().with_key(keys["publisher"].public, "publisher", ("release",))
    for name in ("laboratory", "workshop"):
        root = root.with_key(keys[name].public, name, ("receipt",))
    return replace(root, threshold={"release": release_threshold, "receipt": receipt_threshold})
