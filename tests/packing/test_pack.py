"""Packing: reproducible, measured, and refused where variants contradict each other."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgewise.bundle.tensors import TensorSpec
from edgewise.compose.demo import digits_data, digits_models
from edgewise.errors import InputError, ModelError
from edgewise.importing.imported import ImportedModel
from edgewise.importing.onnx_file import onnx_from_bytes
from edgewise.measure.receipt import parse_receipt
from edgewise.packing.pack import PackRequest, pack
from edgewise.runtime.golden_set import read_golden
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
        assert receipt.peak_rss is not None
        assert receipt.peak_rss > 20e6


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


def test_the_golden_set_allows_what_the_precision_of_each_variant_needs(digits_bundle: Path) -> None:
    golden = open_path(digits_bundle).document.golden
    assert golden is not None
    assert dict(golden.absolute_by_variant) == {"fp32": 1e-3, "int8": 5e-2}
    assert (golden.absolute, golden.relative, golden.agreement) == (5e-2, 1e-3, 1 - 1 / 32)


def test_fp32_alone_has_to_decide_the_same_every_time(models: dict[str, ImportedModel]) -> None:
    golden_data, held_out = digits_data("calibration"), digits_data("eval")
    request = PackRequest(
        "digits", "1", {"fp32": models["fp32"]}, "classification", golden=golden_data, golden_count=5,
        evaluation=replace(held_out, x=held_out.x[:40], y=held_out.y[:40]),
    )  # fmt: skip
    packed = pack(request, PrivateKey(bytes(32)))
    golden, recorded = packed.bundle.document.golden, read_golden(packed.bundle)
    assert golden is not None
    assert recorded is not None
    assert (golden.agreement, golden.absolute, golden.extra["source"]) == (1.0, 1e-3, "data")
    rows = {row.tobytes() for row in golden_data.x}
    assert recorded.count == 5
    assert all(row.tobytes() in rows for row in recorded.inputs["image"]), "taken from what was given for it"
    (evidence,) = verify_bundle(packed.bundle, TrustRoot().with_key(PrivateKey(bytes(32)).public, "x")).receipts[:1]
    assert parse_receipt(evidence.statement).data["name"] == "data"
    assert parse_receipt(evidence.statement).data["samples"] == 40


def test_what_is_asked_for_wins_over_what_the_model_says(models: dict[str, ImportedModel]) -> None:
    model = replace(models["fp32"], labels=tuple("abcdefghij"), extra_files={"LICENSE": b"MIT", "a.json": b"{}"})
    plain = PackRequest("digits", "1", {"fp32": model}, "classification", golden_count=0)
    document = pack(plain, None).bundle.document
    assert (document.labels, document.inputs, document.decision) == (model.labels, model.inputs, "probabilities")
    assert [file.path for file in document.files] == ["LICENSE", "a.json"]
    asked = replace(
        plain, labels=tuple("0123456789"), files={"a.json": b"[]"},
        inputs=tuple(replace(spec, range=(0.0, 100.0)) for spec in model.inputs),
    )  # fmt: skip
    bundle = pack(asked, None).bundle
    assert (bundle.document.labels, bundle.document.inputs) == (tuple("0123456789"), asked.inputs)
    assert [bundle.read(file) for file in bundle.document.files] == [b"MIT", b"[]"]


@pytest.mark.parametrize(("task", "decides"), [("tensor", ""), ("regression", "y")])
def test_with_several_outputs_the_first_decides_only_where_the_task_needs_one(task: str, decides: str) -> None:
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["z"])]
    infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1]) for name in "xyz"]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    request = PackRequest("m", "1", {"fp32": onnx_from_bytes("m.onnx", data)}, task, golden_count=0)
    assert pack(request, None).bundle.document.decision == decides
    assert pack(replace(request, decision="z"), None).bundle.document.decision == "z"


def test_a_variant_that_takes_less_than_the_first_is_told(models: dict[str, ImportedModel]) -> None:
    (spec,) = models["int8"].inputs
    fixed = replace(models["int8"], inputs=(replace(spec, shape=(1, *spec.shape[1:])),))
    request = PackRequest("m", "1", {"fp32": models["fp32"], "int8": fixed}, "classification", golden_count=0)
    assert any("int8 takes only" in note for note in pack(request, None).notes)
