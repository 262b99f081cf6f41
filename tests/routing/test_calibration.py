"""A threshold is used by the variant that it was fitted to, by nobody else, and only on the word of somebody trusted."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.bundle.build import with_evidence
from edgewise.bundle.bundle import Bundle
from edgewise.bundle.statement import Statement, parse_statement
from edgewise.errors import CalibrationError, DocumentError, HostileBundleError, NotFoundError
from edgewise.routing import rejection
from edgewise.routing.calibration import (
    CALIBRATION,
    TESTS,
    Against,
    Calibration,
    Then,
    own_calibration,
    parse_calibration,
)
from edgewise.routing.rule import HEAD_OUTPUT
from edgewise.routing.upstream import Described
from edgewise.store.bundles import open_path
from edgewise.testing.sample_bundles import PUBLIC_TEST_KEYS, full_bundle, release, sample_root
from edgewise.testing.sample_calibrations import sample_calibration, stated
from edgewise.trust.root import TrustRoot
from edgewise.trust.verification import Verification, sign_statement, verify_bundle

SPEC = Path(__file__).resolve().parents[2] / "spec"
VECTORS = SPEC / "vectors" / "bundle"
LABELS = ("a", "b", "c")
VALIDATOR = jsonschema.Draft202012Validator(json.loads((SPEC / "schemas" / "calibration.schema.json").read_text()))


def rich() -> Calibration:
    """Every field."""
    plain = sample_calibration("int8", LABELS)
    return replace(
        plain, by_group={"a": 0.5, "b": None}, then=(Then("fp32", plain.rule, None, {"c": -1.0}),), chosen=True,
        cost={"expected": 1.5}, extra={"x-future": [1]}, data={**plain.data, "blocks": 12},
    )  # fmt: skip


def bundle_with(*statements: tuple[Statement, str]) -> tuple[Bundle, Verification]:
    """The full bundle, released, and then these statements by these signers."""
    bundle = full_bundle()
    bundle = with_evidence(bundle, [sign_statement(release(bundle), PUBLIC_TEST_KEYS["publisher"])])
    for statement, signer in statements:
        bundle = with_evidence(bundle, [sign_statement(statement, PUBLIC_TEST_KEYS[signer])])
    return bundle, verify_bundle(bundle, sample_root())


def about(calibration: Calibration) -> Statement:
    return stated(full_bundle(), calibration)


def test_what_was_written_is_read_again() -> None:
    for calibration in (rich(), sample_calibration("fp32")):
        statement = parse_statement(about(calibration).to_bytes())
        assert parse_calibration(statement) == calibration
        VALIDATOR.validate(dict(statement.predicate))


numbers = st.floats(-1e30, 1e30)
shares = st.floats(0, 1)


@settings(max_examples=50, deadline=None)
@given(
    threshold=st.none() | numbers, epsilon=st.floats(1e-6, 0.9), offload=shares, lost=st.floats(-1, 1), oracle=shares,
    by_group=st.dictionaries(st.text("abc\u4e8c -", max_size=5), st.none() | numbers, max_size=4),
    loss=st.sampled_from(["disagreement", "gap", "loss"]), test=st.sampled_from(TESTS), chosen=st.booleans(),
)  # fmt: skip
def test_parse_after_write_is_the_identity(**fields: Any) -> None:
    calibration = replace(sample_calibration("fp32", LABELS), **fields)
    statement = parse_statement(about(calibration).to_bytes())
    assert parse_calibration(statement) == calibration
    VALIDATOR.validate(dict(statement.predicate))


def test_the_tests_that_a_record_may_name_are_those_that_there_are() -> None:
    assert set(TESTS) == set(rejection.TESTS)


def test_every_fault_is_said_at_once_when_one_is_built() -> None:
    with pytest.raises(DocumentError) as raised:
        replace(
            sample_calibration("fp32"), variant="FP32", rule={"name": "sure"}, threshold=math.nan, epsilon=0.0, test="guess",
            offload=1.5, by_group={"a": math.inf}, measured_at="yesterday", against=Against("u", "", ("\x1b",)),
        )  # fmt: skip
    assert {problem.split(":")[0] for problem in raised.value.problems} == {
        "variant", "rule.name", "threshold", "promise.epsilon", "promise.test", "offload", "byGroup.a", "measuredAt",
        "against.labels[0]",
    }  # fmt: skip


def test_a_statement_of_another_type_is_no_calibration() -> None:
    with pytest.raises(HostileBundleError, match="predicateType"):
        parse_calibration(
            replace(about(sample_calibration("fp32")), predicate_type="urn:edgewise:predicate:receipt:v1")
        )


def test_what_the_reader_refuses_the_schema_refuses_where_it_can() -> None:
    """What it has no words for: which rules there are and what is in them, and that no variant hands on to itself."""
    accepted = set()
    for path in sorted((SPEC / "attacks" / "calibration").glob("*.json")):
        value = json.loads(path.read_text())
        if not any(word in path.stem for word in ("nan", "infinite")) and VALIDATOR.is_valid(value["predicate"]):
            accepted.add(path.stem.removeprefix("calibration-"))
    assert accepted == {"rule-unknown", "rule-module", "rule-field", "rule-temperature", "then-itself"}


def test_the_vectors_say_which_calibration_is_used() -> None:
    bundle = open_path(VECTORS / "calibrated.bundle")
    verification = verify_bundle(bundle, TrustRoot.parse((VECTORS / "root.json").read_bytes()))
    cases = json.loads((VECTORS / "calibrations.json").read_text(encoding="utf-8"))
    assert {case["calibration"] is None for case in cases} == {True, False}
    for case in cases:
        upstream = Described(labels=tuple(case["upstreamLabels"]))
        if case["calibration"] is None:
            with pytest.raises(CalibrationError):
                own_calibration(bundle, verification, case["variant"], upstream)
        else:
            assert own_calibration(bundle, verification, case["variant"], upstream).to_json() == case["calibration"]


@pytest.mark.parametrize(
    ("statement", "signer", "reason"),
    [
        (None, "laboratory", "it has none"),
        (about(sample_calibration("int8")), "laboratory", "there is one of int8"),
        (about(sample_calibration("fp32")), "stranger", "nobody whom you trust"),
        (
            replace(about(sample_calibration("fp32")), subject=about(sample_calibration("int8")).subject), "laboratory",
            "about other files",
        ),
    ],
)  # fmt: skip
def test_a_threshold_is_never_borrowed_and_the_reason_is_said(
    statement: Statement | None, signer: str, reason: str
) -> None:
    bundle, verification = bundle_with(*([(statement, signer)] if statement else []))
    with pytest.raises(CalibrationError, match=reason) as raised:
        own_calibration(bundle, verification, "fp32")
    assert "edgewise calibrate" in raised.value.remedy
    assert raised.value.details["variant"] == "fp32"


def test_nothing_is_believed_of_a_bundle_that_was_not_verified() -> None:
    bundle, verification = bundle_with((about(sample_calibration("fp32")), "laboratory"))
    assert own_calibration(bundle, verification, "fp32") == sample_calibration("fp32")
    with pytest.raises(CalibrationError):
        own_calibration(bundle, None, "fp32")
    with pytest.raises(NotFoundError, match="no variant 'fp16'"):
        own_calibration(bundle, verification, "fp16")


def test_one_that_the_release_lists_is_the_publishers_word() -> None:
    bundle = full_bundle()
    bundle = with_evidence(bundle, [sign_statement(about(sample_calibration("fp32")), PUBLIC_TEST_KEYS["publisher"])])
    bundle = with_evidence(bundle, [sign_statement(release(bundle), PUBLIC_TEST_KEYS["publisher"])])
    assert own_calibration(bundle, verify_bundle(bundle, sample_root()), "fp32").variant == "fp32"


def test_of_several_the_newest_counts_then_the_chosen_one_and_a_strangers_never() -> None:
    old = replace(sample_calibration("fp32"), measured_at="2026-01-01T00:00:00Z", threshold=0.1)
    new, same = sample_calibration("fp32"), replace(sample_calibration("fp32"), threshold=0.2, chosen=True)
    strange = replace(old, measured_at="2027-01-01T00:00:00Z")
    for order in ([new, old, same], [same, new, old], [old, same, new]):
        bundle, verification = bundle_with(
            *((about(each), "laboratory") for each in order), (about(strange), "stranger")
        )
        assert own_calibration(bundle, verification, "fp32") == same
    bundle, verification = bundle_with((about(old), "laboratory"), (about(new), "workshop"))
    assert own_calibration(bundle, verification, "fp32") == new


def test_between_equals_the_digest_decides_and_not_the_order_in_the_bundle() -> None:
    pair = [replace(sample_calibration("fp32"), threshold=threshold) for threshold in (0.1, 0.2)]
    found = []
    for order in (pair, pair[::-1]):
        bundle, verification = bundle_with(*((about(each), "laboratory") for each in order))
        found.append(own_calibration(bundle, verification, "fp32"))
    assert found[0] == found[1]


def test_an_upstream_with_other_labels_is_another_one() -> None:
    bundle, verification = bundle_with((about(sample_calibration("fp32", LABELS)), "laboratory"))
    for same in (None, Described(), Described(labels=LABELS)):
        assert own_calibration(bundle, verification, "fp32", same).against.labels == LABELS
    with pytest.raises(CalibrationError, match="class 1 was 'b' and is 'B'"):
        own_calibration(bundle, verification, "fp32", Described(labels=("a", "B", "c")))
    with pytest.raises(CalibrationError, match="3 labels then, 2 now"):
        own_calibration(bundle, verification, "fp32", Described(labels=("a", "b")))


def test_an_older_one_against_these_labels_is_better_than_a_newer_against_others() -> None:
    old = replace(sample_calibration("fp32", LABELS), measured_at="2026-01-01T00:00:00Z")
    new = sample_calibration("fp32", LABELS[::-1])
    bundle, verification = bundle_with((about(old), "laboratory"), (about(new), "laboratory"))
    assert own_calibration(bundle, verification, "fp32", Described(labels=LABELS)) == old
    assert own_calibration(bundle, verification, "fp32") == new


def test_a_cascade_is_about_the_files_of_all_its_variants() -> None:
    calibration = rich()
    statement = about(calibration)
    whole = full_bundle()
    files = {file.digest for name in ("int8", "fp32") for file in whole.variant(name).files}
    assert set(statement.subject) == files
    bundle, verification = bundle_with((statement, "laboratory"))
    found = own_calibration(bundle, verification, "int8")
    assert (found, found.next, found.variants) == (calibration, "fp32", ("int8", "fp32"))
    assert [stage.threshold for stage in found.stages] == [0.875, None]
    with pytest.raises(CalibrationError, match="there is one of int8"):
        own_calibration(bundle, verification, "fp32")  # the second stage's threshold is not its own
    alone = replace(statement, subject=about(sample_calibration("int8")).subject)
    bundle, verification = bundle_with((alone, "laboratory"))
    with pytest.raises(CalibrationError, match="about other files"):
        own_calibration(bundle, verification, "int8")
    with pytest.raises(CalibrationError, match="of int8, fp32, not of int8"):
        calibration.statement(whole.variant("int8"))


def test_a_rule_that_does_not_fit_the_models_outputs_is_refused() -> None:
    wide = {"name": "vector-margin", "of": {"output": "y", "form": "scores"}, "scale": [1.0] * 5, "bias": [0.0] * 5}
    bundle, verification = bundle_with((about(replace(sample_calibration("fp32"), rule=wide)), "laboratory"))
    with pytest.raises(CalibrationError, match=r"does not fit the model: .*3 values a row"):
        own_calibration(bundle, verification, "fp32")


def test_only_a_heads_output_may_be_one_that_the_interface_does_not_name() -> None:
    rule = {"name": "graph-output", "of": {"output": HEAD_OUTPUT, "form": "values"}}
    bundle, verification = bundle_with((about(replace(sample_calibration("fp32"), rule=rule)), "laboratory"))
    assert own_calibration(bundle, verification, "fp32").rule == rule
    rule = {"name": "graph-output", "of": {"output": "elsewhere", "form": "values"}}
    bundle, verification = bundle_with((about(replace(sample_calibration("fp32"), rule=rule)), "laboratory"))
    with pytest.raises(CalibrationError, match=r"does not fit the model: .*elsewhere"):
        own_calibration(bundle, verification, "fp32")


def test_a_malformed_one_is_refused_if_somebody_trusted_signed_it_and_else_ignored() -> None:
    good = about(sample_calibration("fp32"))
    bad = replace(good, predicate={**good.predicate, "threshold": "low"})
    bundle, verification = bundle_with((good, "laboratory"), (bad, "stranger"))
    assert own_calibration(bundle, verification, "fp32").threshold == 0.875
    bundle, verification = bundle_with((good, "laboratory"), (bad, "laboratory"))
    with pytest.raises(HostileBundleError, match="threshold: a number is needed"):
        own_calibration(bundle, verification, "fp32")


def test_text_of_others_is_shown_harmlessly() -> None:
    odd = replace(about(sample_calibration("int8")), predicate={"variant": "\x1b[2J" + "x" * 5000})
    assert odd.predicate_type == CALIBRATION
    bundle, verification = bundle_with((odd, "stranger"))
    with pytest.raises(CalibrationError) as raised:
        own_calibration(bundle, verification, "fp32")
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 400
