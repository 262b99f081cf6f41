"""A teacher behind a URL says what the model there says, in the form that was asked for, or is refused."""

import json
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto

from edgewise.compress.distill.upstream import Upstream
from edgewise.digits import load_split, model_bytes
from edgewise.errors import InputError, PeerError
from edgewise.net.asking import Asker, read_address
from edgewise.runtime.engine import OpenOptions, find_engine
from edgewise.testing.inference_server import InferenceServer

X = (load_split("train")[0][:70, None] / 16).astype(np.float32)


def asking(server: InferenceServer, **changes: Any) -> Upstream:
    usual = {"sample": (1, 8, 8), "dtype": "float32", "answer": (10,), "usual": "logits", **changes}
    return Upstream(read_address(server.model_url), Asker(), **usual)


def test_its_answers_are_those_of_the_model() -> None:
    session = find_engine("onnxruntime").open({"model.onnx": model_bytes("fp32")}, OpenOptions(threads=1))
    with InferenceServer(model_bytes("fp32")) as server:
        teacher = asking(server)
        np.testing.assert_allclose(teacher(X), session.run({"pixels": X})["logits"], rtol=1e-5, atol=1e-5)
        assert server.questions == [64, 6]
        assert asking(server, usual="other")(X[:2]).shape == (2, 10)


def test_a_fixed_batch_is_filled_up() -> None:
    model = ModelProto.FromString(model_bytes("fp32"))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 4
    with InferenceServer(model.SerializeToString()) as server:
        assert asking(server)(X[:10]).shape == (10, 10)
        assert server.questions == [4, 4, 4]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"answer": (12,)}, "no output of the shape"), ({"sample": (8, 8, 1)}, "the samples are float32"),
        ({"dtype": "uint8"}, "uint8"), ({"output": "boxes"}, "no output boxes"),
    ],
)  # fmt: skip
def test_a_teacher_that_does_not_fit_is_refused_before_a_sample_leaves(changes: dict[str, Any], word: str) -> None:
    with InferenceServer(model_bytes("fp32")) as server:
        with pytest.raises(InputError, match=word):
            asking(server, **changes)(X[:2])
        assert not server.questions


def output(**changes: Any) -> bytes:
    tensor = {"name": "logits", "datatype": "FP32", "shape": [2, 10], "data": [0.5] * 20, **changes}
    return json.dumps({"outputs": [tensor]}).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"[", b"[]", b"{}", b"\xff", output(name="other"), output(shape=[20]), output(data=[0.5] * 19), output(data=["x"] * 20),
        output(data=[[0.5] * 9, [0.5] * 11]), output(data=None), output(data=[True] * 20), output(shape="2,10"),
        b'{"outputs":[{"name":"logits","shape":[2,10],"data":[' + b",".join([b"1e999"] * 20) + b"]}]}",
        b'{"outputs":[' + b",".join([output()[12:-2]] * 2) + b"]}", b'{"outputs":' + b"[" * 50 + b"]" * 50 + b"}", b" " * (1 << 20),
        output(data=[0.5] * 20, parameters={"x": [[]] * 9000}),
    ],
)  # fmt: skip
def test_an_answer_of_another_form_is_refused(body: bytes) -> None:
    with InferenceServer(model_bytes("fp32")) as server:
        server.body = body
        with pytest.raises(PeerError):
            asking(server)(X[:2])


def test_rows_within_rows_are_the_same_numbers() -> None:
    with InferenceServer(model_bytes("fp32")) as server:
        server.body = output(data=[list(range(10)), list(range(10, 20))])
        np.testing.assert_array_equal(asking(server)(X[:2]), np.arange(20, dtype=np.float32).reshape(2, 10))


@pytest.mark.parametrize(
    "description",
    [
        b"{}", b'{"inputs":[],"outputs":[]}', b'{"inputs":[{"name":"x","datatype":"FP32","shape":[]}],"outputs":[]}', b"<html>",
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[-7]}],"outputs":[{"name":"y","datatype":"FP32","shape":[1]}]}',
    ],
)  # fmt: skip
def test_a_description_of_another_form_is_refused(description: bytes) -> None:
    with InferenceServer(model_bytes("fp32")) as server:
        server.description = description
        with pytest.raises(PeerError) as raised:
            asking(server)(X[:2])
        assert "v2/models/NAME" in raised.value.remedy
