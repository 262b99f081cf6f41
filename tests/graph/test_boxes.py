"""Detections are what a plain NumPy decode and greedy suppression give."""

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto

from edgewise.errors import InputError
from edgewise.graph.boxes import detection_table, detections

Found = tuple[int, int, float, list[float]]  # image, class, score, box


def run(model: ModelProto, boxes: np.ndarray, scores: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"raw_boxes": boxes, "raw_scores": scores}))


def corners(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate([boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2], -1)


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    inner = np.prod(np.maximum(high - low, 0))
    return float(inner / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inner))


def reference(boxes: np.ndarray, scores: np.ndarray, least: float, most: float, per_class: int = 0) -> list[Found]:
    """boxes (batch, n, 4) as corners; the definition of greedy non-maximum suppression."""
    found: list[Found] = []
    for image in range(len(boxes)):
        for kind in range(scores.shape[2]):
            kept: list[int] = []
            for at in np.argsort(-scores[image, :, kind], kind="stable"):
                if scores[image, at, kind] > least and all(
                    overlap(boxes[image, at], boxes[image, k]) <= most for k in kept
                ):
                    kept.append(int(at))
            kept = kept[: per_class or None]
            found += [(image, kind, float(scores[image, k, kind]), boxes[image, k].tolist()) for k in kept]
    return found


def example(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Clustered boxes in centre form (2, 60, 4) and scores (2, 60, 3)."""
    random = np.random.default_rng(seed)
    centres = random.choice([20, 60, 100], (2, 60, 2)) + random.normal(0, 4, (2, 60, 2))
    boxes = np.concatenate([centres, random.uniform(15, 30, (2, 60, 2))], -1)
    return boxes.astype(np.float32), random.random((2, 60, 3)).astype(np.float32)


def same(got: list[np.ndarray], expected: list[Found]) -> None:
    boxes, scores, classes, images = got
    assert len(boxes) == len(scores) == len(classes) == len(images) == len(expected) > 3
    assert images.tolist() == [found[0] for found in expected]
    assert classes.tolist() == [found[1] for found in expected]
    np.testing.assert_allclose(scores, [found[2] for found in expected], rtol=1e-6)
    np.testing.assert_allclose(boxes, [found[3] for found in expected], rtol=1e-4)


@pytest.mark.parametrize("per_class", [0, 2])
@pytest.mark.parametrize("seed", range(4))
def test_centre_boxes(seed: int, per_class: int) -> None:
    boxes, scores = example(seed)
    model = detections(classes=3, score_threshold=0.6, iou_threshold=0.4, per_class=per_class)
    same(run(model, boxes, scores), reference(corners(boxes), scores, 0.6, 0.4, per_class))


def test_corner_boxes() -> None:
    boxes, scores = example()
    got = run(detections(classes=3, corners=True, score_threshold=0.7), corners(boxes), scores)
    same(got, reference(corners(boxes), scores, 0.7, 0.5))


def test_deltas_to_anchors() -> None:
    random = np.random.default_rng(5)
    anchors = np.concatenate([random.uniform(0, 100, (60, 2)), random.uniform(10, 30, (60, 2))], -1).astype(np.float32)
    deltas = random.normal(0, 1, (2, 60, 4)).astype(np.float32)
    _, scores = example()
    centres = anchors[:, :2] + deltas[..., :2] * 0.1 * anchors[:, 2:]
    boxes = corners(np.concatenate([centres, anchors[:, 2:] * np.exp(deltas[..., 2:] * 0.2)], -1))
    model = detections(classes=3, anchors=anchors, variances=(0.1, 0.2), score_threshold=0.7)
    same(run(model, deltas, scores), reference(boxes, scores, 0.7, 0.5))


def test_nothing_above_the_threshold_gives_empty_arrays() -> None:
    boxes, scores = example()
    got = run(detections(classes=3, score_threshold=1.0), boxes, scores)
    assert [array.shape for array in got] == [(0, 4), (0,), (0,), (0,)]


@pytest.mark.parametrize("keep", [4, 200])
@pytest.mark.parametrize("seed", range(3))
def test_a_table_holds_the_best_of_each_image_and_ends_in_padding(seed: int, keep: int) -> None:
    boxes, scores = example(seed)
    model = detection_table(classes=3, keep=keep, score_threshold=0.6, iou_threshold=0.4)
    (table,) = run(model, boxes, scores)
    assert table.shape == (2, keep, 6)
    found = reference(corners(boxes), scores, 0.6, 0.4)
    for image in range(2):
        mine = sorted((one for one in found if one[0] == image), key=lambda one: -one[2])[:keep]
        rows = table[image][: len(mine)]
        np.testing.assert_allclose(rows[:, :4], [one[3] for one in mine], rtol=1e-4)
        np.testing.assert_allclose(rows[:, 4], [one[2] for one in mine], rtol=1e-6)
        assert rows[:, 5].tolist() == [one[1] for one in mine]
        assert (table[image][len(mine) :] == [0, 0, 0, 0, 0, -1]).all()


def test_a_table_of_nothing_is_all_padding() -> None:
    boxes, scores = example()
    (table,) = run(detection_table(classes=3, keep=7, score_threshold=1.0), boxes, scores)
    assert (table == [0, 0, 0, 0, 0, -1]).all()


def test_a_prefix_keeps_two_heads_apart() -> None:
    names = [value.name for value in detections(classes=1, prefix="face_").graph.output]
    assert names == ["face_boxes", "face_scores", "face_classes", "face_images"]


@pytest.mark.parametrize(
    "options",
    [
        {"score_threshold": 1.5},
        {"iou_threshold": -0.1},
        {"per_class": -1},
        {"names": ["one"]},
        {"anchors": [[0.0, 0.0, 0.0, 1.0]]},
        {"anchors": [[0.0, 0.0, 1.0]]},
        {"anchors": [[0.0, 0.0, 1.0, 1.0]], "corners": True},
    ],
)
def test_what_cannot_be_is_refused_when_built(options: dict[str, Any]) -> None:
    for build in (detections, detection_table):
        with pytest.raises(InputError):
            build(classes=2, **options)
