"""What was measured against what is demanded: one judgement for choosing and for evaluating."""

from collections.abc import Callable, Mapping

from edgewise.errors import EdgewiseError
from edgewise.measure.latency import Latency
from edgewise.measure.metric import Metric
from edgewise.measure.receipt import Receipt
from edgewise.runtime.requirements import Requirements

__all__ = ["too_inaccurate", "unmet"]


def unmet(
    require: Requirements, variant: str, latency: Latency | None, peak_memory: Callable[[], int]
) -> tuple[str, int | None]:
    """Why latency or memory do not hold, empty where they do; and the peak memory in bytes where it was asked for.

    peak_memory is called only where ``max_rss_mb`` is demanded and the latency holds. What cannot be measured does not hold.
    """
    if require.max_p95_ms is not None:
        if latency is None:
            return f"{variant}: its p95 cannot be measured, since no input could be made that it takes", None
        if latency.p95_ms > require.max_p95_ms:
            return f"{variant}: p95 is {latency.p95_ms:.3f} ms, at most {require.max_p95_ms:g} is required", None
    if require.max_rss_mb is None:
        return "", None
    try:
        peak = peak_memory()
    except EdgewiseError as error:
        return error.what, None
    if peak > require.max_rss_mb * 1e6:
        return f"{variant}: peak memory is {peak / 1e6:.0f} MB, at most {require.max_rss_mb:g} is required", peak
    return "", peak


def too_inaccurate(receipts: list[Receipt], variants: list[str], max_drop: float | None) -> Mapping[str, str]:
    """Variant -> why its receipts forbid it: its first metric is worse than the best variant's, on the same data.

    Without ``max_drop``: where the intervals do not even touch. With it: where the drop is larger, and where no receipt says
    how large it is.
    """
    reasons: dict[str, str] = {}
    groups = _comparable(receipts)
    if max_drop is not None:
        told = {name for group in groups for name in group}
        unknown = [name for name in variants if name not in told]
        reasons = dict.fromkeys(
            unknown, "no receipt that you trust says how good it is, so max_metric_drop cannot hold"
        )
    for group in groups:
        for name, reason in _worse(group, max_drop).items():
            reasons.setdefault(name, reason)
    return reasons


def _comparable(receipts: list[Receipt]) -> list[dict[str, Metric]]:
    """Variant -> first metric, for each metric and data set apart: figures of other data say nothing of a difference."""
    groups: dict[tuple[str, str], dict[str, Metric]] = {}
    for receipt in sorted(receipts, key=lambda receipt: receipt.engine != "onnxruntime"):
        if receipt.metrics:
            key = receipt.metrics[0].name, str(receipt.data.get("digest", ""))
            groups.setdefault(key, {}).setdefault(receipt.variant, receipt.metrics[0])
    return list(groups.values())


def _worse(metrics: Mapping[str, Metric], max_drop: float | None) -> dict[str, str]:
    sign = 1 if next(iter(metrics.values())).higher_is_better else -1
    best_name = max(metrics, key=lambda name: sign * metrics[name].value)
    best = metrics[best_name]
    reasons: dict[str, str] = {}
    for name, metric in metrics.items():
        drop = sign * (best.value - metric.value)
        apart = metric.high < best.low if sign > 0 else metric.low > best.high
        if (max_drop is None and apart) or (max_drop is not None and drop > max_drop):
            allowed = "the intervals do not touch" if max_drop is None else f"at most {max_drop:g} is allowed"
            reasons[name] = (
                f"{name}: {metric.name} {metric.value:.4g} is {drop:.4g} worse than {best_name}'s {best.value:.4g}; {allowed}"
            )
    return reasons
