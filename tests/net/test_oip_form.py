"""An answer is what was asked for, or it is refused whole: names, types, shapes, sizes, and no byte too many."""

import json
from typing import Any

import numpy as np
import pytest

from edgewise.errors import PeerError
from edgewise.net.oip_form import TensorForm, answer_limit, read_answer, read_extensions, read_model

SCORES = TensorForm("scores", "FP32", (2, 3))
X = np.arange(6, dtype="<f4").reshape(2, 3)


def binary(*outputs: dict[str, Any], tail: bytes = X.tobytes(), **more: Any) -> tuple[bytes, int]:
    head = json.dumps({"outputs": outputs, **more}).encode()
    return head + tail, len(head)


def output(name: str = "scores", size: Any = 24, **changes: Any) -> dict[str, Any]:
    return {"name": name, "datatype": "FP32", "shape": [2, 3], "parameters": {"binary_data_size": size}, **changes}


def test_binary_tensors_are_found_in_the_order_of_the_outputs_whatever_else_is_there() -> None:
    other = {"name": "other", "datatype": "INT8", "shape": [2], "parameters": {"binary_data_size": 2}}
    plain = {"name": "plain", "datatype": "INT8", "shape": [2], "data": [1, 2]}
    data, head = binary(other, output(), plain, tail=b"ab" + X.tobytes(), parameters={"a": "b"})
    found, said = read_answer(data, "it", [SCORES, TensorForm("plain", "INT8", (-1,))], head=head)
    assert found["scores"].tolist() == X.tolist()
    assert found["plain"].tolist() == [1, 2]
    assert said == {"a": "b"}


def test_what_varies_may_have_any_size_but_no_other_rank() -> None:
    data, head = binary(output())
    assert read_answer(data, "it", [TensorForm("scores", "FP32", (2, -1))], head=head)[0]["scores"].shape == (2, 3)
    with pytest.raises(PeerError, match="shape"):
        read_answer(data, "it", [TensorForm("scores", "FP32", (2, -1, 1))], head=head)


@pytest.mark.parametrize(
    ("data", "head"),
    [
        binary(output(), tail=X.tobytes()[:-1]), binary(output(), tail=X.tobytes() + b"\0"), binary(output(size=23)),
        binary(output(size=-24)), binary(output(size="24")), binary(output(size=True)), binary(output(size=1 << 60)),
        binary(output(), output(), tail=X.tobytes() * 2), binary(output(name="other")), binary(),
        binary(output(datatype="INT32")), binary(output(shape=[3, 2])), binary(output(shape=[2, 3, 1])),
        binary(output(shape=[-2, -3])), binary(output(shape=[2, 3.0])), binary(output(shape=None)), (binary(output())[0], 0),
        (binary(output())[0], -1), (binary(output())[0], 1 << 40), (binary(output())[0], binary(output())[1] - 1),
        (binary(output())[0], binary(output())[1] + 1), (b"", 0), (b"[]", 2), binary(output(), tail=b"\xff" * 24),
        (b'{"outputs":{}}', 14), (b'{"outputs":[[]]}', 16), (b"\xff\xfe", 2),
        (json.dumps({"outputs": [{"name": "scores", "datatype": "FP32", "shape": [2, 3], "data": [0] * 6}]}).encode(), 4096),
    ],
)  # fmt: skip
def test_binary_answers_that_do_not_add_up_are_refused(data: bytes, head: int) -> None:
    with pytest.raises(PeerError) as raised:
        read_answer(data, "it", [SCORES], head=head)
    assert str(raised.value).isprintable()


def test_an_answer_is_as_long_as_its_numbers_can_be() -> None:
    assert answer_limit([SCORES], raw=True) == (1 << 16) + 24
    assert answer_limit([SCORES], raw=False) > answer_limit([SCORES], raw=True)
    assert answer_limit([TensorForm("boxes", "FP32", (1, -1, 6))], raw=True) == 1 << 25


def test_an_answer_of_any_size_has_a_bounded_number_of_values() -> None:
    data = b'{"outputs":[],"parameters":{"x":[' + b"0," * (1 << 19) + b"0]}}"
    with pytest.raises(PeerError, match="values"):
        read_answer(data, "it", [TensorForm("boxes", "FP32", (1, -1, 6))])


def test_a_model_says_what_it_takes_and_gives() -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 3]}
    said = {"name": "m", "versions": ["1"], "inputs": [tensor], "outputs": [tensor], "parameters": {"a": "b", "c": 1}}
    model = read_model(json.dumps(said).encode(), "it")
    assert model.inputs == model.outputs == (TensorForm("x", "FP32", (-1, 3)),)
    assert (model.name, model.versions, model.parameters) == ("m", ("1",), {"a": "b"})
    for change in (
        {"versions": "1"},
        {"inputs": []},
        {"outputs": [tensor] * 300},
        {"name": 1},
        {"inputs": [{**tensor, "shape": [-2]}]},
    ):
        with pytest.raises(PeerError):
            read_model(json.dumps(said | change).encode(), "it")


def test_extensions_are_texts() -> None:
    assert read_extensions(b'{"name":"a","extensions":["binary_tensor_data"]}', "it") == ("binary_tensor_data",)
    assert read_extensions(b"{}", "it") == ()
    for wrong in (b"[]", b'{"extensions":[1]}', b'{"extensions":"a"}', b"<html>"):
        with pytest.raises(PeerError):
            read_extensions(wrong, "it")
