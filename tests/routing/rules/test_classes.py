"""Rules for classifiers, in each form that a model may decide by."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.routing import scores as formulas
from edgewise.routing.rules import NOT_SURE, Source, read_rule
from edgewise.routing.rules.classes import Logits, forms_of, make

Array = np.ndarray
NAMES = ("max-probability", "margin", "entropy", "energy", "max-logit")
VECTORS = ("vector-max-probability", "vector-margin", "vector-entropy", "vector-energy")


def drawn(form: str, seed: int, count: int = 7, classes: int = 5) -> dict[str, Array]:
    """Outputs of ``count`` samples in one form."""
    chance = np.random.default_rng(seed)
    values = chance.normal(0, 3, (count, classes)).astype(np.float32)
    shares = np.exp(values) / np.exp(values).sum(axis=1, keepdims=True)
    return {
        "scores": {"out": values}, "probabilities": {"out": shares}, "probability": {"out": shares[:, :1]},
        "quantized": {"out": np.clip(np.rint(values * 8) + 3, -128, 127).astype(np.int8)},
        "chosen": {"out": shares, "label": chance.integers(-1, classes + 1, count)},
        "winner": {"out": shares.max(axis=1)},
    }[form]  # fmt: skip


def rule_for(name: str, form: str, seed: int, classes: int = 5):
    chance = np.random.default_rng(seed)
    source = {
        "quantized": Source("out", "scores", 0.125, 3), "chosen": Source("out", "probabilities", chosen="label")
    }.get(form, Source("out", form))  # fmt: skip
    if source.form not in forms_of(name):
        return None
    if name.startswith("vector-"):
        width = 2 if form == "probability" else classes
        each = tuple(chance.uniform(0.3, 2, width).tolist())
        return make(name, Logits(source, 1.0, each, tuple(chance.normal(0, 1, width).tolist())))
    return make(
        name,
        Logits(source, 1.0 if seed % 2 or name == "max-logit" or form == "winner" else float(chance.uniform(0.3, 4))),
    )


FORMS = ("scores", "probabilities", "probability", "quantized", "chosen", "winner")
PAIRS = [(name, form) for name in NAMES + VECTORS for form in FORMS if rule_for(name, form, 0) is not None]


@pytest.mark.parametrize(("name", "form"), PAIRS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_one_sample_scores_as_it_does_among_many(name: str, form: str, seed: int) -> None:
    rule, outputs = rule_for(name, form, seed), drawn(form, seed)
    if seed % 5 == 0 and outputs["out"].dtype.kind == "f":
        outputs["out"][2].flat[0] = (np.nan, np.inf, -np.inf)[seed % 3]
    many = rule.scores(outputs)
    each = [rule.score({key: value[at : at + 1] for key, value in outputs.items()}) for at in range(len(many))]
    np.testing.assert_allclose(each, many, rtol=1e-9, atol=1e-9)
    order = np.random.default_rng(seed).permutation(len(many))
    np.testing.assert_array_equal(rule.scores({key: value[order] for key, value in outputs.items()}), many[order])


@pytest.mark.parametrize(("name", "form"), PAIRS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_what_is_read_is_what_was_written(name: str, form: str, seed: int) -> None:
    rule = rule_for(name, form, seed)
    assert read_rule(json.loads(json.dumps(rule.to_json()))) == rule
    assert rule.name == name


@pytest.mark.parametrize("name", [name for name in NAMES if name != "max-logit"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), temperature=st.floats(0.2, 5))
def test_a_rule_is_its_formula(name: str, seed: int, temperature: float) -> None:
    outputs = drawn("scores", seed)
    rule = make(name, Logits(Source("out"), temperature))
    np.testing.assert_allclose(
        rule.scores(outputs), formulas.RULES[name](outputs["out"], temperature), rtol=1e-9, atol=1e-9
    )


def test_a_value_that_is_no_number_is_not_sure() -> None:
    for bad in (np.nan, np.inf):
        outputs = {"out": np.array([[0.0, bad, 1.0]], np.float32)}
        for name in NAMES:
            assert make(name, Logits(Source("out"))).score(outputs) == NOT_SURE
