"""Signing what is in a bundle, and checking it.

The release statement covers the digest of every blob that can influence an answer: the bundle document, the config and every
file the document names; and it lists the envelopes that belong to it, so that evidence cannot be dropped or swapped. The
manifest itself is not signed: it only says where blobs lie, and carriers may rewrite it. What the release does not cover is
never used.
"""

from dataclasses import dataclass

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.statement import (
    RECEIPT,
    RELEASE,
    Envelope,
    Statement,
    parse_statement,
    pre_authentication_encoding,
)
from edgewise.errors import SignatureError
from edgewise.trust.keys import PrivateKey
from edgewise.trust.root import TrustRoot

__all__ = ["Evidence", "Verification", "sign_statement", "verify_bundle"]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One statement in a bundle. ``signers``: ids of trusted keys that signed it; ``released``: the release lists it."""

    digest: str
    statement: Statement
    signers: tuple[str, ...]
    released: bool

    @property
    def trusted(self) -> bool:
        """Whether someone we trust vouches for it: its own signer, or the release that lists it."""
        return self.released or bool(self.signers)


@dataclass(frozen=True, slots=True)
class Verification:
    """What was proven: the release is signed by ``signers`` (key ids), and which evidence stands behind it."""

    signers: tuple[str, ...]
    evidence: tuple[Evidence, ...]

    @property
    def receipts(self) -> tuple[Evidence, ...]:
        return tuple(item for item in self.evidence if item.statement.predicate_type == RECEIPT)


def sign_statement(statement: Statement, key: PrivateKey) -> Envelope:
    """The statement in an envelope with one signature."""
    payload = statement.to_bytes()
    envelope = Envelope(payload, ())
    signature = key.sign(pre_authentication_encoding(envelope.payload_type, payload))
    return Envelope(payload, ((key.public.key_id, signature),))


def verify_bundle(bundle: Bundle, root: TrustRoot) -> Verification:
    """Check that the bundle is a release by keys that ``root`` trusts.

    Raises SignatureError where no release statement covers all content under enough trusted signatures.
    """
    envelopes = bundle.evidence()
    statements = {digest: parse_statement(envelope.payload, bundle.limits) for digest, envelope in envelopes.items()}
    releases = [digest for digest, statement in statements.items() if statement.predicate_type == RELEASE]
    if not releases:
        raise SignatureError(f"{bundle.ref} is not signed: it has no release statement", ref=bundle.ref)
    reasons: list[str] = []
    for digest in releases:
        signers = _signers(envelopes[digest], root, "release")
        if not root.enough("release", signers):
            claimed = ", ".join(key_id[:12] for key_id, _ in envelopes[digest].signatures) or "nobody"
            reasons.append(f"signed by {claimed}, which the trust root does not trust for releases")
            continue
        fault = _fault(bundle, statements[digest], set(envelopes))
        if fault:
            reasons.append(fault)
            continue
        listed = set(statements[digest].predicate.get("evidence", []))
        evidence = tuple(
            Evidence(other, statements[other], tuple(_signers(envelopes[other], root, "receipt")), other in listed)
            for other in sorted(statements)
            if other != digest
        )
        return Verification(tuple(signers), evidence)
    raise SignatureError(f"{bundle.ref} is not trusted: {'; '.join(reasons)}", ref=bundle.ref, reasons=reasons)


def _signers(envelope: Envelope, root: TrustRoot, role: str) -> list[str]:
    message = pre_authentication_encoding(envelope.payload_type, envelope.payload)
    return root.signers(role, message, envelope.signatures)


def _fault(bundle: Bundle, release: Statement, present: set[str]) -> str:
    """Why a correctly signed release statement is not one for this bundle; empty if it is."""
    claimed = f"{release.predicate.get('name')}:{release.predicate.get('version')}"
    if claimed != bundle.ref:
        return f"the release statement is for {claimed[:120]}"
    uncovered = [name for digest, name in bundle.content().items() if digest not in release.subject]
    if uncovered:
        return f"the release statement does not cover {', '.join(sorted(uncovered)[:4])}"
    listed = release.predicate.get("evidence", [])
    if not isinstance(listed, list) or not set(map(str, listed)) <= present:
        return "evidence that the release statement lists is missing"
    return ""
