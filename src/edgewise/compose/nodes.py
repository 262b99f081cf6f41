"""`edgewise.load(ref, upstream=...)`: the stages of a node by their own calibration, the way upstream, and the watch over both."""

import math
import random
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.statement import parse_statement
from edgewise.bundle.strict_json import dump_json, parse_object
from edgewise.clock import SystemClock
from edgewise.compose.upstreams import open_upstream
from edgewise.digests import digest_of, hex_of
from edgewise.errors import CalibrationError, EdgewiseError, InputError, StorageError
from edgewise.records import dataclass
from edgewise.routing.calibration import Calibration, own_calibration
from edgewise.routing.egress import NamedAlone
from edgewise.routing.guard import Guard, Report
from edgewise.routing.link import Link
from edgewise.routing.losses import Details, judge_for
from edgewise.routing.node import Node
from edgewise.routing.rules import default_rule, read_rule
from edgewise.routing.stage import Stage
from edgewise.routing.upstream import Upstream
from edgewise.routing.watch.drift import Sketch, read_sketch
from edgewise.routing.watch.stored import read_watch, watch_to_json
from edgewise.routing.watch.widen import Terms, Watch, begin_watch
from edgewise.runtime.golden_set import read_golden
from edgewise.runtime.requirements import Requirements
from edgewise.runtime.session import Session
from edgewise.store.files import read_bounded, write_bytes
from edgewise.store.home import Home
from edgewise.trust.verification import Evidence, Verification

__all__ = ["Passing", "find_calibration", "load_node", "open_node"]

_STATE = 1 << 26  # bytes of a kept watch


@dataclass(frozen=True, slots=True)
class Passing:
    """How a node passes on. deadline: seconds of a call. tier: what it is. audit: share of what is kept that is compared with
    upstream; 0: the promise is not watched. learn: points that may be lost, where the threshold is to be learnt here; None: by the
    bundle's calibration. report: told of a promise that broke, and of a threshold that was learnt.
    """

    deadline: float = 1.0
    tier: str = "device"
    audit: float = 0.02
    learn: float | None = None
    report: Callable[[Report], None] = lambda what: None

    def __post_init__(self) -> None:
        if not self.deadline > 0 or not 0 <= self.audit <= 0.2:
            raise InputError(
                f"a deadline of {self.deadline:g} s, or an audit share of {self.audit:g}, makes no sense",
                remedy="A deadline is above 0 seconds; a share from 0 to 0.2, of what is kept.",
            )
        if self.learn is not None and (not 0 < self.learn < 100 or not self.audit):
            raise InputError(
                f"a promise of {self.learn:g} points cannot be learnt and kept, with an audit share of {self.audit:g}",
                remedy="Points lie between 0 and 100, as in learn=1.0, and what was learnt is watched over: leave audit on.",
            )


def load_node(
    bundle: Bundle, verification: Verification | None, home: Home, require: Requirements,
    open_variant: Callable[[Requirements, tuple[str, ...]], Session], asked: Any, options: Mapping[str, Any],
    loading: Mapping[str, Any],
) -> Node:  # fmt: skip
    """asked: whom ``upstream=`` names. options: the fields of ``Passing`` and unsafe_plain_http. loading: how another bundle is
    loaded. Raises as ``edgewise.load``.
    """
    known = {field.name for field in fields(Passing)} | {"unsafe_plain_http"}
    if unknown := sorted(options.keys() - known):
        raise InputError(
            f"load has no parameter {', '.join(unknown)}", remedy=f"With upstream it has {', '.join(sorted(known))}."
        )
    passing = Passing(**{name: value for name, value in options.items() if name != "unsafe_plain_http"})
    calibration = None if passing.learn is not None else find_calibration(bundle, verification, require.variant)
    # Deferred: the module that loads this one.
    from edgewise.compose.loading import load  # noqa: PLC0415

    def of_bundle(ref: str) -> Session:
        path, _, variant = ref.partition("#")
        return load(path, require={"variant": variant} if variant else None, **loading)

    upstream = open_upstream(
        asked, bundle.document, of_bundle,
        unsafe_plain_http=bool(options.get("unsafe_plain_http", False)),
    )  # fmt: skip

    def of_variant(name: str, also: tuple[str, ...]) -> Session:
        return open_variant(replace(require, variant=name) if name else require, also)

    try:
        return open_node(bundle, calibration, of_variant, upstream, passing, home)
    except EdgewiseError:
        upstream.close()
        raise


def find_calibration(bundle: Bundle, verification: Verification | None, variant: str) -> Calibration:
    """That of ``variant``; "": of the variant at which a device starts. verification: None where it was switched off: then all
    evidence that is there is believed, as the model is.

    Raises CalibrationError with the reason where there is none.
    """
    if verification is None:
        there = {digest: parse_statement(item.payload, bundle.limits) for digest, item in bundle.evidence().items()}
        verification = Verification((), tuple(Evidence(digest, item, (), True) for digest, item in there.items()))
    if variant:
        return own_calibration(bundle, verification, variant)
    found, errors = [], []
    for each in bundle.document.variants:
        try:
            found.append(own_calibration(bundle, verification, each.name))
        except CalibrationError as error:
            errors.append(error)
    if not found:
        told = "; ".join(error.what for error in errors) if len(errors) > 1 else errors[0].what
        raise CalibrationError(told, remedy=errors[0].remedy, ref=bundle.ref)
    return max(found, key=lambda item: (item.chosen, item.measured_at, -_cost(item)))


def open_node(
    bundle: Bundle, calibration: Calibration | None, open_variant: Callable[[str, tuple[str, ...]], Session],
    upstream: Upstream, passing: Passing, home: Home,
) -> Node:  # fmt: skip
    """calibration: None where the threshold is learnt here. open_variant: the session of a variant ("" for the fastest one here)
    with these outputs beyond the interface.
    """
    document, clock = bundle.document, SystemClock()
    stages: list[Stage] = []
    if calibration is None:
        stages.append(_learning(bundle, open_variant("", ())))
    else:
        for each in calibration.stages:
            rule = read_rule(each.rule)
            there = {spec.name for spec in document.outputs}
            also = tuple(need.output for need in rule.needs() if need.output not in there)  # a deferral head's
            limit = math.inf if each.threshold is None else each.threshold
            stages.append(Stage(open_variant(each.variant, also), rule, limit, each.by_group))
    ident = f"{passing.tier}-{secrets.token_hex(8)}"
    labels = calibration.against.labels if calibration is not None else ()
    link = Link(upstream, NamedAlone(upstream.name), clock, node=ident, labels=labels or document.labels)
    guard = _guard(bundle, calibration, stages[0], upstream, passing, home)
    if calibration is None and guard is None:
        link.close()
        raise InputError(
            f"when two answers of a {document.task} model differ has to be told, so nothing can be learnt here",
            remedy="Calibrate the bundle: `edgewise calibrate` takes --tolerance, --cut and --cosine.",
        )
    return Node(stages, link, ident=ident, tier=passing.tier, deadline=passing.deadline, guard=guard, clock=clock)


def _cost(calibration: Calibration) -> float:
    expected = calibration.cost.get("expected", math.inf)
    return float(expected) if isinstance(expected, (int, float)) else math.inf


def _learning(bundle: Bundle, session: Session) -> Stage:
    """A stage that keeps nothing by itself; its rule is told what the outputs are by the golden set."""
    from edgewise.routing.rules.fit import fit_rule  # noqa: PLC0415  (what fits is loaded only where something is learnt)

    golden, origin = read_golden(bundle), session.origin
    if golden is None:
        raise InputError(
            f"{bundle.ref} has no golden set, from which the form of its scores could be told",
            remedy="Pack it with --golden, or calibrate it.",
        )
    outputs = golden.outputs[origin.variant]
    rule = fit_rule(default_rule(bundle.document.task), outputs, origin.decision, scale=origin.scale)
    return Stage(session, rule, math.inf)


def _guard(
    bundle: Bundle, calibration: Calibration | None, stage: Stage, upstream: Upstream, passing: Passing, home: Home
) -> Guard | None:
    """The watch over the promise; None where it is switched off, or where upstream's answers cannot tell whether it holds."""
    told = {} if calibration is None else calibration.extra.get("watch", {})
    if calibration is None:
        epsilon, delta = (passing.learn or 0) / 100, 0.05
    else:
        # Accuracy cannot be seen without labels. How often the two disagreed when they lost no more than was promised can.
        epsilon = calibration.epsilon if calibration.loss == "disagreement" else told.get("disagreement", 0)
        delta = calibration.delta
    if not passing.audit or not isinstance(epsilon, float) or not 0 < epsilon < 1:
        return None
    terms = Terms(epsilon, delta, share=passing.audit)
    try:
        judge = judge_for(bundle.document.task, bundle.document.labels, details=_details(calibration))
    except InputError:
        return None
    place = _place(bundle, calibration, stage, upstream, terms, home)
    limit = None
    if calibration is not None:
        if not any(each.threshold is not None or each.by_group for each in calibration.stages):
            return None  # nothing is kept, so there is nothing to watch over
        # Where there are several thresholds the stages say what is kept, and this one is not looked at.
        limit = 0.0 if calibration.threshold is None else calibration.threshold
    begun = _kept(place, terms) or begin_watch(terms, limit, _sketch(told))
    return Guard(
        begun, judge.disagree, random.Random(secrets.randbits(64)).random,  # noqa: S311  (a coin)
        report=passing.report,
        keep=lambda watch: _keep(place, watch),
    )  # fmt: skip


def _details(calibration: Calibration | None) -> Details:
    """What the calibration was told of the task's answers."""
    told = {} if calibration is None else calibration.extra.get("details", {})

    def number(name: str) -> float | None:
        value = told.get(name) if isinstance(told, dict) else None
        known = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        return float(value) if known and value is not None else None

    return Details(cut=number("cut"), tolerance=number("tolerance"), cosine=number("cosine"))


def _sketch(told: object) -> Sketch | None:
    value = told.get("sketch") if isinstance(told, dict) else None
    return None if value is None else read_sketch(value)


def _place(
    bundle: Bundle, calibration: Calibration | None, stage: Stage, upstream: Upstream, terms: Terms, home: Home
) -> Path:
    """Where the state is kept: one for each model, calibration, upstream and promise."""
    files = [file.digest for file in bundle.variant(stage.variant).files]
    key = dump_json([files, stage.rule.to_json(), calibration and calibration.to_json(), upstream.name,
                     terms.epsilon, terms.delta, terms.share])  # fmt: skip
    return home.root / "watch" / f"{bundle.document.name}-{hex_of(digest_of(key))[:24]}.json"


def _kept(place: Path, terms: Terms) -> Watch | None:
    """What was kept; a state that is damaged, or of other terms, begins anew."""
    try:
        found = read_watch(parse_object(read_bounded(place, _STATE, "a kept watch"), "a kept watch"))
    except EdgewiseError:
        return None
    return found if found.terms == terms else None


def _keep(place: Path, watch: Watch) -> None:
    with suppress(StorageError):  # evidence that a full disk loses begins anew; the answer does not wait for it
        write_bytes(place, dump_json(watch_to_json(watch)))
