"""Everything that can be checked about a bundle on this device, check by check."""

from dataclasses import dataclass
from os import PathLike
from typing import Any

from edgewise.bundle.bundle import Bundle
from edgewise.compose.loading import open_verified, read_trust
from edgewise.compose.receipts import name_of
from edgewise.errors import EdgewiseError
from edgewise.measure.candidates import candidates_for
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
    """One thing that was checked, and the outcome in words.

    state: ``ok``, ``FAILED``, or ``-`` for what was not checked or does not count, which fails nothing and proves nothing.
    """

    what: str
    state: str
    details: str

    @property
    def passed(self) -> bool:
        return self.state != "FAILED"


@dataclass(frozen=True, slots=True)
class Verified:
    """All checks of one bundle. proven: a release signature by a trusted key was checked."""

    ref: str
    checks: tuple[Check, ...]
    proven: bool

    @property
    def passed(self) -> bool:
        return all(check.passed for check in self.checks)

    def to_json(self) -> dict[str, Any]:
        checks = [{"what": check.what, "state": check.state, "details": check.details} for check in self.checks]
        return {"ref": self.ref, "passed": self.passed, "proven": self.proven, "checks": checks}


def verify_path(
    ref: str, trust: str | PathLike[str] | None, *, replay: bool, unsafe_no_verification: bool = False
) -> Verified:
    """Check the bundle that ``ref`` means.

    Raises HostileBundleError or SignatureError at once: what is malformed or not trusted is not run. A variant that fails its
    replay on every engine and provider is a failed check.
    """
    home = Home.default()
    bundle, verification = open_verified(
        find_bundle(ref, home), trust, home, unsafe_no_verification=unsafe_no_verification
    )
    bundle.check_blobs()
    blobs = len(bundle.manifest.layers) + 1
    checks = [Check("form and digests", "ok", f"{blobs} blobs, every size and SHA-256 as listed")]
    if verification is not None:
        root = read_trust(trust, home)
        names = ", ".join(f"{root.name_of(key_id)} ({key_id[:12]})" for key_id in verification.signers)
        checks.append(Check("release signature", "ok", f"by {names}, over every file"))
        checks += [
            Check(name_of(item.statement), "ok" if item.trusted else "-", _vouched(item))
            for item in verification.evidence
        ]
    else:
        checks.append(Check("release signature", "-", "not checked, as you asked: nobody vouches for this bundle"))
    if replay:
        checks += _replays(bundle, home)
    return Verified(bundle.ref, tuple(checks), verification is not None)


def _vouched(evidence: Evidence) -> str:
    if evidence.released:
        return "listed by the release"
    if evidence.signers:
        return "added after the release, signed by a trusted key"
    return (
        "does not count: the release does not list it and no key that you trust for receipts signed it for these files"
    )


def _replays(bundle: Bundle, home: Home) -> list[Check]:
    """One line for each way to run each variant here; a variant that no way runs rightly has failed."""
    if bundle.document.golden is None:
        return [Check("golden replay", "FAILED", "the bundle has no golden set; pack it with --eval or --golden")]
    outcomes: dict[str, list[Check]] = {variant.name: [] for variant in bundle.document.variants}
    for candidate in candidates_for(bundle, Requirements()):
        outcomes[candidate.variant].append(_replay(bundle, candidate, home))
    checks: list[Check] = []
    for variant, found in outcomes.items():
        if not found:
            checks.append(Check(f"replay {variant}", "-", "no engine that is installed here reads it"))
        right = any(check.state == "ok" for check in found)
        # Where another way gives the recorded answers, this one is not used on this device, and that is all.
        checks += [
            check if check.passed or not right else Check(check.what, "-", f"not used here: {check.details}")
            for check in found
        ]
    return checks


def _replay(bundle: Bundle, candidate: Candidate, home: Home) -> Check:
    what = f"replay {candidate.variant} on {candidate.engine}/{candidate.provider}"
    try:
        with open_candidate(bundle, candidate, home=home, device=read_device()) as session:
            result = replay_golden(bundle, session)
    except EdgewiseError as error:
        return Check(what, "FAILED", error.what)
    if result is None:
        return Check(what, "FAILED", "no golden outputs for this variant")
    return Check(what, "ok" if result.passed else "FAILED", str(result))
