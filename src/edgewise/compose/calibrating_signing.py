"""`edgewise calibrate`: what was fitted as signed evidence in a bundle."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgewise.bundle.build import with_evidence
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.statement import RELEASE, Statement, parse_statement, release_statement
from edgewise.routing.calibration import CALIBRATION, Against, Calibration
from edgewise.routing.fitting import Calibrated
from edgewise.routing.fitting.recording import calibration_of
from edgewise.trust.keys import PrivateKey
from edgewise.trust.verification import Verification, sign_statement

__all__ = ["calibrations_of", "with_calibrations"]


def calibrations_of(
    calibrated: Calibrated, data: dict[str, Any], against: Against, minimise: str, measured_at: str,
    watched: Mapping[str, dict[str, Any]],
) -> list[Calibration]:  # fmt: skip
    """What is stored: every variant's own, and the cascade's where one was chosen. data: name and digest of the samples. watched:
    name of a fit -> what a device needs to watch over its promise.
    """
    chosen = calibrated.chosen
    fits = [*calibrated.each, *([chosen] if len(chosen.stages) > 1 else [])]
    return [
        calibration_of(
            fit,
            data=data,
            against=against,
            measured_at=measured_at,
            chosen=fit is chosen,
            extra={"minimise": minimise, **watched.get(fit.name, {})},
        )
        for fit in fits
    ]


def with_calibrations(
    bundle: Bundle, calibrations: Sequence[Calibration], key: PrivateKey, verification: Verification | None
) -> tuple[Bundle, bool]:
    """The bundle with these calibrations, and whether it is a new release.

    Where the key is one that released the bundle, it is released anew with them, and what was in it about the same variants and
    upstream goes; with any other key they are evidence beside the release, which counts where that key is trusted for receipts.
    """
    statements = [each.statement(*map(bundle.variant, each.variants)) for each in calibrations]
    envelopes = [sign_statement(statement, key) for statement in statements]
    if verification is None or key.public.key_id not in verification.signers:
        return with_evidence(bundle, envelopes), False
    about = {_about(statement) for statement in statements}
    outdated = []
    for digest, envelope in bundle.evidence().items():
        known = parse_statement(envelope.payload, bundle.limits)
        same = known.predicate_type == CALIBRATION and _about(known) in about
        if known.predicate_type == RELEASE or same:
            outdated.append(digest)
    renewed = with_evidence(bundle, envelopes, without=outdated)
    document = renewed.document
    release = release_statement(document.name, document.version, renewed.content(), list(renewed.evidence()))
    return with_evidence(renewed, [sign_statement(release, key)]), True


def _about(statement: Statement) -> tuple[str, str]:
    """The variant that is asked first, and the upstream."""
    against = statement.predicate.get("against")
    return str(statement.predicate.get("variant")), str(against.get("name")) if isinstance(against, dict) else ""
