"""Metrics agree with scikit-learn, their intervals cover, and bad data is refused in words."""

import numpy as np
import pytest
from sklearn import metrics as oracle

from edgewise.errors import DataError
from edgewise.measure.metric import Metric
from edgewise.measure.metrics import (
    METRICS,
    accuracy,
    auc,
    default_metrics,
    macro_f1,
    mae,
    micro_f1,
    recall_at_k,
    rmse,
    top_k_accuracy,
)

CHANCE = np.random.default_rng(3)
Y = CHANCE.integers(0, 5, 400)
SCORES = CHANCE.normal(size=(400, 5)) + 1.5 * np.eye(5)[Y]


def test_accuracy_agrees_with_the_oracle() -> None:
    measured = accuracy(SCORES, Y)
    assert measured.value == pytest.approx(oracle.accuracy_score(Y, SCORES.argmax(1)))
    assert measured.low < measured.value < measured.high
    assert measured.method == "wilson"


def test_top_k_agrees_with_the_oracle() -> None:
    assert top_k_accuracy(SCORES, Y, k=2).value == pytest.approx(oracle.top_k_accuracy_score(Y, SCORES, k=2))


def test_macro_f1_agrees_with_the_oracle_and_leaves_absent_classes_out() -> None:
    assert macro_f1(SCORES, Y).value == pytest.approx(oracle.f1_score(Y, SCORES.argmax(1), average="macro"))
    few = Y < 3
    wide = np.where(np.arange(5) < 3, SCORES[few], -100.0)
    assert macro_f1(wide, Y[few]).value == pytest.approx(oracle.f1_score(Y[few], wide.argmax(1), average="macro"))


def test_auc_agrees_with_the_oracle_with_ties_and_for_several_classes() -> None:
    y = (Y > 2).astype(int)
    coarse = np.round(SCORES[:, 4], 0)
    assert auc(coarse, y).value == pytest.approx(oracle.roc_auc_score(y, coarse))
    shares = np.exp(SCORES) / np.exp(SCORES).sum(1, keepdims=True)
    assert auc(shares, Y).value == pytest.approx(oracle.roc_auc_score(Y, shares, multi_class="ovr", average="macro"))


def test_regression_errors_agree_with_the_oracle_and_say_that_lower_is_better() -> None:
    truth = CHANCE.normal(size=200)
    said = truth + CHANCE.normal(size=200) * 0.3
    assert rmse(said, truth).value == pytest.approx(oracle.root_mean_squared_error(truth, said))
    assert mae(said[:, None], truth).value == pytest.approx(oracle.mean_absolute_error(truth, said))
    assert not rmse(said, truth).higher_is_better


def test_micro_f1_agrees_with_the_oracle() -> None:
    truth = CHANCE.integers(0, 2, (100, 6))
    said = np.clip(truth + CHANCE.normal(size=truth.shape) * 0.5, 0, 1)
    assert micro_f1(said, truth).value == pytest.approx(oracle.f1_score(truth, said >= 0.5, average="micro"))


def test_recall_counts_the_nearest_other_sample() -> None:
    points = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    assert recall_at_k(points, np.array([0, 0, 1, 1])).value == 1.0
    assert recall_at_k(points, np.array([0, 1, 0, 1])).value == 0.0


def test_groups_widen_the_interval_of_correlated_samples() -> None:
    group = np.arange(40).repeat(10)
    hits = CHANCE.integers(0, 2, 40).repeat(10)
    outputs = np.stack([1.0 - hits, hits], axis=1)
    plain, grouped = accuracy(outputs, np.ones(400, int)), accuracy(outputs, np.ones(400, int), group)
    assert grouped.high - grouped.low > 2 * (plain.high - plain.low)
    assert "groups" in grouped.method


@pytest.mark.parametrize(
    ("outputs", "y", "words"),
    [
        (SCORES, Y[:10], "400 outputs"),
        (SCORES, Y + 1, "classes 0..4"),
        (SCORES, Y.astype(float), "float64"),
        (np.full((3, 2), np.nan), np.zeros(3, int), "finite"),
        (np.zeros((0, 2)), np.zeros(0, int), "no outputs"),
    ],
    ids=["lengths", "labels", "dtype", "nan", "empty"],
)
def test_data_that_does_not_fit_is_refused_in_words(outputs: np.ndarray, y: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        accuracy(outputs, y)


def test_auc_of_one_class_is_undefined_not_a_number() -> None:
    with pytest.raises(DataError, match="more than one class"):
        auc(np.zeros(5), np.zeros(5, int))


def test_every_task_has_its_metrics() -> None:
    assert [metric.name for metric in default_metrics("classification", SCORES, Y)] == ["accuracy", "macro_f1"]
    assert set(METRICS) >= {"accuracy", "macro_f1", "auc", "map50", "rmse", "recall@1"}


def test_a_metric_survives_json() -> None:
    measured = accuracy(SCORES, Y)
    assert Metric.from_json(measured.to_json()) == measured


@pytest.mark.parametrize(
    "fault", [{"value": float("nan")}, {"low": 0.9, "value": 0.5}, {"samples": 0}, {"confidence": 1.0}]
)
def test_a_metric_from_outside_is_validated(fault: dict[str, object]) -> None:
    with pytest.raises(DataError):
        Metric.from_json({**accuracy(SCORES, Y).to_json(), **fault})
