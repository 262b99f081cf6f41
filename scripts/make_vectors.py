"""Writes spec/vectors/bundle: small valid bundles and what a reader must get out of them, for readers in every language.

    python scripts/make_vectors.py [FOLDER]

The output depends on nothing but this file and the format, so a test runs it again and compares.
"""

import json
import sys
from base64 import b64encode
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from edgewise.bundle.build import build_bundle, with_evidence
from edgewise.bundle.bundle import Bundle, open_bundle
from edgewise.bundle.document import Variant
from edgewise.bundle.layout import EVIDENCE_TYPE
from edgewise.bundle.safetensors import dump_arrays, parse_arrays
from edgewise.bundle.statement import Envelope, Statement, pre_authentication_encoding
from edgewise.bundle.strict_json import dump_json
from edgewise.errors import CalibrationError, SignatureError
from edgewise.routing.calibration import own_calibration
from edgewise.routing.upstream import Described
from edgewise.runtime.decision import top_scores, winners
from edgewise.testing.raw_layout import RawLayout
from edgewise.testing.sample_bundles import (
    PUBLIC_TEST_KEYS,
    derived_bundle,
    full_bundle,
    learning_bundle,
    minimal_bundle,
    receipt,
    release,
    sample_document,
    sample_file,
    sample_root,
    signed_bundle,
)
from edgewise.testing.sample_calibrations import calibrated_bundle
from edgewise.trust.verification import Verification, sign_statement, verify_bundle

DEFAULT = Path(__file__).resolve().parent.parent / "spec" / "vectors" / "bundle"
FUTURE = {"x-future": {"a": [1, 2.5, "\u00e9\U0001f600", None, True], "": {}}}


def main(folder: Path) -> None:
    keys = folder / "TEST-ONLY-keys"
    keys.mkdir(parents=True, exist_ok=True)
    for name, key in PUBLIC_TEST_KEYS.items():
        (keys / f"TEST-ONLY-{name}.key").write_bytes(key.to_pem())
        (keys / f"{name}.pub").write_bytes(key.public.to_pem())
    (folder / "root.json").write_bytes(sample_root().to_bytes())
    for name, bundle in _bundles().items():
        packed = BytesIO()
        bundle.write(packed)
        (folder / f"{name}.bundle").write_bytes(packed.getvalue())
        _write(folder / f"{name}.json", expected(bundle))
    _write(folder / "pae.json", _pae())
    _write(folder / "canonical-json.json", _canonical())
    _write(folder / "key-ids.json", _key_ids())
    _write(folder / "safetensors.json", _safetensors())
    _write(folder / "decisions.json", _decisions())
    _write(folder / "calibrations.json", _calibrations())


def expected(bundle: Bundle) -> dict[str, Any]:
    """What a reader gets out of ``bundle``, as JSON."""
    names = {key.public.key_id: name for name, key in PUBLIC_TEST_KEYS.items()}
    try:
        verification = verify_bundle(bundle, sample_root())
    except SignatureError:
        verified = None
    else:
        verified = {
            "signers": [names[key_id] for key_id in verification.signers],
            "evidence": [
                {
                    "digest": item.digest,
                    "predicateType": item.statement.predicate_type,
                    "signers": [names[key_id] for key_id in item.signers],
                    "released": item.released,
                }
                for item in verification.evidence
            ],
        }
    return {
        "ref": bundle.ref,
        "documentDigest": bundle.document_digest,
        "document": bundle.document.to_json(),
        "blobs": [{"digest": blob.digest, "size": blob.size, "mediaType": blob.media_type} for blob in bundle.blobs()],
        "content": bundle.content(),
        "evidence": list(bundle.evidence()),
        "verification": verified,
    }


def _bundles() -> dict[str, Bundle]:
    graph, weights = b"graph", b"weights" * 20
    files = (sample_file("model.onnx", graph), sample_file("weights/model.data", weights))
    external = sample_document(graph, "external")
    external = _with_variants(external, (Variant("fp32", "onnx", "fp32", files),))
    data = b"one file for all"
    shared = _with_variants(
        sample_document(data, "shared"),
        tuple(
            Variant(name, "onnx", "fp32", (sample_file("model.onnx", data),)) for name in ("server", "gateway", "phone")
        ),
    )
    return {
        "minimal": minimal_bundle(),
        "all-fields": signed_bundle(full_bundle()),
        "unknown-fields": _unknown_fields(),
        "external-data": signed_bundle(build_bundle(external, [graph, weights])),
        "shared-blob": signed_bundle(build_bundle(shared, [data])),
        "two-receipts": _two_receipts(),
        "derivation": signed_bundle(derived_bundle()),
        "training-step": signed_bundle(learning_bundle("accumulate.onnx")),
        "calibrated": calibrated_bundle(),
    }


def _with_variants(document: Any, variants: tuple[Variant, ...]) -> Any:
    return type(document)(
        document.name, document.version, document.task, document.inputs, document.outputs, variants, document.decision
    )


def _two_receipts() -> Bundle:
    bundle = minimal_bundle()
    first = sign_statement(receipt(bundle, "fp32"), PUBLIC_TEST_KEYS["laboratory"])
    second = sign_statement(receipt(bundle, "fp32", 0.9375), PUBLIC_TEST_KEYS["workshop"])
    bundle = with_evidence(bundle, [first, second])
    bundle = with_evidence(bundle, [sign_statement(release(bundle), PUBLIC_TEST_KEYS["publisher"])])
    # One more after the release, by a key that nobody trusts: present, but worth nothing.
    return with_evidence(bundle, [sign_statement(receipt(bundle, "fp32", 0.984375), PUBLIC_TEST_KEYS["stranger"])])


def _unknown_fields() -> Bundle:
    raw = RawLayout.of(full_bundle())
    document, manifest = raw.document, raw.manifest
    golden = document["golden"]
    for part in (
        document, *document["inputs"], *document["outputs"], *document["states"], *document["variants"], golden, golden["file"],
        *document["files"], *(file for variant in document["variants"] for file in variant["files"]),
        raw.index, raw.index["manifests"][0], manifest, manifest["config"], *manifest["layers"],
    ):  # fmt: skip
        part.update(FUTURE)
    for part in (raw.index, raw.index["manifests"][0], manifest, *manifest["layers"]):
        part.setdefault("annotations", {})["org.example.future"] = "yes"
    first = open_bundle(raw.source())
    raw = RawLayout.of(first)
    _attach(raw, receipt(first, "int8"), "laboratory")
    released = open_bundle(raw.source())
    _attach(raw, release(released), "publisher")
    return open_bundle(raw.source())


def _attach(raw: RawLayout, statement: Statement, signer: str) -> None:
    # What is signed is the payload as it stands, so the unknown fields are part of it.
    statement = Statement(statement.predicate_type, statement.subject, {**statement.predicate, **FUTURE}, FUTURE)
    envelope = json.loads(sign_statement(statement, PUBLIC_TEST_KEYS[signer]).to_bytes())
    envelope["signatures"][0] |= FUTURE
    stored = raw.add(dump_json(envelope | FUTURE))
    raw.manifest["layers"].append({"mediaType": EVIDENCE_TYPE, **stored, **FUTURE})


def _pae() -> list[dict[str, Any]]:
    cases = [("http://example.com/HelloWorld", b"hello world"), ("", b""), (Envelope(b"", ()).payload_type, b"{}"),
             ("typ\u00e9", bytes(range(256)))]  # fmt: skip
    key = PUBLIC_TEST_KEYS["publisher"]
    return [
        {
            "payloadType": kind,
            "payload": _base64(payload),
            "encoded": _base64(pre_authentication_encoding(kind, payload)),
            "publisherSignature": _base64(key.sign(pre_authentication_encoding(kind, payload))),
        }
        for kind, payload in cases
    ]


def _canonical() -> list[dict[str, Any]]:
    values: list[Any] = [
        {}, [], "", 0, -1, 2**53 - 1, 1.5, 0.001, True, None, {"b": 1, "a": [2, {"d": 3, "c": 4}]},
        {"\u00e9": "e acute", "e": "e", "z": "z", "\U0001f600": "beyond the BMP"}, "\u2028 \u007f \" \\ / \b\f\n\r\t \u0001",
    ]  # fmt: skip
    return [{"value": value, "canonical": _base64(dump_json(value))} for value in values]


def _key_ids() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "publicHex": key.public.raw.hex(),
            "described": dump_json(key.public.to_json()).decode(),
            "keyId": key.public.key_id,
        }
        for name, key in PUBLIC_TEST_KEYS.items()
    ]


def _safetensors() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = [
        {},
        {"scalar": np.float32(1.5)},
        {"in/x": np.arange(6, dtype=np.float32).reshape(2, 3), "empty": np.zeros((0, 2), np.int8)},
        {dtype: np.array([0, 1], dtype) for dtype in ("bool", "int8", "int16", "int32", "int64", "float16", "float64")},
        {dtype: np.array([0, 1], dtype) for dtype in ("uint8", "uint16", "uint32", "uint64")},
    ]
    return [_arrays(case) for case in cases]


def _arrays(arrays: dict[str, Any]) -> dict[str, Any]:
    data = dump_arrays(arrays)
    read = parse_arrays(data, "a vector")
    return {
        "file": _base64(data),
        "arrays": {
            name: {"dtype": array.dtype.name, "shape": list(array.shape), "values": array.ravel().tolist()}
            for name, array in read.items()
        },
    }


def _decisions() -> list[dict[str, Any]]:
    """Outputs of classifiers in every form, the batch first, and the class and score of each row (null: no score)."""
    cases: list[tuple[Any, Any]] = [
        (np.array([[0.125, 0.75, 0.125], [0.5, 0.25, 0.25]], np.float32), None),
        (np.array([[0.5, 0.5, 0.25]], np.float32), None),  # the first of equals
        (np.array([[3, 250, 7]], np.uint8), None),
        (np.array([[-128, -5, -7]], np.int8), None),
        (np.array([[0.25], [0.5], [0.75]], np.float32), None),
        (np.array([0.25, 0.75], np.float32), None),
        (np.array([2, 0], np.int64), np.array([[0.125, 0.25, 0.625], [0.75, 0.125, 0.125]], np.float32)),
        (np.array([[2, 0], [1, 2]], np.int64), np.array([[0.5, 0.25], [0.75, 0.125]], np.float32)),
        (np.array([[4, 0]], np.int32), None),
    ]
    return [
        {
            "output": {"dtype": output.dtype.name, "values": output.tolist()},
            "beside": None if beside is None else {"dtype": beside.dtype.name, "values": beside.tolist()},
            "classes": winners(output).tolist(),
            "scores": [
                None if np.isnan(score) else score
                for score in top_scores(output, [] if beside is None else [beside]).tolist()
            ],
        }
        for output, beside in cases
    ]


def _calibrations() -> list[dict[str, Any]]:
    """Of calibrated.bundle under root.json: what each variant defers by where upstream has these labels; null where by nothing."""
    bundle = calibrated_bundle()
    verification, labels = verify_bundle(bundle, sample_root()), bundle.document.labels
    cases = [
        (variant.name, upstream) for variant in bundle.document.variants for upstream in ((), labels, labels[::-1])
    ]
    return [
        {
            "variant": variant,
            "upstreamLabels": list(upstream),
            "calibration": _own(bundle, verification, variant, upstream),
        }
        for variant, upstream in cases
    ]


def _own(bundle: Bundle, verification: Verification, variant: str, labels: tuple[str, ...]) -> dict[str, Any] | None:
    try:
        return own_calibration(bundle, verification, variant, Described(labels=labels)).to_json()
    except CalibrationError:
        return None


def _base64(data: bytes) -> str:
    return b64encode(data).decode()


def _write(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT)
