"""A watch as JSON and back, so that a restart of the device forgets neither evidence against a promise nor what it has learnt.

What is read was on a disk meanwhile: sizes and ranges are bounded, parts have to fit each other. A refit that was out is asked
for again; answers to audits that were out are not waited for (they count as agreement).
"""

import math
from dataclasses import replace
from typing import Any, get_args

from edgewise.bundle.fields import Form
from edgewise.errors import DocumentError, InputError
from edgewise.routing.watch.audit import read_audit
from edgewise.routing.watch.drift import read_drift
from edgewise.routing.watch.widen import Mode, Pairs, Terms, Watch, settled

__all__ = ["read_watch", "watch_to_json"]

_FORM = 1
_PAIRS = 1 << 16
_NAMES = {
    name: {"drift_alpha": "driftAlpha", "on_drift": "onDrift"}.get(name, name) for name in Terms.__dataclass_fields__
}


def watch_to_json(watch: Watch) -> dict[str, Any]:
    """For ``read_watch``."""
    pairs = watch.pairs
    return {
        "form": _FORM,
        "terms": {written: getattr(watch.terms, name) for name, written in _NAMES.items()},
        "mode": watch.mode,
        "threshold": watch.threshold if math.isfinite(watch.threshold) else None,
        "given": watch.given,
        "stretch": watch.stretch,
        "audit": None if watch.audit is None else watch.audit.to_json(),
        "drift": None if watch.drift is None else watch.drift.to_json(),
        "pairs": {"scores": list(pairs.scores), "disagreed": list(map(int, pairs.disagreed)), "tries": pairs.tries},
        "putBy": [list(pair) for pair in watch.put_by],
    }


def read_watch(value: Any) -> Watch:
    """From what ``watch_to_json`` gave. Raises DocumentError with what is wrong."""
    form = Form(value, "watch")
    for name in ("threshold", "audit", "drift", "putBy"):  # null and [] have a meaning, nothing at all has none
        if isinstance(value, dict) and name not in value:
            form.problem(name, "is missing")
    if form.integer("form") != _FORM:
        form.problem("form", f"{_FORM} is needed")
    terms = form.child("terms", _terms)
    mode = form.text("mode", one_of=get_args(Mode))
    threshold, given, stretch = (
        form.anything("threshold"),
        form.anything("given"),
        form.integer("stretch", high=1 << 52),
    )
    audit, drift = form.anything("audit"), form.anything("drift")
    pairs = form.child("pairs", _pairs)
    put_by = form.values("putBy", _is_put_by, "a score and a coin", limit=64)
    keeping = mode == "keeping"
    if not isinstance(given, bool) or not (_is_number(threshold) if keeping else threshold is None):
        form.problem("threshold", "a number while keeping, null otherwise, and true or false for given are needed")
    if (audit is not None) != keeping or (drift is not None and not keeping) or (put_by and not keeping):
        form.problem("audit", "an audit while keeping is needed, and no watch over anything otherwise")
    if terms is None or pairs is None:
        form.problem("terms", "terms and pairs are needed")
    form.finish()
    assert terms is not None
    assert pairs is not None
    if keeping and pairs.scores:
        raise DocumentError("watch", ["pairs: there are none while keeping"])
    watch = Watch(
        terms, mode, float(threshold) if keeping else math.inf, given, stretch,  # type: ignore[arg-type]  # one of Mode
        read_audit(audit, "audit") if keeping else None, None if drift is None else read_drift(drift, "drift"), pairs,
    )  # fmt: skip
    if watch.audit is not None and watch.audit.plan.epsilon != terms.epsilon:
        raise DocumentError("watch", ["audit.epsilon: it is not that of the terms"])
    watch = settled(watch)
    if len(put_by) >= watch.room:
        raise DocumentError("watch", [f"putBy: fewer than {watch.room} are put by before they are taken up"])
    return replace(watch, put_by=tuple((float(score), float(coin)) for score, coin in put_by))


def _terms(form: Form) -> Terms:
    numbers = {
        name: form.number(_NAMES[name]) for name in ("epsilon", "delta", "alpha", "share", "closer", "drift_alpha")
    }
    counts = {name: form.integer(name) for name in ("samples", "seed")}
    on_drift, returns = form.text("onDrift"), form.anything("returns")
    if not isinstance(returns, bool):
        form.problem("returns", "true or false is needed")
    try:
        return Terms(**numbers, **counts, on_drift=on_drift, returns=returns)  # type: ignore[arg-type]  # checked by Terms
    except InputError as error:
        form.problem("", error.what)
        return Terms(0.5)


def _pairs(form: Form) -> Pairs:
    scores = form.values("scores", _is_number, "a finite number", limit=_PAIRS)
    disagreed = form.values("disagreed", lambda item: item in (0, 1) and isinstance(item, int), "0 or 1", limit=_PAIRS)
    if len(scores) != len(disagreed):
        form.problem("disagreed", "as many as scores are needed")
    return Pairs(
        tuple(map(float, scores)) if not form.problems else (),
        tuple(map(bool, disagreed)),
        form.integer("tries", high=1 << 20),
    )


def _is_number(item: Any) -> bool:
    return isinstance(item, int | float) and not isinstance(item, bool) and math.isfinite(item)


def _is_put_by(item: Any) -> bool:
    return isinstance(item, list) and len(item) == 2 and all(map(_is_number, item)) and 0 <= item[1] <= 1
