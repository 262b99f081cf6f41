"""What a calibration stores of a rule is input from outside: it is read whole, or refused with all that is wrong."""

import base64
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import DocumentError
from edgewise.routing.rules import KINDS, read_rule

OF = {"output": "out", "form": "scores"}
VALUES = {"output": "out", "form": "values"}
TABLE = {"rows": 2, "float32": base64.b64encode(np.eye(2, dtype="<f4").tobytes()).decode()}
SPECS = (
    TensorSpec("out", "float32", ("batch", 10)),
    TensorSpec("label", "int64", ("batch",)),
    TensorSpec("text", "str", ("batch",)),
)


def refused(value: Any, *specs: TensorSpec) -> list[str]:
    with pytest.raises(DocumentError) as caught:
        read_rule(value, specs)
    return list(caught.value.problems)


def test_an_unknown_name_comes_with_those_that_are_known() -> None:
    (problem,) = refused({"name": "magic", "of": OF})
    assert all(name in problem for name in KINDS)
    assert refused({}) == ["name: is missing"]
    assert len(refused({"name": "x" * 10**6})[0]) < 200
    assert refused([1, 2]) == ["(top): an object is needed, not [1, 2]", "name: is missing"]
    assert refused({"name": 7})


def test_every_fault_comes_at_once() -> None:
    problems = refused(
        {"name": "margin", "of": {"output": "out", "form": "boxes", "more": 1}, "temperature": float("nan"), "boost": 2}
    )
    assert len(problems) == 4
    assert [problem.split(":")[0] for problem in problems] == ["of.form", "of.more", "temperature", "boost"]


@pytest.mark.parametrize("temperature", [0, -1, 1e9, "1", True, None, [1], float("inf")])
def test_a_temperature_is_a_number_above_nought(temperature: Any) -> None:
    assert refused({"name": "entropy", "of": OF, "temperature": temperature})[0].startswith("temperature")


@pytest.mark.parametrize(
    ("scale", "bias"),
    [
        ([1.0, 2.0], [0.0]), ([], []), ([1.0], [0.0]), ([1.0, float("nan")], [0.0, 0.0]), ([1.0, 0.0], [0.0, 0.0]),
        ([1.0, 1e300], [0.0, 0.0]), ([1.0, True], [0.0, 0.0]), ("11", [0.0, 0.0]), ([1.0] * 70_000, [0.0] * 70_000),
        ([1.0, [1.0]], [0.0, 0.0]), ([1.0, 1.0], [0.0, 10**400]),
    ],
)  # fmt: skip
def test_vectors_are_of_finite_numbers_and_of_one_length(scale: Any, bias: Any) -> None:
    assert refused({"name": "vector-margin", "of": OF, "scale": scale, "bias": bias})


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ({"name": "margin"}, "of: is missing"),
        ({"name": "energy", "of": {**OF, "form": "probabilities"}}, "of.form"),
        ({"name": "margin", "of": {**OF, "output": "a\nb"}}, "of.output"),
        ({"name": "margin", "of": {**OF, "quantization": {"scale": 0, "zeroPoint": 0}}}, "of.quantization.scale"),
        ({"name": "margin", "of": {**OF, "quantization": {"scale": 1, "zeroPoint": 0.5}}}, "of.quantization.zeroPoint"),
        ({"name": "box-confidence", "of": VALUES, "cut": 2}, "cut"),
        ({"name": "box-confidence", "of": VALUES, "cut": 0.5, "near": 0.6}, "near"),
        ({"name": "box-confidence", "of": VALUES, "empty": "much"}, "empty"),
        ({"name": "box-confidence", "of": OF}, "of.form"),
        ({"name": "least-label", "of": {**OF, "form": "each"}, "cut": 1}, "cut"),
        ({"name": "threshold-distance", "of": VALUES}, "cut: is missing"),
        ({"name": "threshold-distance", "of": VALUES, "cut": 1, "above": 0}, "above"),
        ({"name": "threshold-distance", "of": VALUES, "cut": 1, "below": -1}, "below"),
        ({"name": "residual-scale", "of": VALUES}, "scale: is missing"),
        ({"name": "residual-scale", "of": VALUES, "scale": {"at": [0, 0], "value": [1, 1]}}, "scale.at: knots rise"),
        ({"name": "residual-scale", "of": VALUES, "scale": {"at": [0, 1], "value": [1]}}, "scale.value"),
        ({"name": "residual-scale", "of": VALUES, "scale": {"at": [], "value": []}}, "scale.value"),
        ({"name": "residual-scale", "of": VALUES, "scale": {"at": [0], "value": [float("inf")]}}, "scale.value[0]"),
        ({"name": "interval-width", "lower": VALUES}, "upper: is missing"),
        ({"name": "interval-width", "lower": VALUES, "upper": VALUES, "lowerColumn": 10**9}, "lowerColumn"),
        ({"name": "prototype-similarity", "of": VALUES}, "prototypes: is missing"),
        ({"name": "prototype-similarity", "of": VALUES, "prototypes": {**TABLE, "rows": 3}}, "prototypes.float32"),
        ({"name": "prototype-similarity", "of": VALUES, "prototypes": {**TABLE, "rows": 0}}, "prototypes.rows"),
        ({"name": "prototype-similarity", "of": VALUES, "prototypes": {"rows": 1, "float32": "AADAfw=="}}, "not finite"),
        ({"name": "prototype-similarity", "of": VALUES, "prototypes": {"rows": 1, "float32": "!" * 16}}, "base64"),
        ({"name": "prototype-similarity", "of": VALUES, "prototypes": {"rows": 1, "float32": "A" * 2_000_000}}, "at most"),
        ({"name": "prototype-ratio", "of": VALUES, "prototypes": TABLE, "group": [1]}, "one for each of 2"),
        ({"name": "prototype-ratio", "of": VALUES, "prototypes": TABLE, "group": [1, 1]}, "two groups"),
        ({"name": "prototype-ratio", "of": VALUES, "prototypes": TABLE, "group": [1, -1]}, "group[1]"),
        ({"name": "mahalanobis", "of": VALUES, "prototypes": TABLE, "whiten": {**TABLE, "rows": 4}}, "1 directions"),
        ({"name": "sequence-mean", "of": OF, "skip": [-1]}, "skip[0]"),
        ({"name": "sequence-mean", "of": OF, "lengths": 3}, "lengths"),
        ({"name": "graph-output", "of": VALUES, "column": -1}, "column"),
        ({"name": "graph-output", "of": VALUES, "negate": 1}, "negate"),
        ({"name": "with-scope"}, "confidence: is missing"),
        ({"name": "max-logit", "of": OF, "temperature": 2}, "temperature: is not a field"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(rule: Any, fault: str) -> None:
    assert any(fault in problem for problem in refused(rule)), refused(rule)


def test_a_rule_within_a_rule_is_held_to_the_same_and_goes_no_deeper() -> None:
    curve = {"at": [0, 1], "value": [0, 1]}
    part = {"name": "margin", "of": OF}
    whole = {
        "name": "with-scope",
        "confidence": part,
        "scope": {"name": "energy", "of": OF},
        "ranks": curve,
        "scopeRanks": curve,
    }
    assert read_rule(whole).name == "with-scope"
    assert "confidence.name" in refused({**whole, "confidence": whole})[0]
    assert refused({**whole, "scope": {**part, "temperature": -1, "odd": 1}}) == [
        "scope.temperature: -1 is outside 0.001..1000.0", "scope.odd: is not a field of this rule",
    ]  # fmt: skip
    assert "scope: is missing" in refused({**whole, "scope": None})


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ({"name": "margin", "of": {**OF, "output": "logits"}}, "no output 'logits'; it has out, label, text"),
        ({"name": "margin", "of": {**OF, "output": "text"}}, "has values of str"),
        ({"name": "margin", "of": {**OF, "chosen": "out"}}, "has values of float32"),
        ({"name": "margin", "of": {**OF, "form": "probability"}}, "has 10 values a row, and the rule looks at 1"),
        (
            {"name": "vector-margin", "of": OF, "scale": [1, 1], "bias": [0, 0]},
            "has 10 values a row, and the rule looks at 2",
        ),
        ({"name": "box-confidence", "of": VALUES}, "has 2 axes, and the rule looks at 3"),
        ({"name": "graph-output", "of": VALUES, "column": 10}, "has 10 values a row, and the rule looks at 11"),
        ({"name": "interval-width", "lower": VALUES, "upper": VALUES, "upperColumn": 10}, "looks at 11"),
        ({"name": "prototype-similarity", "of": VALUES, "prototypes": TABLE}, "looks at 2"),
    ],
)
def test_a_rule_looks_at_what_the_model_has(rule: Any, fault: str) -> None:
    assert any(fault in problem for problem in refused(rule, *SPECS)), refused(rule, *SPECS)
    read_rule(rule)


def test_what_varies_is_not_held_against_a_rule() -> None:
    rule = {"name": "vector-margin", "of": OF, "scale": [1, 1], "bias": [0, 0]}
    read_rule(rule, (TensorSpec("out", "float32", ("batch", "classes")),))
    read_rule({"name": "box-confidence", "of": VALUES}, (TensorSpec("out", "float32", ("batch", "found", 6)),))
    read_rule({"name": "margin", "of": {**OF, "chosen": "label"}}, SPECS)
    read_rule({"name": "margin", "of": {**OF, "form": "probability"}}, (TensorSpec("out", "float32", ("batch",)),))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=8,
)
FIELDS = (
    "of",
    "scale",
    "bias",
    "cut",
    "near",
    "prototypes",
    "whiten",
    "group",
    "ranks",
    "confidence",
    "lower",
    "skip",
    "column",
)


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(tuple(KINDS)),
    rest=st.dictionaries(st.sampled_from(FIELDS), JSON | st.just(OF) | st.just(VALUES) | st.just(TABLE)),
)
def test_whatever_comes_is_a_rule_or_refused(name: str, rest: dict[str, Any]) -> None:
    try:
        rule = read_rule({"name": name, **rest})
    except DocumentError:
        return
    assert read_rule(json.loads(json.dumps(rule.to_json(), allow_nan=False))) == rule
