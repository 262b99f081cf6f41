"""Evidence: in-toto statements inside DSSE envelopes. Form only; signing and checking is the trust package's work.

Sources: in-toto attestation framework, statement v1; DSSE protocol and envelope v1.0 (secure-systems-lab/dsse).
"""

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from edgewise.bundle.fields import Form
from edgewise.bundle.limits import DEFAULT_LIMITS, Limits
from edgewise.bundle.strict_json import dump_json, parse_object
from edgewise.digests import hex_of, is_digest
from edgewise.errors import DocumentError, HostileBundleError
from edgewise.records import dataclass

__all__ = [
    "PAYLOAD_TYPE", "RECEIPT", "RELEASE", "Envelope", "Statement", "parse_envelope", "parse_statement",
    "pre_authentication_encoding", "release_statement",
]  # fmt: skip

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
RELEASE = "urn:edgewise:predicate:release:v1"
RECEIPT = "urn:edgewise:predicate:receipt:v1"
_KEY_ID = re.compile(r"[^\x00-\x1f\x7f-\x9f]{0,256}")  # it is shown before it is trusted: no control characters


@dataclass(frozen=True, slots=True)
class Statement:
    """Who says what about which blobs: ``subject`` maps digest -> name."""

    predicate_type: str
    subject: Mapping[str, str]
    predicate: Mapping[str, Any]
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        return dump_json(
            {
                **self.extra,
                "_type": STATEMENT_TYPE,
                "subject": [
                    {"name": name, "digest": {"sha256": hex_of(digest)}}
                    for digest, name in sorted(self.subject.items())
                ],
                "predicateType": self.predicate_type,
                "predicate": dict(self.predicate),
            }
        )


@dataclass(frozen=True, slots=True)
class Envelope:
    """A DSSE envelope: the payload as it was signed, and signatures by key id."""

    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]
    payload_type: str = PAYLOAD_TYPE

    def to_bytes(self) -> bytes:
        return dump_json(
            {
                "payloadType": self.payload_type,
                "payload": b64encode(self.payload).decode(),
                "signatures": [{"keyid": key, "sig": b64encode(sig).decode()} for key, sig in self.signatures],
            }
        )


def pre_authentication_encoding(payload_type: str, payload: bytes) -> bytes:
    """What is signed: DSSE's PAE, which binds the payload to its type (DSSE protocol v1.0)."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def release_statement(name: str, version: str, subject: Mapping[str, str], evidence: list[str]) -> Statement:
    """The statement that makes blobs a release: all of them as subject, and which envelopes belong to it."""
    return Statement(RELEASE, subject, {"name": name, "version": version, "evidence": sorted(evidence)})


def parse_envelope(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Envelope:
    """An envelope from outside; its signatures are not checked here."""
    form = Form(parse_object(data, "a signature envelope", limits), "DSSE envelope")
    kind = form.text("payloadType", one_of=[PAYLOAD_TYPE])
    payload = _base64(form, "payload", limits.json_bytes * 2)
    pairs = form.items(
        "signatures",
        lambda item: (item.text("keyid", pattern=_KEY_ID, default=""), _base64(item, "sig", 1024)),
        limit=16,
    )
    _finish(form)
    return Envelope(payload, tuple(pairs), kind)


def parse_statement(payload: bytes, limits: Limits = DEFAULT_LIMITS) -> Statement:
    """The statement in an envelope's payload."""
    form = Form(parse_object(payload, "a statement", limits), "in-toto statement")
    form.text("_type", one_of=[STATEMENT_TYPE])
    subjects = form.items("subject", _read_subject, limit=limits.blobs)
    subject = dict(subjects)
    if len(subject) != len(subjects):
        form.problem("subject", "one digest is listed twice")
    predicate = form.anything("predicate")
    if not isinstance(predicate, dict):
        form.problem("predicate", "an object is needed")
        predicate = {}
    statement = Statement(form.text("predicateType", limit=256), subject, predicate, form.rest())
    _finish(form)
    return statement


def _read_subject(form: Form) -> tuple[str, str]:
    digest = form.child("digest", lambda item: "sha256:" + item.text("sha256", limit=64)) or ""
    if not is_digest(digest):
        form.problem("digest", "a sha256 digest is needed")
    return digest, form.text("name", limit=512, default="")


def _base64(form: Form, field_name: str, limit: int) -> bytes:
    text = form.text(field_name, limit=limit)
    try:
        return b64decode(text, validate=True)
    except (Base64Error, ValueError):
        form.problem(field_name, "is not base64")
        return b""


def _finish(form: Form) -> None:
    try:
        form.finish()
    except DocumentError as error:
        raise HostileBundleError("evidence-malformed", error.what) from None
