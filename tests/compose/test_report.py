"""A page on a bundle says what it holds, and of each receipt whether it counts."""

from pathlib import Path

import pytest

from edgewise.bundle.build import with_evidence
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.statement import RECEIPT, Statement
from edgewise.compose.report import Report, make_report
from edgewise.errors import HostileBundleError
from edgewise.packing.pack import sign_release
from edgewise.store.bundles import write_file
from edgewise.store.home import Home
from edgewise.testing.sample_bundles import full_bundle, receipt
from edgewise.trust.keys import PrivateKey
from edgewise.trust.verification import sign_statement


def reported(bundle: Bundle, folder: Path, home: Home) -> Report:
    write_file(bundle, folder / "m.bundle")
    return make_report(str(folder / "m.bundle"), None, home)


def test_a_receipt_counts_only_for_the_files_that_it_is_about(
    tmp_path: Path, trusting_home: Home, signing_key: PrivateKey
) -> None:
    """Signed by a trusted key and listed by the release, but measured on the other variant's files."""
    bundle = full_bundle()
    right = receipt(bundle, "fp32", 0.9)
    wrong = Statement(RECEIPT, receipt(bundle, "int8").subject, receipt(bundle, "fp32", 0.8).predicate)
    evidence = [sign_statement(item, signing_key) for item in (right, wrong)]
    report = reported(sign_release(with_evidence(bundle, evidence), signing_key), tmp_path, trusting_home)
    assert report.trusted
    assert {item.metrics[0].value: counts for item, counts in report.receipts} == {0.9: True, 0.8: False}
    assert [item["trusted"] for item in report.to_json()["receipts"]].count(True) == 1


def test_no_receipt_of_a_bundle_that_is_not_trusted_counts(tmp_path: Path, trusting_home: Home) -> None:
    stranger, bundle = PrivateKey.new(), full_bundle()
    evidence = [sign_statement(receipt(bundle, name), stranger) for name in ("fp32", "int8")]
    report = reported(sign_release(with_evidence(bundle, evidence), stranger), tmp_path, trusting_home)
    assert not report.trusted
    assert report.signature.startswith("NOT TRUSTED: ")
    assert [counts for _, counts in report.receipts] == [False, False]


def test_the_size_is_that_of_every_blob_once_and_the_golden_inputs_are_counted(
    tmp_path: Path, trusting_home: Home
) -> None:
    bundle = full_bundle()
    report = reported(bundle, tmp_path, trusting_home)
    manifest, *blobs = bundle.blobs()
    assert report.size == sum(blob.size for blob in blobs)
    assert report.to_json()["bytes"] == report.size
    assert report.to_json()["manifest"] == manifest.digest
    assert report.golden_count == 2


def test_a_bundle_with_a_damaged_blob_is_refused_and_not_described(tmp_path: Path, trusting_home: Home) -> None:
    write_file(full_bundle(), tmp_path / "m.bundle")
    data = (tmp_path / "m.bundle").read_bytes()
    assert data.count(b"weights" * 20) == 1
    (tmp_path / "m.bundle").write_bytes(data.replace(b"weights" * 20, b"weighty" * 20))
    with pytest.raises(HostileBundleError) as raised:
        make_report(str(tmp_path / "m.bundle"), None, trusting_home)
    assert raised.value.rule == "digest-mismatch"


def test_a_training_step_is_described_though_nothing_of_it_is_run(spec: Path, trusting_home: Home) -> None:
    report = make_report(str(spec / "vectors" / "training" / "learner.bundle"), None, trusting_home)
    (step,) = report.teaching
    assert (step.variant, step.loss, step.optimizer) == ("fp32", "cross-entropy", "adam")
    assert (step.weights, step.tensors, step.learning_rate) == (4 * 6 + 6 + 6 * 3 + 3, 4, 0.0625)
    assert step.memory is not None
    assert report.to_json()["training"][0]["memory"]["fixedBytes"] == step.memory.fixed
    assert step.size > 0
