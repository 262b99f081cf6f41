"""`edgewise verify` fails what does not hold, and neither more nor less."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgewise.bundle.build import build_bundle, with_evidence
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.safetensors import dump_arrays, parse_arrays
from edgewise.bundle.statement import RECEIPT, Statement
from edgewise.cli.main import main
from edgewise.compose.verifying import Check, verify_path
from edgewise.digests import digest_of
from edgewise.packing.pack import sign_release
from edgewise.store.bundles import open_path, write_file
from edgewise.store.home import Home
from edgewise.trust.keys import PrivateKey
from edgewise.trust.verification import sign_statement


def named(checks: tuple[Check, ...], start: str) -> list[Check]:
    return [check for check in checks if check.what.startswith(start)]


def with_spoilt_golden(bundle: Bundle, key: PrivateKey, *variants: str) -> Bundle:
    """The bundle with other recorded outputs for ``variants``, signed anew."""
    document = bundle.document
    assert document.golden is not None
    arrays = dict(parse_arrays(bundle.read(document.golden.file), "golden"))
    for variant in variants:
        arrays[f"out/{variant}/probabilities"] = arrays[f"out/{variant}/probabilities"][::-1].copy()
    golden = dump_arrays(arrays)
    file = replace(document.golden.file, digest=digest_of(golden), size=len(golden))
    changed = replace(document, golden=replace(document.golden, file=file))
    files = [bundle.read(file) for variant in document.variants for file in variant.files]
    return sign_release(build_bundle(changed, [*files, golden]), key)


def test_a_variant_that_no_engine_runs_rightly_has_failed_and_the_other_has_not(
    digits_bundle: Path, tmp_path: Path, trusting_home: Home, signing_key: PrivateKey
) -> None:
    path = tmp_path / "spoilt.bundle"
    write_file(with_spoilt_golden(open_path(digits_bundle), signing_key, "int8"), path)
    result = verify_path(str(path), None, replay=True)
    assert not result.passed
    assert {check.state for check in named(result.checks, "replay int8")} == {"FAILED"}
    assert "ok" in {check.state for check in named(result.checks, "replay fp32")}
    assert "FAILED" not in {check.state for check in named(result.checks, "replay fp32")}
    assert main(["verify", str(path), "--replay"]) == 4


def test_evidence_by_a_stranger_does_not_count_and_spoils_nothing(
    digits_bundle: Path, tmp_path: Path, trusting_home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle, stranger = open_path(digits_bundle), PrivateKey.new()
    subject = {file.digest: file.path for file in bundle.document.variants[0].files}
    more = [
        sign_statement(Statement(kind, subject, {"variant": "fp32\x1b[2J", "engine": {"name": "x"}}), stranger)
        for kind in ("foo", "https://slsa.dev/provenance/v1", "urn:x")
    ]
    path = tmp_path / "more.bundle"
    write_file(with_evidence(bundle, more), path)
    result = verify_path(str(path), None, replay=False)
    assert result.passed
    assert result.proven
    strangers = [check for check in result.checks if check.state == "-"]
    assert {check.what.split()[0] for check in strangers} == {"foo", "https://slsa.dev/provenance/v1", "urn:x"}
    assert all("does not count" in check.details and check.what.isprintable() for check in strangers)
    assert main(["inspect", str(path)]) == 0
    assert "Other evidence" in capsys.readouterr().out


def test_a_receipt_by_a_stranger_is_not_believed(digits_bundle: Path, tmp_path: Path, trusting_home: Home) -> None:
    bundle = open_path(digits_bundle)
    subject = {file.digest: file.path for file in bundle.document.variants[0].files}
    forged = sign_statement(Statement(RECEIPT, subject, {"variant": "fp32"}), PrivateKey.new())
    path = tmp_path / "forged.bundle"
    write_file(with_evidence(bundle, [forged]), path)
    result = verify_path(str(path), None, replay=False)
    assert [check.state for check in result.checks].count("-") == 1
    assert result.passed
    assert main(["inspect", str(path)]) == 0, "one that cannot be read hides nothing either"


def test_without_verification_nothing_is_called_proven(
    digits_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = verify_path(str(digits_bundle), None, replay=False, unsafe_no_verification=True)
    assert result.passed
    assert not result.proven
    assert [check.state for check in named(result.checks, "release signature")] == ["-"]
    assert main(["verify", str(digits_bundle), "--unsafe-no-verification"]) == 0
    out = capsys.readouterr().out
    assert "nothing is proven" in out
    assert "proven: what" not in out
