"""Packing: reproducible, measured, and refused where variants contradict each other."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgewise.bundle.tensors import TensorSpec
from edgewise.compose.demo import digits_data, digits_models
from edgewise.errors import InputError, ModelError
from edgewise.importing.imported import ImportedModel
from edgewise.measure.receipt import parse_receipt
from edgewise.packing.pack import PackRequest, pack
from edgewise.store.bundles import open_path, write_file
from edgewise.trust.keys import PrivateKey
from edgewise.trust.root import TrustRoot
from edgewise.trust.verification import verify_bundle


@pytest.fixture(scope="module")
def models() -> dict[str, ImportedModel]:
    return digits_models()


def test_packing_twice_gives_the_same_bytes(
    models: dict[str, ImportedModel], signing_key: PrivateKey, tmp_path: Path
) -> None:
    request = PackRequest("digits", "1.0.0", models, "classification", golden=digits_data("calibration"))
    for name in ("one", "two"):
        write_file(pack(request, signing_key).bundle, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_receipts_say_what_was_measured_and_are_covered_by_the_release(
    digits_bundle: Path, signing_key: PrivateKey
) -> None:
    bundle = open_path(digits_bundle)
    verified = verify_bundle(bundle, TrustRoot().with_key(signing_key.public, "tests"))
    receipts = {item.variant: item for item in (parse_receipt(evidence.statement) for evidence in verified.receipts)}
    assert set(receipts) == {"fp32", "int8"}
    assert all(evidence.released for evidence in verified.receipts)
    for name, receipt in receipts.items():
        accuracy = receipt.metrics[0]
        assert accuracy.name == "accuracy"
        assert accuracy.samples == 497
        assert 0.9 < accuracy.low < accuracy.value <= accuracy.high
        assert receipt.size == bundle.variant(name).size
        assert receipt.latency is not None
        assert receipt.latency.p50_ms > 0
        assert sum(receipt.placement.values()) > 3
        assert receipt.data["name"] == "uci-digits-eval"
        assert receipt.device["cores"] >= 1


def test_variants_with_another_interface_are_refused(models: dict[str, ImportedModel], signing_key: PrivateKey) -> None:
    other = replace(models["int8"], inputs=(TensorSpec("other", "float32", ("batch", 3)),))
    with pytest.raises(ModelError, match="other inputs"):
        pack(PackRequest("digits", "1", {"fp32": models["fp32"], "int8": other}, "classification"), signing_key)


def test_nothing_to_pack_is_an_error(signing_key: PrivateKey) -> None:
    with pytest.raises(InputError):
        pack(PackRequest("digits", "1", {}), signing_key)


def test_data_that_does_not_fit_the_model_is_refused_naming_the_example(
    models: dict[str, ImportedModel], signing_key: PrivateKey
) -> None:
    data = digits_data("calibration")
    wrong = replace(data, x=data.x.astype(np.float32))
    with pytest.raises(InputError, match=r"example 0 .*uint8"):
        pack(PackRequest("digits", "1", models, "classification", evaluation=wrong), signing_key)
