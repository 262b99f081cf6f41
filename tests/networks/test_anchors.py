"""Anchors stand where the network's rows do, boxes survive their encoding, and every object has an anchor."""

import numpy as np
import onnxruntime as ort
import pytest
from onnx import numpy_helper

from edgewise.errors import InputError
from edgewise.graph.boxes import detection_table
from edgewise.networks.anchors import IGNORED, VARIANCES, anchor_grid, assign, decode, encode
from edgewise.networks.detector import SsdConfig, build_ssd, ssd_anchors
from edgewise.networks.inputs import ImageInput


def boxes(count: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    low = random.uniform(0, 70, (count, 2))
    return np.concatenate([low, low + random.uniform(4, 26, (count, 2))], 1)


def test_decode_of_encode_is_the_identity() -> None:
    anchors = ssd_anchors(SsdConfig())
    given = boxes(len(anchors))
    np.testing.assert_allclose(decode(encode(given, anchors), anchors), given, atol=1e-3)
    assert not encode(decode(np.zeros((len(anchors), 4)), anchors), anchors).round(5).any()
    batch = np.stack([given, given + 1])
    np.testing.assert_allclose(decode(encode(batch, anchors), anchors), batch, atol=1e-3)


def test_anchors_go_by_map_row_column_size_and_ratio() -> None:
    anchors = anchor_grid((40, 80), [(2, 4), (1, 2)], [(10,), (20, 30)], (1, 4))
    assert anchors.shape == (2 * 4 * 2 + 1 * 2 * 4, 4)
    np.testing.assert_allclose(anchors[:3], [[10, 10, 10, 10], [10, 10, 20, 5], [30, 10, 10, 10]])
    np.testing.assert_allclose(anchors[8], [10, 30, 10, 10])
    np.testing.assert_allclose(anchors[16:19], [[20, 20, 20, 20], [20, 20, 40, 10], [20, 20, 30, 30]])


@pytest.mark.parametrize("size", [(96, 96), (50, 70), (33, 17)])
def test_there_is_an_anchor_for_every_row_of_the_network(size: tuple[int, int]) -> None:
    config = SsdConfig(ImageInput(*size), classes=3)
    shape = build_ssd(config, 0).graph.output[1].type.tensor_type.shape
    assert shape.dim[1].dim_value == len(ssd_anchors(config))


def test_a_row_of_the_network_looks_at_the_place_of_its_anchor() -> None:
    """A spot in a black image moves the rows most whose anchors are there."""
    config = SsdConfig(ImageInput(96, 96), widths=(8, 8, 8), sizes=((12.0,),), ratios=(1.0,))
    session = ort.InferenceSession(build_ssd(config, 0).SerializeToString(), providers=["CPUExecutionProvider"])
    anchors = ssd_anchors(config)
    black, spot = np.zeros((2, 1, 1, 96, 96), np.float32)
    spot[..., 22:26, 70:74] = 5
    change = np.abs(session.run(["boxes"], {"x": spot})[0] - session.run(["boxes"], {"x": black})[0]).sum(2)[0]
    assert np.abs(anchors[change.argmax(), :2] - [72, 24]).max() <= 24
    assert change[np.abs(anchors[:, :2] - [72, 24]).max(axis=1) > 60].max() < change.max() / 10


def test_every_object_has_an_anchor_and_padding_has_none() -> None:
    anchors = ssd_anchors(SsdConfig())
    objects = np.full((3, 6, 5), -1.0)
    objects[0, :6, :4], objects[0, :6, 4] = boxes(6, 1), [0, 1, 2, 0, 1, 2]
    objects[1, 0] = [40, 40, 42, 42, 1]  # smaller than any anchor
    classes, offsets = assign(anchors, objects)
    assert classes.shape == (3, len(anchors))
    assert offsets.shape == (3, len(anchors), 4)
    assert not classes[2].any()
    assert not offsets[classes <= 0].any()
    for image, count in ((0, 6), (1, 1)):
        taken = classes[image] > 0
        there = decode(offsets[image], anchors)[taken]
        gap = np.abs(there[:, None] - objects[image, None, :count, :4]).max(2)
        assert (gap.min(axis=0) < 1e-2).all()  # every object is answered for
        np.testing.assert_array_equal(classes[image][taken] - 1, objects[image, gap.argmin(1), 4])


def test_two_objects_on_one_anchor_get_one_each() -> None:
    anchors = np.array([[10, 10, 10, 10], [22, 10, 10, 10]], np.float32)
    classes, _ = assign(anchors, [[[5, 5, 15, 15, 0], [6, 5, 18.5, 15, 1]]])
    assert classes.tolist() == [[1, 2]]


def test_a_middling_overlap_is_ignored() -> None:
    anchors = np.array([[10, 10, 10, 10], [14, 10, 10, 10], [40, 40, 10, 10]], np.float32)
    classes, _ = assign(anchors, [[[5, 5, 15, 15, 4]]], least=0.5, unsure=0.4)
    assert classes.tolist() == [[5, IGNORED, 0]]


def test_objects_of_another_form_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(N, objects, 5\)"):
        assign(ssd_anchors(SsdConfig()), np.zeros((3, 4)))
    with pytest.raises(InputError, match="not finite"):
        assign(ssd_anchors(SsdConfig()), np.full((1, 1, 5), np.nan))


def test_the_detection_fragment_reads_what_the_network_says() -> None:
    """Perfect offsets, through ``graph.boxes`` with these anchors and variances, give the objects back."""
    config = SsdConfig(classes=2, scores=True)
    anchors = ssd_anchors(config)
    objects = np.array([[[10, 12, 30, 33, 0], [50, 40, 75, 80, 1]]], np.float64)
    classes, offsets = assign(anchors, objects)
    scores = np.zeros((1, len(anchors), 2), np.float32)
    image, at = np.nonzero(classes > 0)
    scores[image, at, classes[image, at] - 1] = 0.9
    fragment = detection_table(classes=2, keep=5, candidates=len(anchors), anchors=anchors, variances=VARIANCES)
    session = ort.InferenceSession(fragment.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"raw_boxes": offsets, "raw_scores": scores})[0][0]
    kept = found[found[:, 5] >= 0]
    kept = kept[np.argsort(kept[:, 5])]
    np.testing.assert_allclose(kept[:, :4], objects[0, :, :4], atol=0.1)
    assert kept[:, 5].tolist() == [0, 1]


def test_scores_are_the_softmax_without_the_background() -> None:
    model = build_ssd(SsdConfig(classes=3, scores=True), 1)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal((2, 1, 96, 96)).astype(np.float32)
    logits, scores = session.run(["logits", "scores"], {"x": x})
    raised = np.exp(logits - logits.max(2, keepdims=True))
    np.testing.assert_allclose(scores, (raised / raised.sum(2, keepdims=True))[..., 1:], rtol=1e-4, atol=1e-6)
    assert all(numpy_helper.to_array(t).size for t in model.graph.initializer)
