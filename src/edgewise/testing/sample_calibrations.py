"""Calibrations with invented numbers for the sample bundles, and a bundle that has some to be used and some that must not be."""

from dataclasses import replace

from edgewise.bundle.build import with_evidence
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.statement import Statement
from edgewise.digests import digest_of
from edgewise.routing.calibration import Against, Calibration, Then
from edgewise.testing.sample_bundles import PUBLIC_TEST_KEYS, full_bundle, release
from edgewise.trust.verification import sign_statement

__all__ = ["calibrated_bundle", "sample_calibration", "stated"]

_RULE = {"name": "max-probability", "of": {"output": "y", "form": "scores"}, "temperature": 1.5}


def sample_calibration(
    variant: str, labels: tuple[str, ...] = (), measured_at: str = "2026-02-01T12:00:00Z"
) -> Calibration:
    """One variant under one promise."""
    return Calibration(
        variant=variant, rule=_RULE, threshold=0.875, epsilon=0.01, delta=0.05, loss="disagreement", test="binomial", offload=0.25,
        lost=0.0075, oracle=0.1875, data={"name": "digits", "digest": digest_of(b"data"), "samples": 3000},
        against=Against("digits.example", "7", labels), measured_at=measured_at,
    )  # fmt: skip


def stated(bundle: Bundle, calibration: Calibration) -> Statement:
    """The statement about the variants that it names."""
    return calibration.statement(*(bundle.variant(name) for name in calibration.variants))


def calibrated_bundle() -> Bundle:
    """The full bundle with calibrations: of int8 an old one, a newer one that hands on to fp32, and the newest by a stranger; of
    fp32 only one that is about int8's files.
    """
    bundle = full_bundle()
    labels = bundle.document.labels
    old = sample_calibration("int8", labels, "2026-01-01T00:00:00Z")
    new = replace(
        sample_calibration("int8", labels), by_group={labels[0]: 0.5, labels[1]: None}, chosen=True,
        then=(Then("fp32", _RULE, 0.625),), cost={"expected": 0.0625, "seconds": 0.0625},
    )  # fmt: skip
    strange = replace(old, measured_at="2026-03-01T00:00:00Z", threshold=0.0)
    borrowed = replace(stated(bundle, sample_calibration("fp32", labels)), subject=stated(bundle, old).subject)
    laboratory, publisher = PUBLIC_TEST_KEYS["laboratory"], PUBLIC_TEST_KEYS["publisher"]
    bundle = with_evidence(bundle, [sign_statement(stated(bundle, each), laboratory) for each in (old, new)])
    bundle = with_evidence(bundle, [sign_statement(borrowed, laboratory)])
    bundle = with_evidence(bundle, [sign_statement(release(bundle), publisher)])
    return with_evidence(bundle, [sign_statement(stated(bundle, strange), PUBLIC_TEST_KEYS["stranger"])])
