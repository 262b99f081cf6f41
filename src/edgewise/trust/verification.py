"""Signing what is in a bundle, and checking it.

The release statement covers the digest of every blob that can influence an answer: the bundle document, the config and every
file the document names; and it lists the envelopes that belong to it, so that evidence cannot be dropped or swapped. The
manifest itself is not signed: it only says where blobs lie, and carriers may rewrite it. What the release does not cover is
never used.
"""

from operator import itemgetter

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
from edgewise.records import dataclass
from edgewise.trust.keys import PrivateKey
from edgewise.trust.root import TrustRoot

__all__ = ["Evidence", "Verification", "sign_statement", "verify_bundle"]

_UNSIGNED = (
    "Pack it with a key (`edgewise key new`, then `edgewise pack` without --unsigned), or get a signed copy from its publisher. "
    "To load it all the same, with your rights: --unsafe-no-verification."
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """One statement in a bundle. ``released``: the release lists it.

    ``signers``: ids of the trusted receipt keys that signed it; empty where they are fewer than the root's threshold, and where
    the statement is about blobs that are not in this bundle (evidence of another model, or of another version of a file).
    """

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
        raise SignatureError(
            f"{bundle.ref} is not signed: it has no release statement", remedy=_UNSIGNED, ref=bundle.ref
        )
    reasons: list[str] = []
    for digest in releases:
        signers = _signers(envelopes[digest], root, "release")
        if not root.enough("release", signers):
            claimed = (
                ", ".join(key_id[:12] or "a key without id" for key_id, _ in envelopes[digest].signatures) or "nobody"
            )
            needed = root.threshold.get("release", 1)
            reasons.append(
                f"{len(signers)} of {needed} valid signatures by keys trusted for releases (it names {claimed})"
            )
            continue
        fault = _fault(bundle, statements[digest], set(envelopes))
        if fault:
            reasons.append(fault)
            continue
        listed, content = set(statements[digest].predicate.get("evidence", [])), bundle.content()
        found: list[Evidence] = []
        for other, statement in sorted((item for item in statements.items() if item[0] != digest), key=itemgetter(0)):
            vouching = _signers(envelopes[other], root, "receipt")
            counts = (
                root.enough("receipt", vouching) and bool(statement.subject) and set(statement.subject) <= set(content)
            )
            found.append(Evidence(other, statement, tuple(vouching) if counts else (), other in listed))
        return Verification(tuple(signers), tuple(found))
    raise SignatureError(f"{bundle.ref} is not trusted: {'; '.join(reasons)}", ref=bundle.ref, reasons=reasons)


def _signers(envelope: Envelope, root: TrustRoot, role: str) -> list[str]:
    message = pre_authentication_encoding(envelope.payload_type, envelope.payload)
    return root.signers(role, message, envelope.signatures)


def _fault(bundle: Bundle, release: Statement, present: set[str]) -> str:
    """Why a correctly signed release statement is not one for this bundle; empty if it is."""
    claimed = f"{release.predicate.get('name')}:{release.predicate.get('version')}"
    if claimed != bundle.ref:
        return f"the release statement is for {claimed[:120]!r}"
    if release.subject.get(bundle.document_digest) != "bundle.json":
        return "the release statement does not cover bundle.json"
    uncovered = [name for digest, name in bundle.content().items() if digest not in release.subject]
    if uncovered:
        return f"the release statement does not cover {', '.join(sorted(uncovered)[:4])}"
    listed = release.predicate.get("evidence", [])
    if not isinstance(listed, list) or not set(map(str, listed)) <= present:
        return "evidence that the release statement lists is missing"
    return ""
