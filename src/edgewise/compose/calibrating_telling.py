"""What a calibration found, in words, in a table, as JSON and as what a page says: the same numbers four times."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from edgewise.routing.fitting.types import Calibrated, Curve, Fit, Point, Stage
from edgewise.routing.page import Sheet, Story
from edgewise.routing.tradeoff import tradeoff_of

__all__ = [
    "HEAD",
    "group_rows",
    "price_of",
    "promise_of",
    "rests_on",
    "shown_cost",
    "story_of",
    "to_json",
    "variant_rows",
]

_ABOUT = {
    "gap": "of accuracy below upstream", "disagreement": "below upstream: no more of the answers are others than its",
    "loss": "of the largest cost lost against upstream",
}  # fmt: skip
HEAD = (
    "variant", "rule", "passed on", "lost", "oracle", "tuned without", "accuracy here", "upstream", "together", "cost",
)  # fmt: skip
_NUMBERS = frozenset(range(2, len(HEAD)))
_SHOWN = 50  # groups in a table


def promise_of(fit: Fit) -> str:
    """The promise in words, with what it assumes."""
    epsilon, delta = 100 * fit.promise.epsilon, 100 * fit.promise.delta
    point = "point" if epsilon == 1 else "points"
    each = " in each class that the device decides" if fit.stages[0].by_group else ""
    if fit.chosen.offload >= 1:
        return f"Nothing can be kept on the device under at most {epsilon:g} {point} below upstream: every input goes there."
    return (
        f"At most {epsilon:g} {point} {_ABOUT[fit.loss]}{each}, except with {delta:g} % chance over the draw of the calibration "
        "samples; assumes inputs like these, and upstream as it was."
    )


def rests_on(fit: Fit) -> str:
    """The sizes of both parts of the split, and what they are for."""
    blocks = f" in {fit.blocks:,} blocks" if fit.blocks else ""
    chose = f"{fit.selected:,} others to choose rule and variant by" if fit.selected else "nothing had to be chosen"
    return f"{fit.samples:,} samples{blocks} that the promise rests on ({fit.test}); {chose}"


def price_of(fit: Fit) -> str:
    """What the promise costs against the oracle."""
    if fit.chosen.offload >= 1:
        least = f"; at least {fit.to_keep:,} samples are needed" if fit.to_keep > fit.samples else ""
        return f"No bundle is written{least}: collect more samples, promise less, or take a better variant."
    chosen, oracle = 100 * fit.chosen.offload, 100 * fit.oracle.offload
    times = "" if not math.isfinite(fit.price) else f": {fit.price:.2f} times as much"
    return f"The promise passes on {chosen:.1f} %, and an oracle that knows the losses {oracle:.1f} %{times}."


def shown_cost(fit: Fit, minimise: str) -> str:
    """The expected cost of one answer in the unit of what is made small."""
    if minimise == "latency":
        return f"{1000 * fit.parts.get('seconds', fit.cost):.3g} ms"
    if minimise == "bytes":
        return f"{fit.parts.get('bytes', fit.cost):.3g} B"
    if minimise == "energy":
        return f"{1000 * fit.parts.get('joules', fit.cost):.3g} mJ"
    return f"{1000 * fit.parts.get('money', fit.cost):.3g} USD/1000"


def fits_of(calibrated: Calibrated) -> list[Fit]:
    """All of them: every variant's own, and the cascade's."""
    return [*calibrated.each, *([calibrated.cascade] if calibrated.cascade is not None else [])]


def variant_rows(calibrated: Calibrated, minimise: str) -> tuple[list[tuple[str, ...]], int]:
    """A row for each variant and for the cascade, as ``HEAD`` says, and which is the chosen one."""
    fits = fits_of(calibrated)
    rows: list[tuple[str, ...]] = [
        (
            fit.name, " -> ".join(_rule(stage) for stage in fit.stages), _percent(fit.chosen.offload), _points(fit.chosen.lost),
            _percent(fit.oracle.offload), f"{_percent(fit.naive.offload)}, {_points(fit.naive.lost)} lost",
            _accuracy(fit.local), _accuracy(fit.upstream), _accuracy(fit.chosen), shown_cost(fit, minimise),
        )
        for fit in fits
    ]  # fmt: skip
    return rows, next(at for at, fit in enumerate(fits) if fit.name == calibrated.chosen.name)


def group_rows(fit: Fit) -> list[tuple[str, ...]]:
    """(label, threshold) for each group of the first stage; empty where the promise is one for all."""
    return [
        (label, "all passed on" if threshold is None else f"{threshold:.4g}")
        for label, threshold in fit.stages[0].by_group.items()
    ]


def to_json(calibrated: Calibrated, minimise: str) -> dict[str, Any]:
    """Everything as JSON values."""
    chosen = calibrated.chosen
    return {
        "chosen": chosen.name, "promise": promise_of(chosen), "price": price_of(chosen), "minimise": minimise,
        "notes": list(calibrated.notes), "variants": [_fit_json(fit) for fit in fits_of(calibrated)],
    }  # fmt: skip


def story_of(
    ref: str,
    calibrated: Calibrated,
    data: Mapping[str, object],
    upstream: str,
    minimise: str,
    told: Sequence[str],
) -> Story:
    """What the page says."""
    fit = calibrated.chosen
    refused = fit.chosen.offload >= 1
    rows, own = variant_rows(calibrated, minimise)
    sheets = [Sheet("Variants", HEAD, tuple(rows), _NUMBERS, own)]
    if groups := group_rows(fit):
        sheets.append(Sheet("Thresholds by class", ("class", "kept from"), tuple(groups[:_SHOWN]), frozenset({1})))
    notes = (
        f"{rests_on(fit)[0].upper()}{rests_on(fit)[1:]}.", price_of(fit),
        f"Samples: {data.get('name')}, {data.get('samples'):,} in all ({str(data.get('digest'))[:19]}).", f"Upstream: {upstream}.",
        *calibrated.notes, *told,
    )  # fmt: skip
    title = f"{ref}: " + ("every input goes upstream" if refused else f"{_percent(fit.chosen.offload)} go upstream")
    return Story(title, promise_of(fit), _facts(fit, minimise), tradeoff_of(calibrated), tuple(sheets), notes, refused)


def _facts(fit: Fit, minimise: str) -> tuple[tuple[str, str, str], ...]:
    epsilon = 100 * fit.promise.epsilon
    if fit.chosen.offload >= 1:
        return (
            ("100 %", "go upstream", "nothing is answered on the device"),
            (_percent(fit.oracle.offload), "would by an oracle", "that knows what each answer loses"),
            (f"{fit.samples:,}", "samples", f"for a promise of {epsilon:g} points"),
        )
    price = f"{fit.price:.2f}" if math.isfinite(fit.price) else "-"
    return (
        (_percent(fit.chosen.offload), "go upstream", f"{_percent(1 - fit.chosen.offload)} are answered on the device"),
        (_points(fit.chosen.lost), "points lost", f"on {fit.samples:,} samples; at most {epsilon:g} are promised"),
        (price, "times the oracle's", f"{_percent(fit.chosen.offload)} against {_percent(fit.oracle.offload)}"),
        (fit.name, "chosen", f"{shown_cost(fit, minimise)} expected for one answer"),
    )


def _fit_json(fit: Fit) -> dict[str, Any]:
    price = fit.price if math.isfinite(fit.price) else None
    return {
        "name": fit.name, "loss": fit.loss, "test": fit.test, "samples": fit.samples, "selected": fit.selected,
        "blocks": fit.blocks, "epsilon": fit.promise.epsilon, "delta": fit.promise.delta,
        "stages": [_stage_json(stage) for stage in fit.stages],
        "chosen": _point_json(fit.chosen), "oracle": _point_json(fit.oracle), "naive": _point_json(fit.naive),
        "local": _point_json(fit.local), "upstream": _point_json(fit.upstream), "timesOracle": price, "seconds": fit.seconds,
        "bytes": fit.bytes, "cost": fit.cost, "parts": dict(fit.parts), "toKeep": fit.to_keep, "toNear": fit.to_near,
        "curve": _curve_json(fit.curve),
    }  # fmt: skip


def _stage_json(stage: Stage) -> dict[str, Any]:
    return {
        "variant": stage.variant, "rule": dict(stage.rule), "threshold": stage.threshold, "byGroup": dict(stage.by_group),
        "reached": stage.reached, "kept": stage.kept,
    }  # fmt: skip


def _point_json(point: Point) -> dict[str, Any]:
    return {"offload": point.offload, "lost": point.lost, "accuracy": point.accuracy, "threshold": point.threshold}


def _curve_json(curve: Curve) -> dict[str, Any]:
    threshold = [value if math.isfinite(value) else None for value in curve.threshold.tolist()]
    accuracy = None if curve.accuracy is None else curve.accuracy.tolist()
    return {
        "threshold": threshold, "offload": curve.offload.tolist(), "lost": curve.lost.tolist(), "accuracy": accuracy,
    }  # fmt: skip


def _rule(stage: Stage) -> str:
    return str(stage.rule.get("name", "?"))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(share: float) -> str:
    return f"{100 * share:.2f}"


def _accuracy(point: Point) -> str:
    return "-" if point.accuracy is None else f"{100 * point.accuracy:.2f} %"
