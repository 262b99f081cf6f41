"""Every rule of a task other than classification: answers worked out by hand."""

import math

import numpy as np
import pytest

from edgewise.routing.rules import NOT_SURE, Source
from edgewise.routing.rules.boxes import BoxConfidence
from edgewise.routing.rules.classes import Logits, Margin, MaxLogit, MaxProbability
from edgewise.routing.rules.curve import Curve
from edgewise.routing.rules.joined import GraphOutput, WithScope
from edgewise.routing.rules.labels import LabelSet, LeastLabel
from edgewise.routing.rules.prototypes import Mahalanobis, PrototypeRatio, PrototypeSimilarity
from edgewise.routing.rules.quantities import IntervalWidth, ResidualScale, ThresholdDistance
from edgewise.routing.rules.sequences import SequenceConfidence
from edgewise.routing.rules.table import Table

Array = np.ndarray
OUT = Source("out", "values")


def box(score: float, label: float = 0.0) -> list[float]:
    return [0, 0, 1, 1, score, label]


def images() -> dict[str, Array]:
    """Two boxes above a cut of one half; one above and one near; none, with two near; padding alone."""
    return {"out": np.array([
        [box(0.9), box(0.6), box(0.1)], [box(0.8), box(0.4, 1), box(0.3, -1)], [box(0.4), box(0.3, 2), box(0.99, -1)],
        [box(0.9, -1), box(0.9, -1), box(0.9, -1)],
    ])}  # fmt: skip


def test_an_image_is_as_sure_as_its_least_sure_box_and_an_empty_one_is_not_easy() -> None:
    assert BoxConfidence(OUT, 0.5).scores(images()).tolist() == [0.6, 0.8, 0.0, 0.0]
    assert BoxConfidence(OUT, 0.5, empty=0.7).scores(images()).tolist() == [0.6, 0.8, 0.7, 0.7]
    assert BoxConfidence(OUT).scores(images()).tolist() == [0.1, 0.4, 0.3, 0.0]


def test_boxes_near_the_cut_are_likely_misses() -> None:
    rule = BoxConfidence(OUT, 0.5, 0.25, 0.5)
    assert rule.scores(images()) == pytest.approx([0.6, 0.8 - 0.5 * 0.4, -0.5 * (0.4 + 0.3), 0.0])
    np.testing.assert_array_equal(rule.boxes(images())[:2], [[0.9, 0.6, np.nan], [0.8, np.nan, np.nan]])


def test_a_detector_may_give_no_rows_at_all() -> None:
    none = {"out": np.zeros((2, 0, 6), np.float32)}
    rule = BoxConfidence(OUT, 0.5, empty=0.3)
    assert rule.scores(none).tolist() == [0.3, 0.3]
    assert rule.score({"out": none["out"][:1]}) == 0.3


def test_a_box_whose_class_is_no_number_makes_an_image_unsure() -> None:
    bad = {"out": np.array([[box(0.9), box(0.9, math.nan)]])}
    assert BoxConfidence(OUT).scores(bad)[0] == BoxConfidence(OUT).score(bad) == NOT_SURE


def test_labels_are_as_sure_as_the_least_sure_one() -> None:
    given = {"out": np.array([[0.9, 0.2, 0.99], [0.5, 1.0, 0.0]])}
    assert LeastLabel(Source("out", "each")).scores(given) == pytest.approx([0.8, 0.5])
    assert LabelSet(Source("out", "each")).scores(given) == pytest.approx([math.log(0.9 * 0.8 * 0.99), math.log(0.5)])
    # From a cut of 0.8 on: 0.9 is half way to one, 0.2 three quarters of the way to nought.
    assert LeastLabel(Source("out", "each"), 0.8).scores({"out": np.array([[0.9, 0.2]])}) == pytest.approx([0.75])
    scores = {"out": np.array([[2.5, -0.5]])}
    assert LeastLabel(Source("out", "scores")).scores(scores) == pytest.approx([1 / (1 + math.exp(-1))])


def test_an_anomaly_score_is_sure_by_its_distance_from_the_cut_in_what_is_usual_on_its_side() -> None:
    rule = ThresholdDistance(OUT, 2.0, above=4.0, below=0.5)
    assert rule.scores({"out": np.array([2.0, 6.0, 1.0, 2.5])}).tolist() == [0.0, 1.0, 2.0, 0.125]


def test_a_narrow_interval_is_surer() -> None:
    ends = {"low": np.array([[0.0], [1.0]]), "high": np.array([[1.0], [5.0]])}
    low, high = Source("low", "values"), Source("high", "values")
    assert IntervalWidth(low, high).scores(ends).tolist() == [-1.0, -4.0]
    assert IntervalWidth(low, high, margin=0.5).scores(ends).tolist() == [-2.0, -5.0]
    columns = {"out": np.array([[1.0, 2.0, 4.0]])}
    assert IntervalWidth(OUT, OUT, 0, 2).score(columns) == -3.0
    several = {"low": np.zeros((1, 2)), "high": np.array([[1.0, 7.0]])}
    assert IntervalWidth(low, high).score(several) == -7.0


def test_predictions_are_sure_where_such_ones_were_near() -> None:
    rule = ResidualScale(OUT, Curve((0.0, 10.0), (1.0, 3.0)), 2.0)
    assert rule.scores({"out": np.array([-5.0, 0.0, 5.0, 99.0])}).tolist() == [-4.0, -4.0, -8.0, -12.0]


def test_an_embedding_is_sure_where_it_is_near_one_prototype_and_far_from_others() -> None:
    prototypes = Table.of(np.eye(3))
    given = {"out": np.array([[2.0, 0, 0], [1, 1, 0], [3, 4, 0]])}
    assert PrototypeSimilarity(OUT, prototypes).scores(given) == pytest.approx([1.0, 1 / math.sqrt(2), 0.8])
    assert PrototypeRatio(OUT, prototypes).scores(given) == pytest.approx([1.0, 0.0, 1 - 0.2 / 0.4], abs=1e-5)
    # The first two stand for the same thing: what lies between them is not between two things.
    assert PrototypeRatio(OUT, prototypes, (7, 7, 1)).scores(given) == pytest.approx(
        [1.0, 1 - (1 - 1 / math.sqrt(2)), 0.8], abs=1e-5
    )


def test_a_zero_embedding_points_nowhere() -> None:
    for rule in (PrototypeSimilarity(OUT, Table.of(np.eye(3))), PrototypeRatio(OUT, Table.of(np.eye(3)))):
        assert rule.score({"out": np.zeros((1, 3))}) == NOT_SURE
        assert rule.scores({"out": np.array([[0.0, 0, 0], [1, 0, 0]])}).tolist() == [NOT_SURE, pytest.approx(1.0)]


def test_distance_is_counted_in_how_samples_scatter() -> None:
    rule = Mahalanobis(OUT, Table.of(np.diag([1.0, 0.5])), Table.of(np.array([[0.0, 0], [4, 0]])))
    assert rule.scores({"out": np.array([[1.0, 0], [0, 2], [4, 6]])}) == pytest.approx([-1.0, -1.0, -9.0])


def test_a_sequence_is_sure_by_the_steps_that_say_something() -> None:
    steps = np.array([[[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.25, 0.25, 0.5], [0.0, 1.0, 0.0]]])
    given = {"out": steps, "length": np.array([3])}
    source = Source("out", "probabilities")
    assert SequenceConfidence(source).score(given) == pytest.approx((0.9 * 0.8 * 0.5) ** 0.25)
    assert SequenceConfidence(source, least=True).score(given) == pytest.approx(0.5)
    assert SequenceConfidence(source, lengths="length").score(given) == pytest.approx((0.9 * 0.8 * 0.5) ** (1 / 3))
    assert SequenceConfidence(source, skip=(0,), lengths="length").score(given) == pytest.approx((0.8 * 0.5) ** 0.5)
    assert SequenceConfidence(source, least=True, skip=(0, 2), lengths="length").score(given) == pytest.approx(0.8)
    assert SequenceConfidence(source, skip=(0, 1, 2)).score(given) == 0.0
    scores = {"out": np.log(np.maximum(steps, 1e-9)) + 5}
    assert SequenceConfidence(Source("out", "scores")).score(scores) == pytest.approx((0.9 * 0.8 * 0.5) ** 0.25)


def test_the_model_may_say_itself_how_sure_it_is() -> None:
    given = {"out": np.array([[1.0, 7.0]], np.float32)}
    assert GraphOutput(OUT, 1).score(given) == 7.0
    assert GraphOutput(OUT, 1, negate=True).scores(given).tolist() == [-7.0]


def test_two_ranks_are_as_sure_as_the_lower() -> None:
    logits = Logits(Source("out"))
    rule = WithScope(
        MaxProbability(logits), MaxLogit(logits), Curve((0.5, 1.0), (0.0, 1.0)), Curve((0.0, 10.0), (0.0, 1.0))
    )
    shares = {"out": np.array([[8.0, 8.0], [3.0, -90.0]])}
    assert rule.scores(shares) == pytest.approx([0.0, 0.3])


def test_one_probability_is_of_class_one() -> None:
    given = {"out": np.array([[0.9], [0.3], [0.5]])}
    logits = Logits(Source("out", "probability"))
    assert MaxProbability(logits).scores(given) == pytest.approx([0.9, 0.7, 0.5])
    assert Margin(logits).scores(given) == pytest.approx([0.8, 0.4, 0.0])
    # At a temperature of 2 its odds are drawn to their square root.
    assert MaxProbability(Logits(Source("out", "probability"), 2.0)).scores(given)[0] == pytest.approx(3 / 4)


def test_a_class_beside_the_scores_is_the_one_that_counts() -> None:
    given = {"out": np.array([[0.6, 0.4], [0.6, 0.4], [0.6, 0.4]]), "label": np.array([0, 1, 2])}
    logits = Logits(Source("out", "probabilities", chosen="label"))
    assert MaxProbability(logits).scores(given).tolist() == [0.6, 0.4, NOT_SURE]
    assert Margin(logits).scores(given) == pytest.approx([0.2, -0.2, NOT_SURE])


def test_a_vector_says_how_sure_the_scaled_scores_are_of_the_class_that_the_model_decides() -> None:
    rule = MaxProbability(Logits(Source("out"), 1.0, (1.0, 1.0), (0.0, math.log(3))))
    assert rule.scores({"out": np.log([[0.5000001, 0.4999999]])}) == pytest.approx([0.25], abs=1e-6)
