"""Everything that can be checked about a bundle on this device, check by check."""

from dataclasses import dataclass
from os import PathLike
from typing import Any

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.statement import Statement
from edgewise.compose.loading import open_verified, read_trust
from edgewise.errors import EdgewiseError
from edgewise.measure.choice import candidates_for
from edgewise.runtime.device import read_device
from edgewise.runtime.opening import Candidate, open_candidate
from edgewise.runtime.replay import replay_golden
from edgewise.runtime.requirements import Requirements
from edgewise.store.bundles import find_bundle
from edgewise.store.home import Home
from edgewise.trust.verification import Evidence

__all__ = ["Check", "Verified", "verify_path"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked, and the outcome in words."""

    what: str
    passed: bool
    details: str


@dataclass(frozen=True, slots=True)
class Verified:
    """All checks of one bundle."""

    ref: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        checks = [{"what": check.what, "passed": check.passed, "details": check.details} for check in self.checks]
        return {"ref": self.ref, "passed": self.passed, "checks": checks}


def verify_path(
    ref: str, trust: str | PathLike[str] | None, *, replay: bool, unsafe_no_verification: bool = False
) -> Verified:
    """Check the bundle that ``ref`` means.

    Raises HostileBundleError or SignatureError at once: what is malformed or not trusted is not run. A variant that fails its
    replay is a failed check.
    """
    home = Home.default()
    bundle, verification = open_verified(
        find_bundle(ref, home), trust, home, unsafe_no_verification=unsafe_no_verification
    )
    bundle.check_blobs()
    blobs = len(bundle.manifest.layers) + 1
    checks = [Check("form and digests", True, f"{blobs} blobs, every size and SHA-256 as listed")]
    if verification is not None:
        root = read_trust(trust, home)
        names = ", ".join(f"{root.name_of(key_id)} ({key_id[:12]})" for key_id in verification.signers)
        checks.append(Check("release signature", True, f"by {names}, over every file"))
        checks += [Check(_name_of(item.statement), True, _vouched(item)) for item in verification.evidence]
    else:
        checks.append(Check("release signature", True, "not checked, as you asked"))
    if replay:
        checks += _replays(bundle, home)
    return Verified(bundle.ref, tuple(checks))


def _name_of(statement: Statement) -> str:
    """A piece of evidence in words; its text is bounded and printable, since it may be anybody's."""
    said = statement.predicate
    engine = said.get("engine")
    by = engine.get("name", "") if isinstance(engine, dict) else ""
    kind = statement.predicate_type.rpartition(":predicate:")[2].partition(":")[0]
    parts = (kind or statement.predicate_type, said.get("variant", ""), f"by {by}" if by else "")
    text = " ".join(str(part)[:64] for part in parts if part)
    return "".join(character if character.isprintable() else "?" for character in text)


def _vouched(evidence: Evidence) -> str:
    if evidence.released:
        return "listed by the release"
    if evidence.signers:
        return "added after the release, signed by a trusted key"
    return (
        "does not count: the release does not list it and no key that you trust for receipts signed it for these files"
    )


def _replays(bundle: Bundle, home: Home) -> list[Check]:
    if bundle.document.golden is None:
        return [Check("golden replay", False, "the bundle has no golden set; pack it with --eval or --golden")]
    return [_replay(bundle, candidate, home) for candidate in candidates_for(bundle, Requirements())]


def _replay(bundle: Bundle, candidate: Candidate, home: Home) -> Check:
    what = f"replay {candidate.variant} on {candidate.engine}/{candidate.provider}"
    try:
        with open_candidate(bundle, candidate, home=home, device=read_device()) as session:
            result = replay_golden(bundle, session)
    except EdgewiseError as error:
        return Check(what, False, error.what)
    return (
        Check(what, False, "no golden outputs for this variant")
        if result is None
        else Check(what, result.passed, str(result))
    )
