"""Metrics agree with scikit-learn, their intervals cover, and bad data is refused in words."""

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
from sklearn import metrics as oracle

from edgewise.bundle.document import TASKS
from edgewise.errors import DataError
from edgewise.measure.metrics import (
    _ESTIMATORS,
    METRICS,
    accuracy,
    auc,
    default_metric,
    default_metrics,
    difference,
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
    assert recall_at_k(points, np.arange(4), k=3).value == 0.0, "a sample never counts as its own neighbour"
    with pytest.raises(DataError, match="at least 4 other"):
        recall_at_k(points, np.arange(4), k=4)


def test_recall_agrees_with_a_full_sort_by_cosine_also_against_a_gallery() -> None:
    chance = np.random.default_rng(8)
    gallery, gallery_y = chance.normal(size=(60, 4)), chance.integers(0, 6, 60)
    queries, y = chance.normal(size=(40, 4)), chance.integers(0, 6, 40)
    for k in (1, 3, 60):
        near = oracle.pairwise.cosine_similarity(queries, gallery).argsort(axis=1)[:, ::-1][:, :k]
        expected = np.mean([y[at] in gallery_y[near[at]] for at in range(40)])
        assert recall_at_k(queries, y, k=k, gallery=gallery, gallery_y=gallery_y).value == pytest.approx(expected)
    with pytest.raises(DataError, match="both its embeddings and its labels"):
        recall_at_k(queries, y, gallery=gallery)
    with pytest.raises(DataError, match="4 values and those of the gallery 3"):
        recall_at_k(queries, y, gallery=gallery[:, :3], gallery_y=gallery_y)


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
        (SCORES, Y.astype(str), "whole numbers"),
        (SCORES, Y - 1, "in -1"),
        (SCORES, Y[:, None], "one label per output"),
        (np.full((3, 2), np.nan), np.zeros(3, int), "finite"),
        (np.zeros((0, 2)), np.zeros(0, int), "no outputs"),
    ],
    ids=["lengths", "labels", "dtype", "text", "negative", "shape", "nan", "empty"],
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


def test_every_metric_refuses_what_is_not_finite_and_groups_that_do_not_fit() -> None:
    holes = np.where(np.arange(20) == 3, np.nan, 0.5).reshape(10, 2)
    truth = {"micro_f1": np.ones((10, 2)), "rmse": np.ones((10, 2)), "mae": np.ones((10, 2))}
    for name in METRICS.keys() - {"map50"}:
        y = truth.get(name, np.arange(10) % 2)
        with pytest.raises(DataError, match="finite"):
            METRICS[name](holes, y)
        with pytest.raises(DataError, match="group has the shape"):
            METRICS[name](np.nan_to_num(holes), y, np.arange(9))


def test_truth_that_is_not_finite_or_not_binary_is_refused() -> None:
    with pytest.raises(DataError, match="true values"):
        rmse(np.ones(3), np.array([1.0, np.nan, 0.0]))
    with pytest.raises(DataError, match="0 or 1"):
        micro_f1(np.ones((2, 2)), np.full((2, 2), 2))
    with pytest.raises(DataError, match="no label is set"):
        micro_f1(np.zeros((2, 2)), np.zeros((2, 2)))
    with pytest.raises(DataError, match=r"classes 0\.\.1"):
        auc(np.ones(3), np.array([-1, 1, 1]))
    with pytest.raises(DataError, match="equally many"):
        mae(np.ones((3, 2)), np.ones(3))


def plain(name: str, outputs: np.ndarray, y: np.ndarray) -> float:
    """The same metrics by scikit-learn, on samples that are there several times."""
    match name:
        case "macro_f1":
            return float(oracle.f1_score(y, outputs.argmax(1), average="macro"))
        case "auc":
            return float(oracle.roc_auc_score(y, outputs))
        case "micro_f1":
            return float(oracle.f1_score(y, outputs >= 0.5, average="micro"))
        case "rmse":
            return float(oracle.root_mean_squared_error(y, outputs))
    return float(oracle.mean_absolute_error(y, outputs))


@pytest.mark.parametrize("name", ["macro_f1", "auc", "micro_f1", "rmse", "mae"])
def test_a_weighted_sample_counts_as_that_many_samples(name: str) -> None:
    """The law that vectorised resampling rests on: statistic(weights) == metric(samples repeated by the weights)."""
    chance = np.random.default_rng(4)
    shapes = {"macro_f1": (60, 4), "micro_f1": (60, 4)}
    outputs = chance.normal(size=shapes.get(name, (60,))).round(1)
    y = {"macro_f1": chance.integers(0, 4, 60), "auc": chance.integers(0, 2, 60)}.get(
        name, chance.integers(0, 2, outputs.shape)
    )
    weights = chance.integers(0, 4, (6, 60))
    got = _ESTIMATORS[name](outputs, y).statistic(weights.astype(float))
    expected = [plain(name, outputs.repeat(row, axis=0), y.repeat(row, axis=0)) for row in weights]
    assert got == pytest.approx(expected)


def test_the_interval_of_auc_covers_the_true_area() -> None:
    chance, hits = np.random.default_rng(6), 0
    y = np.arange(120) % 2
    for _ in range(100):
        measured = auc(chance.normal(size=120) + y, y, chance=chance)
        hits += measured.low <= NormalDist().cdf(1 / np.sqrt(2)) <= measured.high  # of two unit normals one apart
    assert 88 <= hits <= 100


def test_intervals_repeat_and_follow_chance_and_confidence() -> None:
    assert macro_f1(SCORES, Y) == macro_f1(SCORES, Y)
    assert macro_f1(SCORES, Y) != macro_f1(SCORES, Y, chance=np.random.default_rng(1))
    for name in ("accuracy", "macro_f1"):
        wide, narrow = METRICS[name](SCORES, Y, confidence=0.99), METRICS[name](SCORES, Y, confidence=0.5)
        assert wide.low < narrow.low < narrow.high < wide.high
        assert wide.confidence == 0.99


def test_a_difference_is_told_apart_where_the_single_intervals_overlap() -> None:
    worse = SCORES.copy()
    worse[:16] = -SCORES[:16]  # the same model, with sixteen answers turned round
    single, other = accuracy(SCORES, Y), accuracy(worse, Y)
    assert single.low < other.high, "apart, the two could be equal"
    paired = difference("accuracy", worse, SCORES, Y)
    assert paired.value == pytest.approx(single.value - other.value)
    assert 0 < paired.low < paired.value < paired.high
    assert difference("accuracy", SCORES, worse, Y).value == -paired.value
    grouped = difference("accuracy", worse, SCORES, Y, np.arange(400) // 16)
    assert grouped.high - grouped.low > paired.high - paired.low
    with pytest.raises(DataError, match="no metric"):
        difference("speed", SCORES, worse, Y)


def test_every_task_of_the_format_has_a_metric_that_decides() -> None:
    assert {default_metric(task) for task in TASKS} <= METRICS.keys() == _ESTIMATORS.keys()
    with pytest.raises(DataError, match="no task"):
        default_metric("poetry")
    with pytest.raises(DataError, match="no task"):
        default_metrics("poetry", SCORES, Y)


def test_auc_of_a_rare_class_is_resampled_within_the_classes() -> None:
    y = (np.arange(100) >= 98).astype(int)
    assert auc(np.linspace(0, 1, 100), y).method == "stratified bootstrap"
    seen = []
    estimator = _ESTIMATORS["auc"](np.linspace(0, 1, 100), y)
    spied = replace(estimator, statistic=lambda weights: (seen.append(weights), estimator.statistic(weights))[1])
    spied.metric()
    drawn = np.concatenate(seen[1:])  # the first call is the value itself
    assert (drawn[:, y == 1].sum(axis=1) == 2).all()


def test_what_a_metric_makes_of_a_row_bounds_the_blocks() -> None:
    estimator = _ESTIMATORS["macro_f1"](np.eye(5)[[0, 1, 2]], np.array([0, 1, 2]))
    sizes = []
    wide = replace(
        estimator, width=1 << 18, statistic=lambda weights: (sizes.append(len(weights)), np.ones(len(weights)))[1]
    )
    wide.metric()
    assert max(sizes) <= 4
