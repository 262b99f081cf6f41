"""Signatures that prove something else than what is wanted, envelopes and trust roots that are no such thing."""

import json
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from attacks.attack import Attack, hostile, tar_of
from edgewise.bundle.build import build_bundle, with_evidence
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.layout import EVIDENCE_TYPE
from edgewise.bundle.statement import Envelope, Statement, pre_authentication_encoding, release_statement
from edgewise.bundle.strict_json import dump_json
from edgewise.testing.raw_layout import RawLayout
from edgewise.testing.sample_bundles import (
    PUBLIC_TEST_KEYS,
    full_bundle,
    minimal_bundle,
    receipt,
    release,
    sample_document,
    sample_file,
    sample_root,
    signed_bundle,
)
from edgewise.trust.verification import sign_statement

__all__ = ["evidence_attacks"]

_PUBLISHER, _STRANGER = PUBLIC_TEST_KEYS["publisher"], PUBLIC_TEST_KEYS["stranger"]


def evidence_attacks() -> Iterator[Attack]:
    yield from _releases()
    yield from _evidence_moved()
    yield from _malformed_in_bundles()
    yield from _envelopes()
    yield from _roots()


def _untrusted(name: str, why: str, bundle: Bundle, root: str = "root.json") -> Attack:
    return Attack(name, "bundle", "E402", None, why, tar_of(bundle), root)


def _with(bundle: Bundle, envelope: Envelope) -> Bundle:
    return with_evidence(bundle, [envelope])


def _releases() -> Iterator[Attack]:
    bundle = minimal_bundle()
    good = release(bundle)
    signed = sign_statement(good, _PUBLISHER)
    (key_id, signature), payload = signed.signatures[0], signed.payload
    yield _untrusted("unsigned", "no signature at all", bundle)
    yield _untrusted("unknown-key", "signed by somebody else", _with(bundle, sign_statement(good, _STRANGER)))
    forged = Envelope(payload, ((key_id, sign_statement(good, _STRANGER).signatures[0][1]),))
    yield _untrusted("forged-key-id", "somebody else's signature under the publisher's key id", _with(bundle, forged))
    laboratory = sign_statement(good, PUBLIC_TEST_KEYS["laboratory"])
    yield _untrusted("receipt-key", "a key that may sign receipts, not releases", _with(bundle, laboratory))
    yield _untrusted("no-signatures", "an envelope without signatures", _with(bundle, Envelope(payload, ())))
    yield _untrusted(
        "short-signature", "half a signature", _with(bundle, Envelope(payload, ((key_id, signature[:32]),)))
    )
    yield _untrusted("zero-signature", "64 zeros", _with(bundle, Envelope(payload, ((key_id, bytes(64)),))))
    bare = Envelope(payload, ((key_id, _PUBLISHER.sign(payload)),))
    yield _untrusted("no-pae", "the payload is signed without its type", _with(bundle, bare))
    typed = pre_authentication_encoding("text/plain", payload)
    other_type = Envelope(payload, ((key_id, _PUBLISHER.sign(typed)),))
    yield _untrusted("other-type-signed", "signed as another type of payload", _with(bundle, other_type))
    changed = Envelope(payload.replace(b'"evidence":[]', b'"evidence": []'), signed.signatures)
    yield _untrusted("payload-changed", "the payload was changed after it was signed", _with(bundle, changed))
    names = bundle.content()
    for name, statement, why in (
        ("replay-name", release_statement("letters", "1.0.0", names, []), "the release of another model"),
        ("replay-version", release_statement("digits", "0.9.0", names, []), "the release of another version"),
        ("replay-no-name", Statement(good.predicate_type, names, {}), "a release of nothing"),
        (
            "replay-number",
            Statement(good.predicate_type, names, {"name": ["digits"], "version": 1}),
            "a name that is no text",
        ),
        ("evidence-no-list", replace(good, predicate={**good.predicate, "evidence": 3}), "evidence that is no list"),
        (
            "evidence-nested",
            replace(good, predicate={**good.predicate, "evidence": [{}, []]}),
            "evidence that is no digest",
        ),
        ("subject-empty", release_statement("digits", "1.0.0", {}, []), "a release of no files"),
    ):
        yield _untrusted(name, why, _with(bundle, sign_statement(statement, _PUBLISHER)))
    for digest, name in names.items():
        rest = {other: names[other] for other in names if other != digest}
        partial = sign_statement(release_statement("digits", "1.0.0", rest, []), _PUBLISHER)
        yield _untrusted(
            f"uncovered-{name.replace('/', '-')}", f"the release does not cover {name}", _with(bundle, partial)
        )
    double = Envelope(payload, (signed.signatures[0], signed.signatures[0]))
    yield _untrusted(
        "same-key-twice",
        "two signatures by one key where two keys are needed",
        _with(bundle, double),
        "root-of-two.json",
    )
    one_each = _with(_with(bundle, signed), sign_statement(replace(good, extra={"x": 1}), _STRANGER))
    yield _untrusted("one-of-two", "one trusted signature where two are needed", one_each, "root-of-two.json")
    yield _nested_document()


def _nested_document() -> Attack:
    """A released file that is itself a bundle document, put in the place of the real one."""
    data = b"not really a model"
    inner = sample_document(data)
    outer = replace(
        inner, files=(sample_file("old/bundle.json", inner.to_bytes(), "application/json"),), description="the real one"
    )
    bundle = build_bundle(outer, [data, inner.to_bytes()])
    raw = RawLayout.of(_with(bundle, sign_statement(release(bundle), _PUBLISHER)))
    raw.document = json.loads(inner.to_bytes())
    document = raw.manifest["layers"][0]
    raw.manifest["layers"] = [
        layer for layer in raw.manifest["layers"] if layer is document or layer["size"] != document["size"]
    ]
    raw.manifest["layers"] = [layer for layer in raw.manifest["layers"] if layer["mediaType"] != "application/json"]
    return Attack(
        "nested-document", "bundle", "E402", None, "another released file takes the document's place", raw.tar()
    )


def _evidence_moved() -> Iterator[Attack]:
    whole = signed_bundle()
    kept = RawLayout.of(whole)
    listed = [layer for layer in kept.manifest["layers"] if layer["mediaType"] == EVIDENCE_TYPE]
    kept.manifest["layers"].remove(listed[0])
    yield Attack("evidence-dropped", "bundle", "E402", None, "a receipt that the release lists was removed", kept.tar())
    other = with_evidence(
        minimal_bundle(), [sign_statement(receipt(whole, "fp32", 0.5), PUBLIC_TEST_KEYS["laboratory"])]
    )
    swapped = RawLayout.of(whole)
    swapped.manifest["layers"].remove(listed[0])
    for envelope in other.evidence().values():
        swapped.manifest["layers"].append({"mediaType": EVIDENCE_TYPE, **swapped.add(envelope.to_bytes())})
    yield Attack(
        "evidence-swapped",
        "bundle",
        "E402",
        None,
        "another receipt in place of the one that the release lists",
        swapped.tar(),
    )
    foreign = with_evidence(full_bundle(), list(whole.evidence().values()))
    yield _untrusted("evidence-of-another-bundle", "receipt and release of another model", foreign)


def _malformed_in_bundles() -> Iterator[Attack]:
    def attached(name: str, rule: str, why: str, data: bytes) -> Attack:
        raw = RawLayout.of(minimal_bundle())
        raw.manifest["layers"].append({"mediaType": EVIDENCE_TYPE, **raw.add(data)})
        return hostile(name, rule, why, raw.tar())

    def stated(name: str, rule: str, why: str, payload: bytes) -> Attack:
        message = pre_authentication_encoding(Envelope(b"", ()).payload_type, payload)
        return attached(
            name, rule, why, Envelope(payload, ((_PUBLISHER.public.key_id, _PUBLISHER.sign(message)),)).to_bytes()
        )

    payload = release(minimal_bundle()).to_bytes()
    yield attached("evidence-not-json", "json-malformed", "no envelope", b"hello")
    yield stated(
        "statement-key-twice", "json-duplicate-key", "two readers see two statements", b'{"_type":"","' + payload[2:]
    )
    yield stated("statement-nan", "json-number", "a metric that is not a number", payload[:-1] + b',"x":NaN}')
    yield stated("statement-list", "json-malformed", "no object", b"[]")
    yield stated("statement-empty", "evidence-malformed", "no statement", b"{}")
    yield stated(
        "statement-type", "evidence-malformed", "another version", payload.replace(b"Statement/v1", b"Statement/v9")
    )
    yield stated("statement-digest", "evidence-malformed", "no digest", payload.replace(b'"sha256":"', b'"sha256":"x'))
    twice = json.loads(payload)
    twice["subject"].append(dict(twice["subject"][0], name="other"))
    yield stated("statement-subject-twice", "evidence-malformed", "one digest under two names", dump_json(twice))


def _envelopes() -> Iterator[Attack]:
    good = json.loads(sign_statement(release(minimal_bundle()), _PUBLISHER).to_bytes())

    def envelope(name: str, rule: str, why: str, **fields: Any) -> Attack:
        return hostile(f"envelope-{name}", rule, why, json.dumps({**good, **fields}).encode(), "envelope")

    signature = good["signatures"][0]
    yield envelope(
        "payload-type", "evidence-malformed", "another type of payload", payloadType="application/vnd.docker"
    )
    yield envelope("10000-signatures", "evidence-malformed", "work for the verifier", signatures=[{"sig": ""}] * 10_000)
    yield envelope("no-list", "evidence-malformed", "signatures that are no list", signatures={"0": signature})
    yield envelope("not-base64", "evidence-malformed", "a payload that is no base64", payload="%%%")
    yield envelope("url-base64", "evidence-malformed", "another alphabet: readers may disagree", payload="-_-_")
    yield envelope("spaces", "evidence-malformed", "base64 with spaces: readers may disagree", payload="e 3 0 =")
    yield envelope("payload-number", "evidence-malformed", "a payload that is no text", payload=1)
    yield envelope(
        "long-signature",
        "evidence-malformed",
        "a signature of 3 KB",
        signatures=[{"sig": b64encode(bytes(3000)).decode()}],
    )
    yield envelope(
        "key-id-escape",
        "evidence-malformed",
        "a key id that writes to the terminal",
        signatures=[dict(signature, keyid="\x1b[2J")],
    )
    text = json.dumps(good)
    yield hostile(
        "envelope-key-twice", "json-duplicate-key", "two payloads", f'{{"payload":"",{text[1:]}'.encode(), "envelope"
    )
    deep = b64encode(b64decode(good["payload"])[:-1] + b',"x":' + b"[" * 9000 + b"]" * 9000 + b"}").decode()
    yield envelope("deep-payload", "json-depth", "a payload nested 9,000 deep", payload=deep)


def _roots() -> Iterator[Attack]:
    good = json.loads(sample_root().to_bytes())
    key_id = _PUBLISHER.public.key_id

    def root(name: str, why: str, spoil: Callable[[Any], Any], rule: str | None = None) -> Attack:
        value = json.loads(json.dumps(good))
        changed = spoil(value)
        data = changed if isinstance(changed, bytes) else json.dumps(value).encode()
        return Attack(f"root-{name}", "root", "E109", rule, why, data)

    yield root(
        "key-swapped",
        "another key under a trusted id",
        lambda value: value["keys"][key_id]["keyval"].update(public=_STRANGER.public.raw.hex()),
    )
    yield root("threshold-zero", "no signature needed", lambda value: value["roles"]["release"].update(threshold=0))
    yield root("threshold-negative", "less than none", lambda value: value["roles"]["release"].update(threshold=-1))
    yield root("threshold-true", "a truth value", lambda value: value["roles"]["release"].update(threshold=True))
    yield root(
        "unknown-key",
        "a role with a key that is not there",
        lambda value: value["roles"]["release"].update(keyids=["00"]),
    )
    yield root("key-id-list", "a key id that is a list", lambda value: value["roles"]["release"].update(keyids=[[]]))
    yield root("key-type", "another kind of key", lambda value: value["keys"][key_id].update(keytype="rsa"))
    yield root("key-short", "half a key", lambda value: value["keys"][key_id]["keyval"].update(public="00"))
    yield root(
        "name-escape",
        "a name that would redraw the terminal",
        lambda value: value["keys"][key_id].update(name="me\x1b[2Jpublisher"),
    )
    yield root("name-long", "a name of 257 characters", lambda value: value["keys"][key_id].update(name="x" * 257))
    yield root("schema", "a version that does not exist yet", lambda value: value.update(schemaVersion=2))
    yield root("keys-list", "keys that are no object", lambda value: value.update(keys=[]))
    yield root("roles-missing", "no roles", lambda value: value.pop("roles"))
    yield root("role-number", "a role that is no object", lambda value: value["roles"].update(release=1))
    yield root(
        "many-keys", "more keys than 256", lambda value: value["keys"].update({f"{at:x}": {} for at in range(300)})
    )
    yield root(
        "key-twice",
        "two readers see two roots",
        lambda value: b'{"keys":{},' + json.dumps(value).encode()[1:],
        "json-duplicate-key",
    )
    yield root("not-json", "no JSON", lambda value: b"trust me", "json-malformed")
    yield root("list", "a list", lambda value: b"[]", "json-malformed")
