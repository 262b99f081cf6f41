"""What is demanded and cannot be shown to hold counts as not held."""

from dataclasses import replace

import pytest

from edgewise.errors import ProbeError
from edgewise.measure.demands import too_inaccurate, unmet
from edgewise.measure.latency import Latency
from edgewise.measure.metric import Metric
from edgewise.measure.receipt import Receipt
from edgewise.runtime.requirements import Requirements

FAST = Latency.of([0.001] * 10)


def never() -> int:
    raise AssertionError("memory was measured although nobody asked")


def receipt(variant: str, value: float, spread: float) -> Receipt:
    metric = Metric("accuracy", value, value - spread, value + spread, 500, "wilson")
    return Receipt(variant, "onnxruntime", "1", "CPU", 1, {}, {}, (metric,), None, None, 1, {}, "")


def test_receipts_rule_out_what_is_clearly_worse_and_nothing_else() -> None:
    close = [receipt("fp32", 0.95, 0.02), receipt("int8", 0.93, 0.02)]
    apart = [receipt("fp32", 0.95, 0.01), receipt("int4", 0.80, 0.02)]
    assert too_inaccurate(close, ["fp32", "int8"], None) == {}
    assert set(too_inaccurate(apart, ["fp32", "int4"], None)) == {"int4"}
    assert set(too_inaccurate(close, ["fp32", "int8"], 0.01)) == {"int8"}
    assert too_inaccurate(apart, ["fp32", "int4"], 0.2) == {}
    assert too_inaccurate(close[:1], ["fp32"], None) == {}


def test_a_drop_that_no_receipt_bounds_does_not_hold() -> None:
    assert set(too_inaccurate([], ["fp32", "int8"], 0.0)) == {"fp32", "int8"}
    assert set(too_inaccurate([receipt("fp32", 0.95, 0.01)], ["fp32", "int8"], 0.5)) == {"int8"}
    assert too_inaccurate([], ["fp32"], None) == {}


def test_latency_and_memory_are_judged_in_turn() -> None:
    assert unmet(Requirements(), "fp32", FAST, never) == ("", None)
    assert unmet(Requirements(max_p95_ms=2), "fp32", FAST, never) == ("", None)
    assert "p95 is 1.000 ms" in unmet(Requirements(max_p95_ms=0.5, max_rss_mb=1), "fp32", FAST, never)[0]
    reason, peak = unmet(Requirements(max_rss_mb=1), "fp32", FAST, lambda: 2_000_000)
    assert ("peak memory is 2 MB" in reason, peak) == (True, 2_000_000)
    assert unmet(Requirements(max_rss_mb=3), "fp32", FAST, lambda: 2_000_000) == ("", 2_000_000)


def test_what_cannot_be_measured_does_not_hold() -> None:
    assert "cannot be measured" in unmet(Requirements(max_p95_ms=5), "fp32", None, never)[0]

    def killed() -> int:
        raise ProbeError("it was killed")

    assert unmet(Requirements(max_rss_mb=5), "fp32", FAST, killed) == ("it was killed", None)


@pytest.mark.parametrize("lower_is_better", [True, False])
def test_the_direction_of_the_metric_counts(lower_is_better: bool) -> None:
    def made(variant: str, value: float) -> Receipt:
        metric = Metric("m", value, value, value, 9, "x", higher_is_better=not lower_is_better)
        return Receipt(variant, "onnxruntime", "1", "CPU", 1, {}, {}, (metric,), None, None, 1, {}, "")

    worse = {"a"} if lower_is_better else {"b"}
    assert set(too_inaccurate([made("a", 2.0), made("b", 1.0)], ["a", "b"], None)) == worse


def test_figures_of_other_data_or_other_metrics_are_not_compared() -> None:
    def told(variant: str, value: float, name: str = "accuracy", data: str = "easy") -> Receipt:
        metric = Metric(name, value, value - 0.01, value + 0.01, 500, "wilson")
        return Receipt(variant, "onnxruntime", "1", "CPU", 1, {}, {"digest": data}, (metric,), None, None, 1, {}, "")

    names = ["fp32", "int8"]
    assert too_inaccurate([told("fp32", 0.95), told("int8", 0.3, "macro_f1")], names, None) == {}
    mixed = [told("int8", 0.6, data="hard"), told("fp32", 0.95), told("int8", 0.94)]
    for order in (mixed, mixed[::-1]):
        assert too_inaccurate(order, names, None) == {}
        assert too_inaccurate(order, names, 0.005).keys() == {"int8"}
    assert too_inaccurate([*mixed, told("fp32", 0.9, data="hard")], names, None).keys() == {"int8"}


def test_bounds_may_be_reached() -> None:
    exact = Latency(1.0, 2.0, 3.0, 1.5, 600.0, 10)
    assert unmet(Requirements(max_p95_ms=2.0), "fp32", exact, never) == ("", None)
    assert unmet(Requirements(max_p95_ms=1.99), "fp32", exact, never)[0]
    assert unmet(Requirements(max_rss_mb=2), "fp32", exact, lambda: 2_000_000) == ("", 2_000_000)
    assert unmet(Requirements(max_rss_mb=2), "fp32", exact, lambda: 2_000_001)[0]
    half = [receipt("fp32", 0.75, 0.0), receipt("int8", 0.5, 0.0)]
    assert too_inaccurate(half, ["fp32", "int8"], 0.25) == {}
    assert too_inaccurate(half, ["fp32", "int8"], 0.24).keys() == {"int8"}
    touching = [receipt("fp32", 0.75, 0.125), receipt("int8", 0.5, 0.125)]
    assert too_inaccurate(touching, ["fp32", "int8"], None) == {}


def test_where_several_engines_were_measured_onnxruntime_speaks_for_the_variant() -> None:
    good = receipt("int8", 0.95, 0.01)
    bad = replace(receipt("int8", 0.5, 0.01), engine="openvino")
    for order in ([good, bad], [bad, good]):
        assert too_inaccurate([receipt("fp32", 0.95, 0.01), *order], ["fp32", "int8"], None) == {}
