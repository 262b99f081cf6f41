"""Mean average precision, on cases worked out by hand and against a plain second implementation."""

import numpy as np
import pytest

from edgewise.errors import DataError
from edgewise.measure.detection import average_precision, map50_estimator, overlaps
from edgewise.measure.metrics import mean_average_precision

BOX = [0.0, 0.0, 10.0, 10.0]


def test_overlap_of_known_boxes() -> None:
    shared = overlaps(np.array([BOX]), np.array([BOX, [5.0, 0.0, 15.0, 10.0], [20.0, 20.0, 30.0, 30.0]]))
    assert shared[0] == pytest.approx([1.0, 1 / 3, 0.0])


def test_a_perfect_detector_has_one_and_a_blind_one_zero() -> None:
    truth = np.array([[[*BOX, 0]], [[*BOX, 1]]])
    perfect = np.array([[[*BOX, 0.9, 0]], [[*BOX, 0.8, 1]]])
    assert mean_average_precision(perfect, truth).value == 1.0
    assert mean_average_precision(np.array([[[*BOX, 0.9, 1]], [[*BOX, 0.8, 0]]]), truth).value == 0.0


def test_a_second_box_on_the_same_object_is_a_false_alarm() -> None:
    truth = np.array([[[*BOX, 0], [50.0, 50.0, 60.0, 60.0, 0]]])
    found = np.array([[[*BOX, 0.9, 0], [0.0, 0.0, 10.0, 9.0, 0.8, 0], [50.0, 50.0, 60.0, 60.0, 0.7, 0]]])
    # Hits in order of score: yes, no, yes. Precision envelope 1 up to recall 1/2, then 2/3.
    assert map50_estimator(found, truth).value() == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_average_precision_against_a_plain_sum() -> None:
    chance = np.random.default_rng(0)
    scores, hits = chance.random(50), chance.random(50) < 0.4
    order = np.argsort(-scores)
    plain, total = 0.0, int(hits.sum()) + 5
    for rank, at in enumerate(order):
        if hits[at]:
            later = [hits[order[: end + 1]].sum() / (end + 1) for end in range(rank, 50)]
            plain += max(later) / total
    assert average_precision(scores, hits, total) == pytest.approx(plain)


def test_padding_counts_for_nothing() -> None:
    truth = np.array([[[*BOX, 0], [0, 0, 0, 0, -1]]])
    found = np.array([[[*BOX, 0.9, 0], [0, 0, 0, 0, 0.99, -1]]])
    assert map50_estimator(found, truth).value() == 1.0


def plain_map(found: np.ndarray, truth: np.ndarray) -> float:
    """Straight from the definition, image by image and box by box, for images that may be there several times."""
    areas = []
    for label in {row[4] for image in truth for row in image if row[4] >= 0}:
        objects = sum(row[4] == label for image in truth for row in image)
        boxes = [(row[4], at, row[:4]) for at, image in enumerate(found) for row in image if row[5] == label]
        taken: set[tuple[int, int]] = set()
        hits = []
        for _, at, box in sorted(boxes, key=lambda item: -item[0]):
            shared = [plain_overlap(box, row) if row[4] == label else -1.0 for row in truth[at]]
            best = max(range(len(shared)), key=shared.__getitem__)
            hits.append(shared[best] >= 0.5 and (at, best) not in taken)
            if hits[-1]:
                taken.add((at, best))
        precision = [sum(hits[: end + 1]) / (end + 1) for end in range(len(hits))]
        areas.append(sum(max(precision[at:]) for at in range(len(hits)) if hits[at]) / objects)
    return float(np.mean(areas))


def plain_overlap(a: np.ndarray, b: np.ndarray) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0) * max(high, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def scenes(chance: np.random.Generator, images: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Up to 4 objects an image in 3 classes, and 10 detections: some on an object, some off, some of the wrong class."""
    corner = chance.integers(0, 30, (images, 4, 2)).astype(float)
    label = np.where(chance.random((images, 4, 1)) < 0.2, -1, chance.integers(0, 3, (images, 4, 1)))
    truth = np.concatenate([corner, corner + chance.integers(4, 12, (images, 4, 2)), label], axis=2)
    near = np.take_along_axis(truth, chance.integers(0, 4, (images, 10, 1)), axis=1)
    boxes = near[..., :4] + chance.normal(size=(images, 10, 4)).round(2)
    classes = np.where(chance.random((images, 10)) < 0.8, near[..., 4], chance.integers(0, 3, (images, 10)))
    return np.concatenate([boxes, chance.random((images, 10, 1)), classes[..., None]], axis=2), truth


@pytest.mark.parametrize("seed", range(5))
def test_map_agrees_with_the_definition_also_for_repeated_images(seed: int) -> None:
    """The law that the bootstrap rests on: an image of weight two counts as two images."""
    chance = np.random.default_rng(seed)
    found, truth = scenes(chance)
    estimator = map50_estimator(found, truth)
    assert 0.1 < estimator.value() < 0.9
    assert estimator.value() == pytest.approx(plain_map(found, truth))
    weights = chance.integers(0, 3, (4, 12))
    expected = [plain_map(found.repeat(row, axis=0), truth.repeat(row, axis=0)) for row in weights]
    assert estimator.statistic(weights.astype(float)) == pytest.approx(expected)


def test_the_interval_is_over_images_and_narrows_with_their_number() -> None:
    chance = np.random.default_rng(9)
    few, many = mean_average_precision(*scenes(chance, 10)), mean_average_precision(*scenes(chance, 160))
    assert few.method == "bootstrap over images"
    assert few.low < few.value < few.high
    assert few.high - few.low > 2 * (many.high - many.low)


def test_no_detection_at_all_is_a_precision_of_zero() -> None:
    assert map50_estimator(np.zeros((2, 0, 6)), np.array([[[*BOX, 0]], [[*BOX, 0]]])).value() == 0.0


def test_boxes_that_are_corner_and_size_are_refused_as_far_as_they_can_be_told() -> None:
    with pytest.raises(DataError, match="not a corner and a size"):
        mean_average_precision(np.zeros((1, 1, 6)), np.array([[[50.0, 50.0, 10.0, 10.0, 0.0]]]))


def test_what_is_not_finite_or_no_class_is_refused() -> None:
    truth = np.array([[[*BOX, 0]], [[*BOX, 1]]])
    with pytest.raises(DataError, match="detections are not all finite"):
        mean_average_precision(np.full((2, 1, 6), np.nan), truth)
    with pytest.raises(DataError, match="objects are not all finite"):
        mean_average_precision(np.zeros((2, 1, 6)), np.where(truth == 10, np.inf, truth))
    with pytest.raises(DataError, match="whole number"):
        mean_average_precision(np.zeros((2, 1, 6)), truth + np.array([0, 0, 0, 0, 0.5]))


def test_wrong_shapes_and_empty_truth_are_refused() -> None:
    with pytest.raises(DataError, match="are needed"):
        mean_average_precision(np.zeros((1, 2, 5)), np.zeros((1, 2, 5)))
    with pytest.raises(DataError, match="no object"):
        mean_average_precision(np.zeros((1, 2, 6)), np.full((1, 2, 5), -1.0))
