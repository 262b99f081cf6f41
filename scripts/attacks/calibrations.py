"""Calibrations that would make a device keep what it may not, or cost its reader dear."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from attacks.attack import Attack, hostile, tar_of
from edgewise.bundle.build import with_evidence
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.statement import Statement
from edgewise.testing.sample_bundles import PUBLIC_TEST_KEYS, full_bundle, minimal_bundle, release
from edgewise.testing.sample_calibrations import sample_calibration, stated
from edgewise.trust.verification import sign_statement

__all__ = ["calibration_attacks"]


def calibration_attacks() -> Iterator[Attack]:
    yield from _malformed()
    yield from _borrowed()


def _malformed() -> Iterator[Attack]:
    statement = stated(minimal_bundle(), sample_calibration("fp32", ("a", "b", "c")))

    def attack(name: str, why: str, spoil: Callable[[dict[str, Any]], Any], rule: str = "evidence-malformed") -> Attack:
        value = json.loads(statement.to_bytes())
        spoil(value["predicate"])
        return hostile(f"calibration-{name}", rule, why, json.dumps(value).encode(), "calibration")

    def put(field: str, value: Any) -> Callable[[dict[str, Any]], Any]:
        return lambda predicate: predicate.update({field: value})

    yield attack("threshold-nan", "nothing is below what is no number", put("threshold", float("nan")), "json-number")
    yield attack("threshold-infinite", "everything is above", put("threshold", float("-inf")), "json-number")
    yield attack("threshold-text", "a threshold that is no number", put("threshold", "NaN"))
    yield attack("threshold-true", "a truth value", put("threshold", True))
    yield attack("threshold-huge", "beyond what a score can be", put("threshold", -1e300))
    yield attack(
        "threshold-missing", "no threshold: not the same as none is kept", lambda value: value.pop("threshold")
    )
    yield attack("rule-unknown", "a rule that nobody knows", put("rule", {"name": "always-sure"}))
    yield attack("rule-module", "a name that would be looked up", put("rule", {"name": "os.system"}))
    yield attack("rule-list", "a rule that is no object", put("rule", []))
    yield attack(
        "rule-field", "a field that may change what a score means", lambda value: value["rule"].update(floor=1.0)
    )
    yield attack(
        "rule-temperature", "a scale that makes all scores alike", lambda value: value["rule"].update(temperature=0)
    )
    yield attack(
        "group-table",
        "more groups than samples could tell apart",
        put("byGroup", {f"g{at}": 0.5 for at in range(5000)}),
    )
    yield attack("group-list", "groups that are no object", put("byGroup", [0.5]))
    yield attack("group-escape", "a label that writes to the terminal", put("byGroup", {"\x1b[2J": 0.5}))
    yield attack("group-text", "a group's threshold that is no number", put("byGroup", {"a": "low"}))
    yield attack("epsilon-zero", "what no samples can promise", lambda value: value["promise"].update(epsilon=0))
    yield attack("epsilon-one", "a promise of nothing", lambda value: value["promise"].update(epsilon=1))
    yield attack("delta-negative", "surer than sure", lambda value: value["promise"].update(delta=-0.05))
    yield attack("test-unknown", "a test that nobody knows", lambda value: value["promise"].update(test="by eye"))
    yield attack("promise-missing", "a threshold for no promise", lambda value: value.pop("promise"))
    yield attack("then-itself", "a variant that hands on to itself", put("then", [{**_stage("fp32")}]))
    yield attack(
        "then-many", "more variants in turn than a device has", put("then", [_stage(f"v{at}") for at in range(9)])
    )
    yield attack("variant-path", "a name that leads out", put("variant", "../fp32"))
    yield attack(
        "labels-escape",
        "a label that writes to the terminal",
        lambda value: value["against"].update(labels=["\x1b[2J"]),
    )
    yield attack("time", "a time that sorts above every other", put("measuredAt", "zzzz"))


def _stage(variant: str) -> dict[str, Any]:
    return {"variant": variant, "rule": dict(sample_calibration("fp32").rule), "threshold": 0.5}


def _borrowed() -> Iterator[Attack]:
    """Bundles in which fp32 has nothing of its own to defer by."""
    bundle = full_bundle()
    int8, fp32 = (stated(bundle, sample_calibration(name)) for name in ("int8", "fp32"))
    for name, why, statement, signer in (
        ("other-variant", "a calibration of another variant", int8, "laboratory"),
        ("other-files", "this variant's name over another one's files", replace(fp32, subject=int8.subject), "laboratory"),
        (
            "files-and-more", "this variant's files and another one's",
            replace(fp32, subject={**fp32.subject, **int8.subject}), "laboratory",
        ),
        ("untrusted", "signed by somebody else", fp32, "stranger"),
        ("other-type", "a calibration under another type",
         replace(fp32, predicate_type="urn:edgewise:predicate:x"), "laboratory"),
    ):  # fmt: skip
        yield Attack(f"borrowed-{name}", "calibrated", "E407", None, why, tar_of(_signed(bundle, statement, signer)))


def _signed(bundle: Bundle, statement: Statement, signer: str) -> Bundle:
    released = with_evidence(bundle, [sign_statement(release(bundle), PUBLIC_TEST_KEYS["publisher"])])
    return with_evidence(released, [sign_statement(statement, PUBLIC_TEST_KEYS[signer])])
