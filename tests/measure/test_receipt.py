"""A receipt reads back as it was written, and anything of another form is refused."""

from dataclasses import replace
from typing import Any

import pytest

from edgewise.bundle.document import Variant
from edgewise.bundle.statement import RECEIPT, Statement
from edgewise.errors import HostileBundleError
from edgewise.measure.latency import Latency
from edgewise.measure.metric import Metric
from edgewise.measure.receipt import Receipt, parse_receipt
from edgewise.testing.sample_bundles import sample_file

VARIANT = Variant("int8", "onnx", "int8", (sample_file("m.onnx", b"m"), sample_file("m.data", b"d")))
FULL = Receipt(
    variant="int8", engine="onnxruntime", engine_version="1.32.0", provider="CPUExecutionProvider", threads=3,
    device={"cpu": "X", "cores": 2}, data={"name": "d", "digest": "sha256:0", "samples": 9},
    metrics=(Metric("accuracy", 0.9, 0.8, 0.95, 9, "wilson"), Metric("rmse", 2.0, 1.0, 3.0, 9, "bootstrap", 0.9, False)),
    latency=Latency(1.0, 2.0, 3.0, 1.5, 600.0, 100), peak_rss=70_000_000, size=1234,
    placement={"CPUExecutionProvider": 7, "XNNPACKExecutionProvider": 5}, measured_at="2026-01-31T12:00:00Z",
    extra={"x-lab": "ours"},
)  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [{}, {"peak_rss": None}, {"latency": None, "threads": 1}, {"metrics": ()}, {"extra": {}}, {"placement": {}}, {"threads": 1}],
    ids=str,
)  # fmt: skip
def test_parse_after_write_is_the_identity(changes: dict[str, Any]) -> None:
    receipt = replace(FULL, **changes)
    assert parse_receipt(receipt.statement(VARIANT)) == receipt


def test_a_receipt_is_about_every_file_of_its_variant() -> None:
    statement = FULL.statement(VARIANT)
    assert statement.predicate_type == RECEIPT
    assert dict(statement.subject) == {
        VARIANT.files[0].digest: "int8/m.onnx",
        VARIANT.files[1].digest: "int8/m.data",
    }
    assert FULL.to_json()["placement"]["nodes"] == 12
    assert FULL.to_json()["latency"]["batch"] == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("variant", None), ("engine", {"name": "x"}), ("engine", "x"), ("provider", 3), ("device", ["x"]), ("data", "x"),
        ("metrics", [{"name": "accuracy"}]), ("metrics", {}), ("latency", {"p50Ms": 1}), ("memory", {"peakRssBytes": -1}),
        ("memory", {"peakRssBytes": 1.5}), ("size", {"bytes": "1"}), ("placement", {"byProvider": {"CPU": "7"}}),
        ("placement", {"byProvider": [1]}), ("placement", {}), ("measuredAt", "2026" * 9),
        ("latency", {**FULL.to_json()["latency"], "threads": 0}), ("latency", {**FULL.to_json()["latency"], "p95Ms": 0.5}),
    ],
    ids=str,
)  # fmt: skip
def test_a_field_of_another_form_is_refused(field: str, value: Any) -> None:
    predicate = FULL.to_json()
    if value is None:
        del predicate[field]
    else:
        predicate[field] = value
    with pytest.raises(HostileBundleError) as raised:
        parse_receipt(Statement(RECEIPT, {}, predicate))
    assert raised.value.rule == "evidence-malformed"


def test_threads_that_are_not_told_are_one() -> None:
    predicate = FULL.to_json()
    del predicate["latency"]["threads"]
    assert parse_receipt(Statement(RECEIPT, {}, predicate)).threads == 1
