"""Fragments in words: what can be said is what the graph library can do; what is said wrongly is answered with what there is."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from edgewise.digits import load_split, model_bytes
from edgewise.errors import EdgewiseError, InputError
from edgewise.importing.check import open_imported
from edgewise.importing.imported import ImportedModel
from edgewise.importing.onnx_file import onnx_from_bytes
from edgewise.packing.fragments import AFTER, BEFORE, join_after, join_before

LABELS = tuple("0123456789")


def digits() -> ImportedModel:
    return onnx_from_bytes("digits.onnx", model_bytes("fp32"))


def graph(operator: str, inputs: dict[str, list[Any]], outputs: dict[str, list[Any]]) -> ImportedModel:
    """One node of each name of ``inputs`` to the output at the same place."""
    nodes = [helper.make_node(operator, [into], [out]) for into, out in zip(inputs, outputs, strict=True)]
    infos = [
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in side.items()]
        for side in (inputs, outputs)
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "g", *infos), opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    )
    return onnx_from_bytes("g.onnx", model.SerializeToString())


def answer(model: ImportedModel, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    session = open_imported(model)
    try:
        return session.run(feeds)
    finally:
        session.close()


def test_an_image_model_takes_raw_pixels_and_gives_probabilities() -> None:
    whole = join_before(digits(), "image:size=8x8,channels=1,bright_ink")
    whole, decides = join_after(whole, "softmax", LABELS)
    (spec,) = whole.inputs
    assert (spec.dtype, spec.content, spec.range) == ("uint8", "image", (0.0, 255.0))
    x, y = load_split("eval")
    said = answer(whole, image=np.round(x[:50, ..., None] * (255 / 16)).astype(np.uint8))[decides]
    assert np.mean(said.argmax(1) == y[:50]) > 0.95
    np.testing.assert_allclose(said.sum(1), 1, atol=1e-5)


def test_fragments_behind_a_model_follow_one_another() -> None:
    model, first = join_after(digits(), "softmax", LABELS)
    model, second = join_after(model, "top-k:k=3", LABELS)
    assert (first, second) == ("probabilities", "indices")
    x = (load_split("eval")[0][:5, None] / 16).astype(np.float32)
    said, plain = answer(model, pixels=x), answer(digits(), pixels=x)["logits"]
    np.testing.assert_array_equal(said["indices"], np.argsort(-plain, axis=1)[:, :3])
    assert [spec.name for spec in model.inputs] == ["pixels"]
    model, decides = join_after(digits(), "labels", LABELS)
    assert answer(model, pixels=x)["label"].tolist() == [LABELS[at] for at in plain.argmax(1)]
    assert decides == "scores"


def test_audio_gets_the_channel_that_the_model_wants_and_its_rate_is_known() -> None:
    model = graph("Identity", {"features": ["batch", 1, 20, "frames"]}, {"y": ["batch", 1, 20, "frames"]})
    whole = join_before(model, "log-mel:sample_rate=8000,n_fft=256,hop=128,mels=20,high=none")
    (spec,) = whole.inputs
    assert (spec.content, spec.extra["sampleRate"], spec.dtype) == ("audio", 8000, "float32")
    said = answer(whole, waveform=np.zeros((2, 1024), np.float32))["y"]
    assert said.shape == (2, 1, 20, 9)
    np.testing.assert_allclose(said, np.log(1e-6), rtol=1e-5)


def test_a_sensor_window_is_normalised_in_the_graph() -> None:
    model = graph("Identity", {"w": ["batch", 4, 3]}, {"y": ["batch", 4, 3]})
    whole = join_before(model, "sensor:time=4,channels=3,dtype=int16,scale=0.5,mean=1/2/3")
    said = answer(whole, window=np.full((1, 4, 3), 10, np.int16))["y"]
    np.testing.assert_allclose(said[0, 0], [4, 3, 2])


def test_integers_reach_a_float_model_and_several_outputs_are_told_apart() -> None:
    model = graph("Identity", {"a": ["batch", 2]}, {"y": ["batch", 2]})
    whole = join_before(model, "dequantize:scale=0.5,zero_point=1,dtype=int8")
    np.testing.assert_allclose(answer(whole, quantized=np.array([[3, -1]], np.int8))["y"], [[1, -1]])
    two = graph("Identity", {"a": ["batch", 2], "b": ["batch", 2]}, {"y": ["batch", 2], "z": ["batch", 2]})
    with pytest.raises(InputError, match="several outputs; they are y, z"):
        join_after(two, "softmax", ())
    joined, _ = join_after(two, "sigmoid:of=z", ())
    assert [spec.name for spec in joined.outputs] == ["y", "probabilities"]


def test_boxes_and_scores_become_a_table_of_detections() -> None:
    model = graph(
        "Identity", {"b": ["batch", 5, 4], "s": ["batch", 5, 2]}, {"boxes": ["batch", 5, 4], "scores": ["batch", 5, 2]}
    )
    whole, decides = join_after(model, "boxes:boxes=boxes,scores=scores,keep=3,corners,score_threshold=0.5", ())
    boxes = np.array([[[0, 0, 2, 2], [0, 0, 2, 2.1], [5, 5, 6, 6], [7, 7, 8, 8], [9, 9, 10, 10]]], np.float32)
    scores = np.zeros((1, 5, 2), np.float32)
    scores[0, [0, 1, 2], [0, 0, 1]] = [0.9, 0.8, 0.7]
    table = answer(whole, b=boxes, s=scores)[decides]
    np.testing.assert_allclose(table[0], [[0, 0, 2, 2, 0.9, 0], [5, 5, 6, 6, 0.7, 1], [0, 0, 0, 0, 0, -1]], atol=1e-6)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("img", "there is no fragment 'img'; there are image"),
        ("image:siz=3", "image has no 'siz'; it has bright_ink"),
        ("image:size=a", "as in 224x224"),
        ("image:size=1x2x3", "as in 224x224"),
        ("image:grey=perhaps", "yes or no"),
        ("image:mean=a/b", "A/B/C"),
        ("image:fit=squeeze", "stretch or cover or contain"),
        ("image:scale=big", "a number"),
        ("mel:n_fft=256", "mel needs sample_rate, hop"),
        ("log-mel:sample_rate=8000,n_fft=256,hop=0", "at least 1"),
        ("sensor:time=4,channels=3,mean=1/2", "2 numbers for mean"),
        ("dequantize:scale=1,zero_point=300,dtype=int8", "zero point 300"),
    ],
)
def test_what_cannot_be_made_is_refused_with_what_can(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        join_before(digits(), text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("softmax:of=probs", "no output 'probs'; they are logits"),
        ("top-k", "top-k needs k"),
        ("top-k:k=11", "11 largest of 10"),
        ("boxes:boxes=logits,scores=logits", r"boxes \(batch, n, 4\)"),
        ("temperature:divisor=0", "not above 0"),
    ],
)
def test_what_cannot_stand_behind_is_refused(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        join_after(digits(), text, LABELS)


def test_labels_have_to_be_as_many_as_the_classes() -> None:
    with pytest.raises(InputError, match="2 names for 10 classes"):
        join_after(digits(), "labels", ("a", "b"))


def test_a_tflite_model_cannot_be_joined_and_the_message_says_what_can() -> None:
    model = digits()
    other = ImportedModel(model.name, "tflite", "fp32", model.files, model.inputs, model.outputs)
    with pytest.raises(InputError, match="only ONNX graphs"):
        join_before(other, "image:size=8x8,channels=1")


def test_every_kind_can_be_named() -> None:
    assert not set(BEFORE) & set(AFTER)
    for name in (*BEFORE, *AFTER):
        assert name == name.lower()


@pytest.mark.parametrize(
    ("shape", "text", "first"),
    [
        (["batch", 8, 6, 3], "image:size=8x6", False),
        (["batch", 3, 8, 6], "image:size=8x6", True),
        (["batch", 3, 8, 3], "image:size=8x3", True),
        (["batch", 3, 8, 3], "image:size=3x8,layout=nhwc", False),
        (["batch", 8, 6, 1], "image:size=8x6,grey", False),
        (["batch", 1, 8, 6], "image:size=8/6,grey=yes", True),
        (["batch", 8, 6, 1], "image:size=8x6,channels=1", False),
    ],
)
def test_channels_stand_where_the_model_has_them_or_where_it_is_said(shape: list[Any], text: str, first: bool) -> None:
    """Where both could be meant they come first, as in most models."""
    whole = join_before(graph("Identity", {"p": shape}, {"y": shape}), text)
    planes = 1 if "channels=1" in text else 3
    sides = shape[2:] if first else shape[1:3]
    picture = np.random.default_rng(0).integers(0, 256, (1, *sides, planes), dtype=np.uint8)
    said = answer(whole, image=picture)["y"]
    assert said.shape == (1, *shape[1:])
    last = said.transpose(0, 2, 3, 1) if first else said
    if "grey" not in text:
        np.testing.assert_allclose(last, picture / 255, atol=1e-6)


def test_a_switch_can_be_said_either_way() -> None:
    """On light paper, which is what the switch turns dark."""
    x = 255 - np.round(load_split("eval")[0][:3, ..., None] * (255 / 16)).astype(np.uint8)

    def said(words: str) -> np.ndarray:
        return answer(join_before(digits(), f"image:size=8x8,channels=1{words}"), image=x)["logits"]

    for off in (",bright_ink=no", ",bright_ink=false", ",bright_ink=No"):
        np.testing.assert_array_equal(said(off), said(""))
    for on in (",bright_ink=yes", ",bright_ink=true"):
        np.testing.assert_array_equal(said(on), said(",bright_ink"))
    assert not np.array_equal(said(""), said(",bright_ink"))


def test_a_joined_model_keeps_what_was_known_of_it() -> None:
    known = replace(
        digits(), name="mine", precision="mixed", labels=LABELS, extra_files={"LICENSE": b"MIT"}, notes=("arrived",),
        inputs=tuple(replace(spec, range=(0.0, 1.0)) for spec in digits().inputs),
    )  # fmt: skip
    behind, _ = join_after(known, "softmax", LABELS)
    assert behind.inputs == known.inputs, "what stands behind changes nothing about the inputs"
    for joined in (behind, join_before(known, "image:size=8x8,channels=1")):
        for part in ("name", "precision", "labels", "extra_files", "notes"):
            assert getattr(joined, part) == getattr(known, part), part


def test_a_channel_is_added_only_where_there_is_one_place_for_it() -> None:
    text = "log-mel:sample_rate=8000,n_fft=256,hop=128,mels=20,high=none"
    last = graph("Identity", {"f": ["batch", 20, "frames", 1]}, {"y": ["batch", 20, "frames", 1]})
    assert answer(join_before(last, text), waveform=np.zeros((2, 1024), np.float32))["y"].shape == (2, 20, 9, 1)
    unclear = graph("Identity", {"f": ["batch", 1, 1, "frames"]}, {"y": ["batch", 1, 1, "frames"]})
    with pytest.raises(EdgewiseError):
        join_before(unclear, text.replace("mels=20", "mels=1"))


@pytest.mark.parametrize(("samples", "shape"), [("1024", ("batch", 1024)), ("length", ("batch", "length"))])
def test_a_size_is_a_number_or_a_name(samples: str, shape: tuple[int | str, ...]) -> None:
    frames = 9 if samples.isdigit() else "frames"
    model = graph("Identity", {"f": ["batch", 20, frames]}, {"y": ["batch", 20, frames]})
    text = f"log-mel:sample_rate=8000,n_fft=256,hop=128,mels=20,high=none,samples={samples}"
    assert join_before(model, text).inputs[0].shape == shape
