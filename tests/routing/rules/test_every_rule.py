"""What holds for every rule, whatever its task: one sample scores as among many, order says nothing, JSON there and back."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.routing.rules import KINDS, NOT_SURE, Source, default_rule, read_rule, rules_for
from edgewise.routing.rules.boxes import BoxConfidence
from edgewise.routing.rules.classes import Energy, Logits, MaxProbability
from edgewise.routing.rules.curve import Curve
from edgewise.routing.rules.joined import GraphOutput, WithScope
from edgewise.routing.rules.labels import LabelSet, LeastLabel
from edgewise.routing.rules.prototypes import Mahalanobis, PrototypeRatio, PrototypeSimilarity
from edgewise.routing.rules.quantities import IntervalWidth, ResidualScale, ThresholdDistance
from edgewise.routing.rules.sequences import SequenceConfidence
from edgewise.routing.rules.table import Table

Array = np.ndarray
Chance = np.random.Generator
Made = tuple[Any, Mapping[str, Array]]
COUNT = 6


def normal(chance: Chance, *shape: int) -> Array:
    return chance.normal(0, 2, (COUNT, *shape)).astype(np.float32)


def some_boxes(chance: Chance) -> Made:
    boxes = chance.random((COUNT, 4, 6)).astype(np.float32)
    boxes[..., 5] = chance.integers(-1, 3, (COUNT, 4))
    cut = float(chance.uniform(0.3, 0.9))
    return BoxConfidence(
        Source("out", "values"), cut, cut / 2, float(chance.choice([0, 0.3])), float(chance.normal())
    ), {"out": boxes}


def some_labels(kind: Callable[..., Any], form: str, chance: Chance) -> Made:
    values = normal(chance, 4) if form == "scores" else chance.random((COUNT, 4)).astype(np.float32)
    return kind(Source("out", form), float(chance.uniform(0.2, 0.8))), {"out": values}


def quantized_labels(chance: Chance) -> Made:
    return LeastLabel(Source("out", "each", 1 / 255)), {"out": chance.integers(0, 256, (COUNT, 4), np.uint8)}


def a_distance(chance: Chance) -> Made:
    rule = ThresholdDistance(Source("out", "values"), float(chance.normal()), *chance.uniform(0.1, 3, 2).tolist())
    return rule, {"out": normal(chance, 1) if chance.random() < 0.5 else normal(chance)}


def an_interval(chance: Chance) -> Made:
    ends = Source("low", "values"), Source("high", "values")
    if chance.random() < 0.5:
        ends = Source("low", "values"), Source("low", "values")
        return IntervalWidth(*ends, 0, 2, 0.25), {"low": normal(chance, 3)}
    return IntervalWidth(*ends, margin=float(chance.normal())), {"low": normal(chance, 2), "high": normal(chance, 2)}


def a_curve(chance: Chance) -> Curve:
    at = np.sort(chance.normal(0, 2, 5)) + np.arange(5) * 1e-6
    return Curve(tuple(at.tolist()), tuple(chance.random(5).tolist()))


def a_residual(chance: Chance) -> Made:
    return ResidualScale(Source("out", "values"), a_curve(chance), 1.5), {"out": normal(chance, 1)}


def a_table(chance: Chance, rows: int, width: int) -> Table:
    found = chance.normal(0, 1, (rows, width))
    return Table.of(found / np.linalg.norm(found, axis=1, keepdims=True))


def alike(chance: Chance) -> Made:
    return PrototypeSimilarity(Source("out", "values"), a_table(chance, 5, 4)), {"out": normal(chance, 4)}


def a_ratio(chance: Chance) -> Made:
    group = () if chance.random() < 0.5 else (0, 0, 1, 2, 2)
    return PrototypeRatio(Source("out", "values"), a_table(chance, 5, 4), group), {"out": normal(chance, 4)}


def scattered(chance: Chance) -> Made:
    rule = Mahalanobis(Source("out", "values"), a_table(chance, 4, 3), a_table(chance, 5, 3))
    return rule, {"out": normal(chance, 4)}


def with_scope(chance: Chance) -> Made:
    logits = Logits(Source("out"))
    return WithScope(MaxProbability(logits), Energy(logits), a_curve(chance), a_curve(chance)), {
        "out": normal(chance, 5)
    }


def a_sequence(least: bool, chance: Chance) -> Made:
    form = "scores" if chance.random() < 0.5 else "probabilities"
    steps = normal(chance, 7, 4)
    steps = steps if form == "scores" else np.exp(steps) / np.exp(steps).sum(axis=2, keepdims=True)
    rule = SequenceConfidence(Source("out", form), least, (0,), "length", float(chance.random()))
    return rule, {"out": steps, "length": chance.integers(0, 8, COUNT)}


def an_output(chance: Chance) -> Made:
    return GraphOutput(Source("out", "values"), 1, bool(chance.random() < 0.5)), {"out": normal(chance, 3)}


MAKERS: Mapping[str, Callable[[Chance], Made]] = {
    "box-confidence": some_boxes,
    "least-label": lambda chance: some_labels(LeastLabel, "each", chance),
    "least-label of scores": lambda chance: some_labels(LeastLabel, "scores", chance),
    "least-label of integers": quantized_labels,
    "label-set": lambda chance: some_labels(LabelSet, "each", chance),
    "threshold-distance": a_distance, "interval-width": an_interval, "residual-scale": a_residual,
    "prototype-similarity": alike, "prototype-ratio": a_ratio, "mahalanobis": scattered, "with-scope": with_scope,
    "sequence-mean": lambda chance: a_sequence(False, chance), "sequence-min": lambda chance: a_sequence(True, chance),
    "graph-output": an_output,
}  # fmt: skip


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_one_sample_scores_as_it_does_among_many(name: str, seed: int) -> None:
    chance = np.random.default_rng(seed)
    rule, outputs = MAKERS[name](chance)
    assert name.startswith(rule.name)
    values = next(iter(outputs.values()))
    if seed % 3 == 0 and values.dtype.kind == "f":
        values[2].flat[seed % values[2].size] = (np.nan, np.inf, -np.inf)[seed % 9 // 3]
    many = rule.scores(outputs)
    each = [rule.score({key: value[at : at + 1] for key, value in outputs.items()}) for at in range(COUNT)]
    assert many.shape == (COUNT,)
    assert many.dtype == np.float64
    assert all(isinstance(score, float) for score in each)
    assert not np.isnan(many).any()
    np.testing.assert_allclose(each, many, rtol=1e-9, atol=1e-9)
    order = chance.permutation(COUNT)
    np.testing.assert_allclose(
        rule.scores({key: value[order] for key, value in outputs.items()}), many[order], rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("name", [name for name in MAKERS if "integers" not in name])
def test_what_is_not_finite_is_not_sure(name: str) -> None:
    rule, outputs = MAKERS[name](np.random.default_rng(1))
    for values in outputs.values():
        if values.dtype.kind == "f":
            values[3] = np.nan
        elif values.ndim == 1:
            values[3] = 7  # the length of a sequence
    assert rule.scores(outputs)[3] == NOT_SURE
    assert rule.score({key: value[3:4] for key, value in outputs.items()}) == NOT_SURE


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_what_is_read_is_what_was_written(name: str, seed: int) -> None:
    rule, _ = MAKERS[name](np.random.default_rng(seed))
    written = json.loads(json.dumps(rule.to_json(), allow_nan=False))
    assert read_rule(written) == rule
    assert read_rule(written).to_json() == written


def test_every_kind_can_be_loaded_and_has_a_task_or_is_for_any() -> None:
    made = {name.split(" ")[0] for name in MAKERS}
    classes = {name for name, kind in KINDS.items() if kind.module == "classes"}
    assert made | classes == set(KINDS)
    assert rules_for("detection") == ("box-confidence",)
    assert rules_for("classification")[0] == default_rule("classification") == "max-probability"
    assert default_rule("anomaly") == "threshold-distance"
    assert rules_for("tensor") == ()
