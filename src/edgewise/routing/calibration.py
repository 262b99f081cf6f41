"""What is stored of a fitted threshold: evidence on one variant, signed like a receipt, so that no other can borrow it.

A threshold is about the scores of *these* weights: another variant of the same model, at the same threshold, keeps other inputs
and breaks the promise or pays too much for it. So the statement's subject is every file of the variants that it is about, and a
calibration is used only where they are exactly those that run, where somebody trusted vouches for it, and where upstream has the
labels that it was fitted against.
"""

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from edgewise.bundle.bundle import Bundle
from edgewise.bundle.document import NAME, Variant
from edgewise.bundle.fields import Form
from edgewise.bundle.statement import Statement
from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import CalibrationError, DocumentError, HostileBundleError
from edgewise.records import dataclass
from edgewise.routing.rule import HEAD_OUTPUT
from edgewise.routing.rules.reading import read_rule
from edgewise.routing.upstream import Described
from edgewise.trust.verification import Evidence, Verification

__all__ = [
    "CALIBRATION", "LOSSES", "TESTS", "Against", "Calibration", "Then", "is_about", "own_calibration",
    "parse_calibration",
]  # fmt: skip

#: The in-toto predicate type; the subject is all files of the variant and of those that it hands on to, as for a receipt.
CALIBRATION = "urn:edgewise:predicate:calibration:v1"
#: What a promise may be about, and by which tests it is made; see ``risk``.
LOSSES = ("disagreement", "gap", "loss")
TESTS = ("binomial", "trinomial", "hoeffding-bentkus", "betting")

_KIND = "calibration"
_GROUPS = 4096  # a class with a promise of its own takes hundreds of samples
_STAGES = 8  # variants in turn on one device
_LABELS = 65_536  # as in the bundle document
_LABEL = re.compile(r"[^\x00-\x1f\x7f-\x9f]{0,256}")  # printed: no control characters
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
_LARGEST = 1e30  # of a threshold: scores are probabilities, nats or distances
_SMALLEST = 1e-12  # of epsilon and delta
_REMEDY = (
    "Run `edgewise calibrate` for this variant, against this upstream; or load another variant, or without an upstream."
)


@dataclass(frozen=True, slots=True)
class Against:
    """The upstream that a promise is about: its name, version and the labels in its order; empty where it does not say."""

    name: str
    version: str = ""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Then:
    """A variant of the same bundle that answers what the one before did not keep: by this rule and threshold, and no others, for
    the promise is one for all of them together.
    """

    variant: str
    rule: Mapping[str, Any]
    threshold: float | None
    by_group: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Calibration:
    """An input is kept where ``rule``'s score is at least ``threshold``, or that of its group where ``by_group`` is not empty.

    rule: as ``Rule.to_json`` gives it. by_group: label that the device itself decides -> threshold (None: never kept); a label that
    it does not name is never kept. threshold: None where nothing can be kept under the promise. loss: "disagreement", "gap" or
    "loss" (weighted or of a task). epsilon, delta: the promise. test: by which it was made. offload, lost, oracle: on the
    calibration samples, see ``risk.Fitted``. data: name, digest, samples. then: the variants that answer what is not kept, in
    turn; upstream comes after the last. chosen: whether a device that may choose starts here.
    Raises DocumentError with every fault at once when it is built.
    """

    variant: str
    rule: Mapping[str, Any]
    threshold: float | None
    epsilon: float
    delta: float
    loss: str
    test: str
    offload: float
    lost: float
    oracle: float
    data: Mapping[str, Any]
    against: Against
    measured_at: str
    by_group: Mapping[str, float | None] = field(default_factory=dict)
    then: tuple[Then, ...] = ()
    chosen: bool = False
    cost: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        form = Form(self.to_json(), _KIND)
        _read(form)
        form.finish()

    @property
    def next(self) -> str:
        """The variant that answers what this one does not keep; "" for upstream."""
        return self.then[0].variant if self.then else ""

    @property
    def stages(self) -> tuple[Then, ...]:
        """Every variant's part, its own first, in the order in which they are asked."""
        return (Then(self.variant, self.rule, self.threshold, self.by_group), *self.then)

    @property
    def variants(self) -> tuple[str, ...]:
        """All that it is about, in the order in which they are asked."""
        return tuple(stage.variant for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        value = {
            **self.extra, "variant": self.variant, "rule": dict(self.rule), "threshold": self.threshold,
            "promise": {"epsilon": self.epsilon, "delta": self.delta, "loss": self.loss, "test": self.test},
            "offload": self.offload, "lost": self.lost, "oracle": self.oracle, "data": dict(self.data),
            "against": {"name": self.against.name, "version": self.against.version, "labels": list(self.against.labels)},
            "measuredAt": self.measured_at,
        }  # fmt: skip
        if self.by_group:
            value["byGroup"] = dict(self.by_group)
        if self.then:
            value["then"] = [
                {"variant": stage.variant, "rule": dict(stage.rule), "threshold": stage.threshold}
                | ({"byGroup": dict(stage.by_group)} if stage.by_group else {})
                for stage in self.then
            ]
        if self.chosen:
            value["chosen"] = True
        if self.cost:
            value["cost"] = dict(self.cost)
        return value

    def statement(self, *variants: Variant) -> Statement:
        """The statement to sign: about the files of the variants that it names, each given, in order."""
        if tuple(variant.name for variant in variants) != self.variants:
            named = ", ".join(variant.name for variant in variants)
            raise CalibrationError(f"this calibration is of {', '.join(self.variants)}, not of {named or 'nothing'}")
        subject = {file.digest: f"{variant.name}/{file.path}" for variant in variants for file in variant.files}
        return Statement(CALIBRATION, subject, self.to_json())


def parse_calibration(statement: Statement) -> Calibration:
    """The calibration in a statement from outside. Raises HostileBundleError, with every fault, where it has another form."""
    form = Form(dict(statement.predicate), _KIND)
    if statement.predicate_type != CALIBRATION:
        form.problem("predicateType", f"{statement.predicate_type[:60]!r} is not {CALIBRATION}")
    fields = _read(form)
    try:
        form.finish()
        return Calibration(**fields)
    except DocumentError as error:
        raise HostileBundleError("evidence-malformed", error.what) from None


def own_calibration(
    bundle: Bundle, verification: Verification | None, variant: str, upstream: Described | None = None
) -> Calibration:
    """The newest calibration of ``variant`` that may be used; of those of one second the chosen one, then the greatest digest.

    upstream: what the one that will be asked says of itself; what it does not say, is not compared.
    Raises CalibrationError with the reason where there is none: none at all, only of other variants or other files, none that
    anybody trusted vouches for, or none against the labels that upstream has. NotFoundError: the bundle has no such variant.
    """
    bundle.variant(variant)
    evidence = [] if verification is None else verification.evidence
    there = [item for item in evidence if item.statement.predicate_type == CALIBRATION]
    named = [item for item in there if item.statement.predicate.get("variant") == variant]
    trusted = [(item, parse_calibration(item.statement)) for item in named if item.trusted]
    own = [(item, found) for item, found in trusted if is_about(bundle, item.statement, found)]
    if not own:
        raise CalibrationError(
            f"{bundle.ref} has no calibration of {variant} to defer by: {_why_not(there, named, bool(trusted))}",
            remedy=_REMEDY, ref=bundle.ref, variant=variant,
        )  # fmt: skip
    labels = () if upstream is None else upstream.labels
    fitting = [(item, found) for item, found in own if not labels or found.against.labels in ((), labels)]
    if not fitting:
        _, newest = max(own, key=_order)
        raise CalibrationError(
            f"{variant} was calibrated against other labels than upstream has: {_difference(newest.against.labels, labels)}",
            remedy=_REMEDY, ref=bundle.ref, variant=variant, calibrated=list(newest.against.labels), upstream=list(labels),
        )  # fmt: skip
    found = max(fitting, key=_order)[1]
    outputs = bundle.document.outputs
    if HEAD_OUTPUT not in {spec.name for spec in outputs}:
        outputs = (*outputs, TensorSpec(HEAD_OUTPUT, "float32", ("batch", 1)))  # a session says whether the file has it
    try:
        for stage in found.stages:
            read_rule(stage.rule, outputs)
    except DocumentError as error:
        raise CalibrationError(
            f"the calibration of {variant} does not fit the model: {error.what}", remedy=_REMEDY
        ) from None
    return found


def _order(pair: tuple[Evidence, Calibration]) -> tuple[str, bool, str]:
    return pair[1].measured_at, pair[1].chosen, pair[0].digest


def is_about(bundle: Bundle, statement: Statement, found: Calibration) -> bool:
    """Whether the subject of the statement that ``found`` was read from is exactly the files of the variants that it names."""
    variants = {variant.name: variant for variant in bundle.document.variants}
    if not set(found.variants) <= set(variants):
        return False
    return set(statement.subject) == {file.digest for name in found.variants for file in variants[name].files}


def _why_not(there: list[Evidence], named: list[Evidence], trusted: bool) -> str:
    if trusted:
        return "what is said to be one is about other files, and a threshold that was fitted to those is not lent"
    if named:
        return "nobody whom you trust vouches for the one that it has"
    if there:
        others = sorted({str(item.statement.predicate.get("variant"))[:64] for item in there})[:4]
        shown = "".join(character if character.isprintable() else "?" for character in ", ".join(others))
        return f"there is one of {shown}, and a threshold that was fitted to another variant is not lent"
    return "it has none"


def _difference(calibrated: tuple[str, ...], upstream: tuple[str, ...]) -> str:
    if len(calibrated) != len(upstream):
        return f"{len(calibrated)} labels then, {len(upstream)} now"
    at = next(at for at, (then, now) in enumerate(zip(calibrated, upstream, strict=True)) if then != now)
    return f"class {at} was {calibrated[at][:60]!r} and is {upstream[at][:60]!r}"


def _read(form: Form) -> dict[str, Any]:
    """The fields of a Calibration; faults are noted in ``form``."""
    first = _read_stage(form)
    promise, data, against = (
        form.child("promise", _read_promise), form.child("data", _read_data), form.child("against", _read_against)
    )  # fmt: skip
    for name, part in (("promise", promise), ("data", data), ("against", against)):
        if part is None:
            form.problem(name, "is missing")
    then = form.items("then", _read_stage, limit=_STAGES, optional=True)
    names = [first.variant, *(stage.variant for stage in then)]
    if len(set(names)) != len(names):
        form.problem("then", "a variant is asked twice")
    chosen = form.anything("chosen")
    if chosen is not None and not isinstance(chosen, bool):
        form.problem("chosen", "true or false is needed")
    return {
        "variant": first.variant, "rule": first.rule, "threshold": first.threshold, "by_group": first.by_group,
        **(promise or {}), "offload": form.number("offload", low=0, high=1), "lost": form.number("lost", low=-1, high=1),
        "oracle": form.number("oracle", low=0, high=1), "data": data or {},
        "against": against or Against(""),
        "measured_at": form.text("measuredAt", pattern=_TIME), "then": tuple(then), "chosen": chosen is True,
        "cost": _read_cost(form), "extra": form.rest(),
    }  # fmt: skip


def _read_promise(form: Form) -> dict[str, Any]:
    return {
        "epsilon": form.number("epsilon", low=_SMALLEST, high=1 - _SMALLEST),
        "delta": form.number("delta", low=_SMALLEST, high=1 - _SMALLEST),
        "loss": form.text("loss", one_of=LOSSES), "test": form.text("test", one_of=TESTS),
    }  # fmt: skip


def _read_stage(form: Form) -> Then:
    rule = form.anything("rule")
    if not isinstance(rule, dict):
        form.problem("rule", "an object is needed")
        rule = {}
    else:
        try:
            read_rule(rule)
        except DocumentError as error:
            for problem in error.problems:
                form.problem(f"rule.{problem.partition(': ')[0]}", problem.partition(": ")[2])
    return Then(
        form.text("variant", pattern=NAME, limit=64), rule, _limit(form, "threshold", form.rest()), _read_groups(form)
    )


def _limit(form: Form, name: str, there: Mapping[str, Any]) -> float | None:
    # Null says "nothing is kept"; a threshold that is missing says nothing.
    if there.get(name, 0) is None:
        form.anything(name)
        return None
    return form.number(name, low=-_LARGEST, high=_LARGEST)


def _read_groups(form: Form) -> dict[str, float | None]:
    value = form.anything("byGroup")
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > _GROUPS:
        form.problem("byGroup", f"an object of at most {_GROUPS} thresholds is needed")
        return {}
    groups = Form(value, _KIND, "byGroup", form.problems)
    for label in value:
        if not _LABEL.fullmatch(label):
            groups.problem(repr(label)[:60], "is no label: at most 256 characters, none of control")
    return {label: _limit(groups, label, value) for label in value if _LABEL.fullmatch(label)}


def _read_data(form: Form) -> dict[str, Any]:
    name, samples = form.text("name", pattern=_LABEL, default=""), form.integer("samples")
    digest = form.text("digest", limit=71, default="")
    if digest:
        form.digest("digest")
    return {**form.rest(), "name": name, "digest": digest, "samples": samples}


def _read_against(form: Form) -> Against:
    labels = form.values(
        "labels", lambda item: isinstance(item, str) and _LABEL.fullmatch(item) is not None,
        "a text of at most 256 characters, none of control,", limit=_LABELS,
    )  # fmt: skip
    kept = tuple(label for label in labels if isinstance(label, str))
    return Against(form.text("name", pattern=_LABEL), form.text("version", pattern=_LABEL, default=""), kept)


def _read_cost(form: Form) -> dict[str, Any]:
    value = form.anything("cost")
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > _STAGES * 8:
        form.problem("cost", "a small object is needed")
        return {}
    return value
