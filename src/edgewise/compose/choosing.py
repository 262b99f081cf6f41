"""Making a choice: what ``measure`` needs, handed to it, and the result kept."""

import sys
from collections.abc import Mapping
from pathlib import Path

from edgewise.bundle.bundle import Bundle
from edgewise.clock import SystemClock
from edgewise.compose.choices import write_choice
from edgewise.compose.receipts import believed_receipts
from edgewise.measure.choice import Choice, choose
from edgewise.measure.memory import peak_memory
from edgewise.measure.metric import Metric
from edgewise.measure.receipt import Receipt
from edgewise.runtime.device import DeviceFacts
from edgewise.runtime.requirements import Requirements
from edgewise.store.home import Home
from edgewise.trust.verification import Verification

__all__ = ["choose_and_keep", "rule_out"]


def choose_and_keep(
    bundle: Bundle,
    path: Path,
    require: Requirements,
    home: Home,
    device: DeviceFacts,
    verification: Verification | None,
) -> Choice:
    """Measure every candidate, choose, keep the choice. ``path`` is where the bundle lies, for measuring processes."""
    receipts = believed_receipts(bundle, verification)
    choice = choose(
        bundle,
        require,
        home=home,
        device=device,
        clock=SystemClock(),
        peak_memory=lambda candidate: peak_memory(path, candidate, home, sys.executable).peak,
        too_inaccurate=rule_out(receipts, require.max_metric_drop),
    )
    write_choice(
        bundle, require, home, device, choice.candidate, choice.reason, [trial.to_json() for trial in choice.trials]
    )
    return choice


def rule_out(receipts: list[Receipt], max_drop: float | None) -> Mapping[str, str]:
    """Variant -> why its receipts forbid it: its first metric is worse than the best variant's.

    Without ``max_drop``: where the intervals do not even touch. With it: where the drop is larger.
    """
    metrics: dict[str, Metric] = {}
    for receipt in receipts:
        if receipt.metrics and (receipt.variant not in metrics or receipt.engine == "onnxruntime"):
            metrics[receipt.variant] = receipt.metrics[0]
    if len(metrics) < 2:
        return {}
    signs = {name: 1 if metric.higher_is_better else -1 for name, metric in metrics.items()}
    best_name = max(metrics, key=lambda name: signs[name] * metrics[name].value)
    best, sign = metrics[best_name], signs[best_name]
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
