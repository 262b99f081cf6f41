"""`edgewise eval` measures only what answers rightly, holds it to the requirements, and counts classes by their names."""

from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.bundle.build import build_bundle, with_evidence
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.safetensors import dump_arrays, parse_arrays
from edgewise.bundle.statement import Statement
from edgewise.compose.demo import digits_data
from edgewise.compose.evaluating import Evaluated, evaluate_path
from edgewise.digests import digest_of
from edgewise.errors import DataError, InputError, RequirementError, TensorError
from edgewise.measure.dataset import Dataset, with_labels
from edgewise.packing.pack import sign_release
from edgewise.runtime.requirements import Requirements
from edgewise.store.bundles import open_path, write_file
from edgewise.store.home import Home
from edgewise.testing.sample_bundles import receipt
from edgewise.trust.keys import PrivateKey
from edgewise.trust.verification import sign_statement

DATA = digits_data("calibration")
ONLY = {"engine": "onnxruntime", "variant": "int8"}


def measured(bundle: Path, data: Path, require: dict[str, Any] | None = None, **options: Any) -> Evaluated:
    given = {"trust": None, "unsafe_no_verification": False, "receipts": None, "key": None, **options}
    demanded = Requirements.parse(ONLY | (require or {}))
    return evaluate_path(Namespace(bundle=str(bundle), data=data, **given), demanded, lambda what, done, total: None)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.savez(tmp_path / "d.npz", x=DATA.x[:100], y=DATA.y[:100])
    return tmp_path / "d.npz"


@pytest.mark.parametrize(
    ("require", "words"),
    [({"max_p95_ms": 1e-6}, "p95 is"), ({"max_rss_mb": 1}, "peak memory is"), ({"max_metric_drop": 0.0}, "")],
)
def test_a_requirement_that_does_not_hold_is_told_beside_what_was_measured(
    require: dict[str, Any], words: str, digits_bundle: Path, data: Path, trusting_home: Home
) -> None:
    result = measured(digits_bundle, data, require)
    (row,) = result.rows
    assert words in row.unmet
    assert bool(row.unmet) == bool(words)
    assert result.met == (not words)
    assert result.to_json()["results"][0]["unmet"] == row.unmet


def test_data_that_does_not_fit_is_the_users_fault_and_says_how(
    digits_bundle: Path, tmp_path: Path, trusting_home: Home
) -> None:
    np.savez(tmp_path / "wrong.npz", x=DATA.x[:20].astype(np.float64), y=DATA.y[:20])
    with pytest.raises((DataError, TensorError), match="float64") as caught:
        measured(digits_bundle, tmp_path / "wrong.npz")
    assert caught.value.exit_code == 1


def test_a_key_without_receipts_is_a_contradiction(digits_bundle: Path, data: Path, trusting_home: Home) -> None:
    with pytest.raises(InputError, match="--key is for signing receipts"):
        measured(digits_bundle, data, key=Path("x.key"))


def test_classes_are_counted_by_name(digits_bundle: Path, tmp_path: Path, trusting_home: Home) -> None:
    turned = np.array([str(9 - at) for at in range(10)])
    np.savez(tmp_path / "turned.npz", x=DATA.x[:100], y=9 - DATA.y[:100], class_names=turned)
    assert measured(digits_bundle, tmp_path / "turned.npz").rows[0].evaluation.metrics[0].value > 0.9


def test_a_class_that_the_model_lacks_is_named_and_fewer_classes_are_fine() -> None:
    data = Dataset(np.zeros((3, 2)), np.array([0, 1, 1]), None, ("b", "c"))
    assert with_labels(data, ("a", "b", "c")).y.tolist() == [1, 2, 2]
    assert with_labels(data, ()).y.tolist() == [0, 1, 1]
    with pytest.raises(DataError, match="classes that the model lacks: c"):
        with_labels(data, ("a", "b"))
    with pytest.raises(DataError, match="y counts to 5"):
        with_labels(Dataset(np.zeros((1, 2)), np.array([5]), None, ("b", "c")), ("a", "b", "c"))


def with_receipts(bundle: Bundle, key: PrivateKey, *receipts: Statement) -> Bundle:
    files = {file.digest: bundle.read(file) for file in bundle.document.all_files()}
    plain = build_bundle(bundle.document, list(files.values()))
    return sign_release(with_evidence(plain, [sign_statement(item, key) for item in receipts]), key)


def test_a_drop_that_the_receipts_tell_is_not_met_whatever_is_measured_here(
    digits_bundle: Path, data: Path, tmp_path: Path, trusting_home: Home, signing_key: PrivateKey
) -> None:
    bundle = open_path(digits_bundle)
    told = [receipt(bundle, "fp32", 0.95), receipt(bundle, "int8", 0.75)]
    write_file(with_receipts(bundle, signing_key, *told), tmp_path / "m.bundle")
    (row,) = measured(tmp_path / "m.bundle", data, {"max_metric_drop": 0.1}).rows
    assert "int8: accuracy 0.75 is 0.2 worse than fp32's" in row.unmet
    assert measured(tmp_path / "m.bundle", data, {"max_metric_drop": 0.25}).met
    assert measured(tmp_path / "m.bundle", data).met, "nobody asked"


def test_a_row_stands_beside_the_receipt_of_its_own_engine(
    digits_bundle: Path, data: Path, tmp_path: Path, trusting_home: Home, signing_key: PrivateKey
) -> None:
    bundle = open_path(digits_bundle)
    own = receipt(bundle, "int8", 0.9)
    for at in range(4):  # in whatever order they come to lie
        other = receipt(bundle, "int8", 0.8 + at / 100)
        other = replace(other, predicate={**other.predicate, "engine": {"name": "another", "version": "1"}})
        write_file(with_receipts(bundle, signing_key, other, own, receipt(bundle, "fp32")), tmp_path / "m.bundle")
        (row,) = measured(tmp_path / "m.bundle", data).rows
        assert row.receipt is not None
        assert (row.receipt.variant, row.receipt.engine, row.receipt.metrics[0].value) == ("int8", "onnxruntime", 0.9)
    assert row.evaluation.peak_rss is not None
    assert row.evaluation.peak_rss > 20e6
    write_file(with_receipts(bundle, signing_key, other), tmp_path / "m.bundle")
    (row,) = measured(tmp_path / "m.bundle", data).rows
    assert row.receipt is not None
    assert row.receipt.engine == "another", "better than none"


def test_what_does_not_give_its_golden_answers_is_named_and_not_measured(
    digits_bundle: Path, data: Path, tmp_path: Path, trusting_home: Home, signing_key: PrivateKey
) -> None:
    bundle = open_path(digits_bundle)
    golden = bundle.document.golden
    assert golden is not None
    arrays = dict(parse_arrays(bundle.read(golden.file), "golden"))
    arrays["out/int8/probabilities"] = arrays["out/int8/probabilities"][::-1].copy()
    content = dump_arrays(arrays)
    file = replace(golden.file, digest=digest_of(content), size=len(content))
    changed = replace(bundle.document, golden=replace(golden, file=file))
    files = [bundle.read(file) for variant in bundle.document.variants for file in variant.files]
    write_file(sign_release(build_bundle(changed, [*files, content]), signing_key), tmp_path / "m.bundle")
    given = {"trust": None, "unsafe_no_verification": False, "receipts": None, "key": None}
    options = Namespace(bundle=str(tmp_path / "m.bundle"), data=data, **given)
    result = evaluate_path(options, Requirements(engine="onnxruntime"), lambda what, done, total: None)
    assert [row.evaluation.candidate.variant for row in result.rows] == ["fp32"]
    ((candidate, reason),) = result.failed
    assert candidate.variant == "int8"
    assert "golden replay" in reason
    assert result.to_json()["failed"][0]["reason"] == reason
    with pytest.raises(RequirementError, match="golden replay"):
        evaluate_path(options, Requirements(engine="onnxruntime", variant="int8"), lambda what, done, total: None)
