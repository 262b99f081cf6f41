"""Fitting rules to what a model answered: what is found out by itself, and what the fit is for."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.errors import DataError, InputError
from edgewise.routing.losses import Boxes
from edgewise.routing.rules import KINDS, Source, read_rule, rules_for
from edgewise.routing.rules.boxes import BoxConfidence
from edgewise.routing.rules.fit import Hints, fit_rule
from edgewise.routing.rules.fit_boxes import area_lost
from edgewise.routing.rules.fit_prototypes import centres
from edgewise.routing.rules.quantities import IntervalWidth, ResidualScale, ThresholdDistance

Array = np.ndarray


def classified(seed: int = 0, count: int = 600, classes: int = 4, temperature: float = 1.0) -> tuple[Array, Array]:
    """Scores (N, classes), and classes drawn by their softmax at a temperature."""
    chance = np.random.default_rng(seed)
    scores = chance.normal(0, 3, (count, classes))
    odds = np.exp(scores / temperature)
    y = (odds.cumsum(axis=1) > chance.random((count, 1)) * odds.sum(axis=1, keepdims=True)).argmax(axis=1)
    return scores.astype(np.float32), y


def softmax(scores: Array) -> Array:
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("form", ["scores", "probabilities", "quantized"])
def test_a_temperature_is_found_in_whatever_form_the_scores_come(form: str) -> None:
    scores, y = classified(count=4000, temperature=2.5)
    values, scale = {
        "scores": (scores, (1.0, 0)), "probabilities": (softmax(scores), (1.0, 0)),
        "quantized": (np.rint(scores * 8 - 5).clip(-128, 127).astype(np.int8), (0.125, -5)),
    }[form]  # fmt: skip
    rule = fit_rule("margin", {"out": values}, "out", y=y, scale=scale)
    assert rule.to_json()["temperature"] == pytest.approx(2.5, rel=0.12)
    assert rule.to_json()["of"]["form"] == ("probabilities" if form == "probabilities" else "scores")


def test_one_probability_of_class_one_is_seen_as_such() -> None:
    scores, y = classified(classes=2)
    rule = fit_rule("max-probability", {"out": softmax(scores)[:, 1:]}, "out", y=y)
    assert rule.to_json()["of"]["form"] == "probability"
    assert rule.to_json()["temperature"] == pytest.approx(1.0, abs=0.2)


def test_beside_class_indices_the_scores_are_found() -> None:
    scores, _ = classified()
    shares = softmax(scores)
    best = np.argsort(-shares, axis=1)[:, :2]
    outputs = {"label": best[:, 0], "share": shares}
    assert fit_rule("entropy", outputs, "label").to_json()["of"] == {
        "output": "share",
        "form": "probabilities",
        "chosen": "label",
    }
    ranked = {"label": best, "share": np.take_along_axis(shares, best, axis=1)}
    assert fit_rule("margin", ranked, "label").to_json()["of"] == {"output": "share", "form": "probabilities"}
    named = {"label": np.array([["cat"]] * 600, object), "share": shares}
    assert fit_rule("margin", named, "label").to_json()["of"] == {"output": "share", "form": "probabilities"}
    alone = {"label": best[:, 0], "share": shares.max(axis=1)}
    assert (
        fit_rule("max-probability", alone, "label").scores(alone).tolist() == shares.max(axis=1).astype(float).tolist()
    )
    with pytest.raises(DataError, match="margin needs scores or probabilities or probability"):
        fit_rule("margin", alone, "label")
    with pytest.raises(DataError, match="and nothing else, so that how sure it is cannot be read off"):
        fit_rule("margin", {"label": best[:, 0]}, "label")
    with pytest.raises(DataError, match="2 outputs of floats are beside them: share, other"):
        fit_rule("margin", {**alone, "other": shares}, "label")


def test_a_rule_of_scores_is_not_fitted_to_probabilities() -> None:
    for name in ("energy", "max-logit", "vector-energy"):
        with pytest.raises(DataError, match=f"{name} needs scores, and the output 'out' has probabilities"):
            fit_rule(name, {"out": softmax(classified()[0])}, "out")


def test_classes_that_the_model_does_not_have_count_for_nothing() -> None:
    scores, y = classified()
    mixed = np.where(np.arange(len(y)) % 3 == 0, -1, y)
    alone = fit_rule("margin", {"out": scores[mixed >= 0]}, "out", y=y[mixed >= 0])
    assert fit_rule("margin", {"out": scores}, "out", y=mixed) == alone
    assert fit_rule("margin", {"out": scores}, "out", y=np.where(mixed < 0, 99, mixed)) == alone
    with pytest.raises(DataError, match="no sample is of a class that the model knows"):
        fit_rule("margin", {"out": scores}, "out", y=np.full(len(y), -1))
    for wrong in (y[:-1], y.astype(float)):
        with pytest.raises(DataError, match="classes are integers, one for each sample"):
            fit_rule("margin", {"out": scores}, "out", y=wrong)
    with pytest.raises(DataError, match="fitted to classes"):
        fit_rule("vector-margin", {"out": scores}, "out")


def test_what_upstream_answered_does_for_the_classes() -> None:
    scores, _ = classified(1)
    upstream, _ = classified(2)
    assert fit_rule("margin", {"out": scores}, "out", y=upstream) == fit_rule(
        "margin", {"out": scores}, "out", y=upstream.argmax(axis=1)
    )


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="there is no deferral rule 'magic'"):
        fit_rule("magic", {"out": np.zeros((2, 2))}, "out")
    with pytest.raises(InputError, match="there is no output 'logits'"):
        fit_rule("margin", {"out": np.zeros((2, 2))}, "logits")


def detected(seed: int, easy_when_empty: bool) -> tuple[dict[str, Array], Array]:
    """400 images with up to two boxes. What is lost where boxes are: more, the less sure; a box near the cut was really missed."""
    chance = np.random.default_rng(seed)
    boxes = np.zeros((400, 3, 6), np.float32)
    boxes[..., 2:4], boxes[..., 5] = 1, -1
    lost = np.zeros(400, bool)
    for at in range(400):
        kind, sure = at % 3, chance.uniform(0.5, 1)
        if kind:
            boxes[at, 0, 4:] = sure, 0
            lost[at] = chance.random() > sure
        if kind == 2:
            boxes[at, 1, 4:] = 0.45, 0
            lost[at] |= chance.random() < 0.7
        if not kind:
            lost[at] = chance.random() < (0.02 if easy_when_empty else 0.9)
    return {"out": boxes}, lost


def test_an_empty_image_is_worth_what_samples_say_and_a_near_box_is_a_likely_miss() -> None:
    for easy in (True, False):
        outputs, lost = detected(0, easy)
        rule = fit_rule("box-confidence", outputs, "out", lost=lost, hints=Hints(cut=0.5))
        assert isinstance(rule, BoxConfidence)
        assert (rule.empty > 0.8) == easy
        assert rule.missed > 0
        other, lost_there = detected(1, easy)
        plain = BoxConfidence(Source("out", "values"), 0.5)
        assert area_lost(rule.scores(other), lost_there) < 0.95 * area_lost(plain.scores(other), lost_there)


def test_without_losses_an_empty_image_is_worth_nothing() -> None:
    outputs, _ = detected(0, True)
    assert fit_rule("box-confidence", outputs, "out", hints=Hints(cut=0.5)) == BoxConfidence(
        Source("out", "values"), 0.5, 0.5
    )
    with pytest.raises(DataError, match="detections are"):
        fit_rule("box-confidence", {"out": np.zeros((3, 5))}, "out")
    with pytest.raises(DataError, match="one number for each image"):
        fit_rule("box-confidence", outputs, "out", lost=np.zeros(3))


def test_what_upstream_found_says_what_would_be_lost() -> None:
    outputs, _ = detected(0, True)
    upstream = outputs["out"].copy()
    upstream[:200, 1] = [5, 5, 7, 7, 0.9, 1]
    lost = Boxes(cut=0.5).disagree(outputs["out"], upstream)
    assert 0 < lost.sum() < 400
    hints = Hints(cut=0.5)
    assert fit_rule("box-confidence", outputs, "out", y=upstream, hints=hints) == fit_rule(
        "box-confidence", outputs, "out", lost=lost, hints=hints
    )


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_the_area_is_the_mean_loss_over_shares_and_equal_scores_have_no_order(seed: int) -> None:
    chance = np.random.default_rng(seed)
    score, loss = chance.integers(0, 4, 20).astype(float), chance.random(20)
    order = chance.permutation(20)
    assert area_lost(score, loss) == pytest.approx(area_lost(score[order], loss[order]))
    assert area_lost(np.zeros(20), loss) == pytest.approx(loss.mean() / 2)
    assert area_lost(-loss, loss) <= area_lost(score, loss) + 1e-12 <= area_lost(loss, loss) + 2e-12


def test_labels_are_probabilities_or_scores_by_what_they_are() -> None:
    shares = np.random.default_rng(0).random((20, 3))
    assert fit_rule("least-label", {"out": shares}, "out").to_json()["of"]["form"] == "each"
    assert fit_rule("label-set", {"out": shares * 9 - 3}, "out").to_json()["of"]["form"] == "scores"
    with pytest.raises(DataError, match="never set from 2 on"):
        fit_rule("least-label", {"out": shares}, "out", hints=Hints(cut=2))


def test_an_anomaly_rule_counts_each_side_by_what_is_usual_there() -> None:
    score = np.array([[1.0], [0.0], [4.0], [8.0]])
    assert fit_rule("threshold-distance", {"out": score}, "out", hints=Hints(cut=2.0)) == ThresholdDistance(
        Source("out", "values"), 2.0, above=4.0, below=1.5
    )
    one_side = fit_rule("threshold-distance", {"out": score}, "out", hints=Hints(cut=9.0))
    assert one_side.to_json()["above"] == one_side.to_json()["below"] == 5.75
    with pytest.raises(DataError, match=r"the score from which a sample counts as an anomaly \(cut\) is missing"):
        fit_rule("threshold-distance", {"out": score}, "out")


def test_intervals_of_new_samples_hold_what_they_say() -> None:
    chance = np.random.default_rng(0)
    x = chance.uniform(1, 5, 4000)
    y = x + chance.normal(0, 0.2 * x)
    rule = fit_rule("residual-scale", {"out": x[:2000, None]}, "out", y=y[:2000])
    assert isinstance(rule, ResidualScale)
    half = -rule.scores({"out": x[2000:, None]}) / 2
    assert np.mean(np.abs(y - x)[2000:] <= half) == pytest.approx(0.9, abs=0.02)
    # They are as wide as the noise is there: five times as wide at 5 as at 1.
    assert rule.score({"out": np.array([[4.9]])}) / rule.score({"out": np.array([[1.1]])}) == pytest.approx(
        4.4, rel=0.15
    )


def test_quantiles_of_a_model_are_made_honest() -> None:
    chance = np.random.default_rng(0)
    y = chance.normal(0, 1, 4000)
    outputs = {"out": np.stack([np.full(4000, -0.5), np.zeros(4000), np.full(4000, 0.5)], axis=1)}
    hints = Hints(lower=("out", 0), upper=("out", 2), coverage=0.8)
    rule = fit_rule("interval-width", {"out": outputs["out"][:2000]}, "out", y=y[:2000], hints=hints)
    assert isinstance(rule, IntervalWidth)
    low, high = rule.ends(outputs)
    inside = (low[2000:, 0] <= y[2000:]) & (y[2000:] <= high[2000:, 0])
    assert inside.mean() == pytest.approx(0.8, abs=0.02)
    assert rule.margin == pytest.approx(1.2816 - 0.5, abs=0.06)
    assert fit_rule("interval-width", outputs, "out", hints=hints).to_json()["margin"] == 0.0
    with pytest.raises(DataError, match="which outputs have the two ends"):
        fit_rule("interval-width", outputs, "out", y=y)
    with pytest.raises(DataError, match="40 are needed"):
        fit_rule("residual-scale", {"out": np.zeros((30, 1))}, "out", y=np.zeros(30))


def clustered(count: int = 300) -> tuple[Array, Array]:
    """Embeddings of three classes along three axes."""
    chance = np.random.default_rng(0)
    y = np.arange(count) % 3
    return np.eye(3)[y] * 5 + chance.normal(0, 0.3, (count, 3)), y


def test_prototypes_are_class_means_or_centres_that_are_as_near() -> None:
    embedding, y = clustered()
    by_class = fit_rule("prototype-ratio", {"out": embedding}, "out", y=y)
    assert by_class.to_json()["group"] == [0, 1, 2]
    between = {"out": np.array([[1.0, 1, 0], [5, 0, 0]])}
    assert by_class.scores(between) == pytest.approx([0.0, 1.0], abs=0.05)
    without = fit_rule("prototype-ratio", {"out": embedding}, "out", hints=Hints(prototypes=3))
    np.testing.assert_allclose(without.scores(between), by_class.scores(between), atol=0.02)
    assert len(centres(np.eye(3)[y], 32, 0)) == 3
    rows = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    np.testing.assert_array_equal(centres(rows, 5, 7), centres(rows, 5, 7))


def test_a_class_that_scatters_little_is_far_from_what_lies_beside_it() -> None:
    chance = np.random.default_rng(0)
    y = np.arange(2000) % 2
    embedding = np.stack([10.0 * y, np.zeros(2000)], axis=1) + chance.normal(0, 1, (2000, 2)) * [0.1, 3]
    rule = fit_rule("mahalanobis", {"out": embedding}, "out", y=y)
    assert rule.scores({"out": np.array([[0.0, 3.0], [0.3, 0.0], [10, 0]])}) == pytest.approx(
        [-1.0, -9.0, 0.0], rel=0.15, abs=0.05
    )
    # Few samples of many values: what they do not say is filled in, not divided by.
    few = fit_rule("mahalanobis", {"out": chance.normal(0, 1, (8, 40))}, "out", y=np.arange(8) % 2)
    assert np.isfinite(few.scores({"out": chance.normal(0, 1, (5, 40))})).all()
    with pytest.raises(DataError, match="all alike"):
        fit_rule("mahalanobis", {"out": np.eye(2)[y]}, "out", y=y)
    with pytest.raises(DataError, match="fitted to classes"):
        fit_rule("mahalanobis", {"out": embedding}, "out")


def test_what_has_no_direction_or_too_many_numbers_is_refused() -> None:
    with pytest.raises(DataError, match="is zero, and has no direction"):
        fit_rule("prototype-similarity", {"out": np.zeros((3, 2))}, "out")
    with pytest.raises(DataError, match="no vectors of two or more finite values"):
        fit_rule("prototype-similarity", {"out": np.full((3, 2), math.nan)}, "out")
    with pytest.raises(DataError, match="a rule stores 1 to 262144 numbers"):
        fit_rule("prototype-similarity", {"out": np.ones((300, 1000))}, "out", y=np.arange(300))
    with pytest.raises(DataError, match="no output 'hidden'"):
        fit_rule("prototype-similarity", {"out": np.ones((3, 2))}, "out", hints=Hints(embedding="hidden"))


def test_ranks_are_shares_of_the_samples_of_known_classes() -> None:
    scores, y = classified()
    inside = np.arange(len(y)) % 4 > 0
    scores[~inside] = 0.0
    rule = fit_rule("with-scope", {"out": scores}, "out", y=np.where(inside, y, -1), hints=Hints(scope="max-logit"))
    low = rule.scores({"out": scores[inside]})
    # Both are at most one half for at least half of them, and the lower of two ranks is at most either.
    assert np.mean(low <= 0.5) >= 0.5
    assert (rule.scores({"out": scores[~inside]}) == 0.0).all()
    for hints in (
        Hints(scope="margin"),
        Hints(scope="with-scope"),
        Hints(confidence="with-scope"),
        Hints(scope="magic"),
    ):
        with pytest.raises(InputError, match="no rule of confidence and one of scope"):
            fit_rule("with-scope", {"out": scores}, "out", y=y, hints=hints)


def test_steps_are_scores_or_probabilities_by_what_they_are() -> None:
    chance = np.random.default_rng(0)
    steps = chance.normal(0, 1, (4, 6, 3))
    assert fit_rule("sequence-mean", {"out": steps}, "out").to_json()["of"]["form"] == "scores"
    shares = np.exp(steps) / np.exp(steps).sum(axis=2, keepdims=True)
    rule = fit_rule("sequence-min", {"out": shares}, "out", hints=Hints(skip=(0,)))
    assert (rule.to_json()["of"]["form"], rule.to_json()["skip"]) == ("probabilities", [0])
    with pytest.raises(DataError, match="scores of sequences are"):
        fit_rule("sequence-mean", {"out": steps[0]}, "out")


def test_an_output_of_the_model_is_taken_by_its_name() -> None:
    outputs = {"out": np.zeros((4, 3)), "sure": np.arange(8.0).reshape(4, 2), "count": np.zeros((4, 1), np.int64)}
    hints = Hints(output="sure", column=1, negate=True)
    assert fit_rule("graph-output", outputs, "out", hints=hints).scores(outputs).tolist() == [-1.0, -3.0, -5.0, -7.0]
    for wrong in (Hints(), Hints(output="count"), Hints(output="sure", column=2)):
        with pytest.raises(DataError, match="no output"):
            fit_rule("graph-output", outputs, "out", hints=wrong)


def test_every_rule_of_classification_is_fitted_and_read_again() -> None:
    scores, y = classified()
    for name in rules_for("classification"):
        rule = fit_rule(name, {"out": scores}, "out", y=y)
        assert rule.name == name
        again = read_rule(rule.to_json())
        np.testing.assert_array_equal(again.scores({"out": scores}), rule.scores({"out": scores}))
    assert set(rules_for("classification")) <= set(KINDS)
