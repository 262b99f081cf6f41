"""What a verified bundle proves, and what it does not. Hostile bundles are in spec/attacks."""

from dataclasses import replace

import pytest

from edgewise.bundle.build import build_bundle, with_evidence
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.statement import RECEIPT, Envelope, Statement
from edgewise.digests import digest_of
from edgewise.errors import SignatureError
from edgewise.testing.sample_bundles import (
    PUBLIC_TEST_KEYS,
    full_bundle,
    minimal_bundle,
    receipt,
    release,
    sample_document,
    sample_root,
    signed_bundle,
)
from edgewise.trust.root import TrustRoot
from edgewise.trust.verification import sign_statement, verify_bundle

pytestmark = pytest.mark.bare

PUBLISHER, LABORATORY, WORKSHOP, STRANGER = (
    PUBLIC_TEST_KEYS[name] for name in ("publisher", "laboratory", "workshop", "stranger")
)


def released(bundle: Bundle) -> Bundle:
    return with_evidence(bundle, [sign_statement(release(bundle), PUBLISHER)])


def test_a_release_proves_its_signer_and_its_receipts() -> None:
    proven = verify_bundle(signed_bundle(full_bundle()), sample_root())
    assert proven.signers == (PUBLISHER.public.key_id,)
    assert {item.statement.predicate["variant"] for item in proven.receipts} == {"fp32", "int8"}
    assert all(
        item.trusted and item.released and item.signers == (LABORATORY.public.key_id,) for item in proven.receipts
    )


def test_what_is_not_signed_is_refused_with_the_way_out() -> None:
    with pytest.raises(SignatureError, match="is not signed") as unsigned:
        verify_bundle(minimal_bundle(), sample_root())
    assert "--unsigned" in unsigned.value.remedy
    assert "edgewise key trust" not in unsigned.value.remedy, "there is nobody to trust"
    with pytest.raises(SignatureError, match="is not trusted") as untrusted:
        verify_bundle(signed_bundle(), TrustRoot())
    assert "edgewise key trust" in untrusted.value.remedy
    assert all("--unsafe-no-verification" in raised.value.remedy for raised in (unsigned, untrusted))


def test_an_empty_root_trusts_nobody() -> None:
    with pytest.raises(SignatureError, match="0 of 1 valid signatures"):
        verify_bundle(signed_bundle(), TrustRoot())


def test_a_threshold_of_two_needs_two_keys() -> None:
    bundle = minimal_bundle()
    root = sample_root(release_threshold=2).with_key(WORKSHOP.public, "workshop")
    once = sign_statement(release(bundle), PUBLISHER)
    with pytest.raises(SignatureError, match="1 of 2"):
        verify_bundle(with_evidence(bundle, [once]), root)
    both = Envelope(once.payload, once.signatures + sign_statement(release(bundle), WORKSHOP).signatures)
    assert len(verify_bundle(with_evidence(bundle, [both]), root).signers) == 2


def test_a_receipt_after_the_release_counts_by_its_own_signer_only() -> None:
    bundle = signed_bundle()
    late = [
        sign_statement(receipt(bundle, "fp32", accuracy), key) for key, accuracy in ((WORKSHOP, 0.9), (STRANGER, 0.99))
    ]
    receipts = verify_bundle(with_evidence(bundle, late), sample_root()).receipts
    by_accuracy = {item.statement.predicate["metrics"][0]["value"]: item for item in receipts}
    assert not by_accuracy[0.9].released
    assert by_accuracy[0.9].trusted
    assert not by_accuracy[0.99].trusted


def test_the_threshold_for_receipts_holds_too() -> None:
    bundle = released(minimal_bundle())
    bundle = with_evidence(bundle, [sign_statement(receipt(bundle, "fp32"), LABORATORY)])
    assert verify_bundle(bundle, sample_root()).receipts[0].trusted
    assert not verify_bundle(bundle, sample_root(receipt_threshold=2)).receipts[0].trusted


def test_a_receipt_about_another_model_vouches_for_nothing_here() -> None:
    """Signed by a trusted laboratory, but for other files: it may lie in the bundle, it does not count."""
    other = build_bundle(sample_document(b"another model"), [b"another model"])
    bundle = with_evidence(released(minimal_bundle()), [sign_statement(receipt(other, "fp32"), LABORATORY)])
    assert [item.trusted for item in verify_bundle(bundle, sample_root()).receipts] == [False]


def test_a_receipt_about_nothing_vouches_for_nothing() -> None:
    empty = Statement(RECEIPT, {}, {"variant": "fp32"})
    bundle = with_evidence(released(minimal_bundle()), [sign_statement(empty, LABORATORY)])
    assert [item.trusted for item in verify_bundle(bundle, sample_root()).receipts] == [False]


def test_a_newer_release_that_covers_more_evidence_verifies() -> None:
    bundle = released(minimal_bundle())
    bundle = with_evidence(bundle, [sign_statement(receipt(bundle, "fp32"), LABORATORY)])
    assert verify_bundle(released(bundle), sample_root()).receipts


def test_an_untrusted_release_does_not_stand_in_the_way_of_a_trusted_one() -> None:
    bundle = minimal_bundle()
    forged = sign_statement(replace(release(bundle), extra={"x": 1}), STRANGER)
    assert verify_bundle(released(with_evidence(bundle, [forged])), sample_root()).signers


@pytest.mark.parametrize("fault", ["name", "version", "document", "evidence"])
def test_a_release_of_ours_that_is_not_for_this_bundle_does_not_stand_in_the_way_either(fault: str) -> None:
    """Signed by a trusted key, as a stale copy of an older release is; the right one comes after it."""
    bundle = minimal_bundle()
    good = release(bundle)
    stale = {
        "name": replace(good, predicate={**good.predicate, "name": "other"}),
        "version": replace(good, predicate={**good.predicate, "version": "0.9.0"}),
        "document": replace(good, subject={digest_of(b"old"): "bundle.json"}),
        "evidence": replace(good, predicate={**good.predicate, "evidence": [digest_of(b"gone")]}),
    }[fault]
    bundle = with_evidence(bundle, [sign_statement(stale, PUBLISHER)])
    with pytest.raises(SignatureError, match="is not trusted"):
        verify_bundle(bundle, sample_root())
    assert verify_bundle(released(bundle), sample_root()).signers == (PUBLISHER.public.key_id,)


def test_a_release_vouches_for_the_evidence_that_it_lists_whoever_signed_that() -> None:
    bundle = minimal_bundle()
    listed = sign_statement(receipt(bundle, "fp32", 0.9), STRANGER)
    later = sign_statement(receipt(bundle, "fp32", 0.8), STRANGER)
    bundle = with_evidence(released(with_evidence(bundle, [listed])), [later])
    receipts = verify_bundle(bundle, sample_root()).receipts
    found = {item.statement.predicate["metrics"][0]["value"]: item for item in receipts}
    assert (found[0.9].released, found[0.9].signers, found[0.9].trusted) == (True, (), True)
    assert (found[0.8].released, found[0.8].signers, found[0.8].trusted) == (False, (), False)
