"""An interface and a server of the Open Inference Protocol are fitted to each other where no number changes its meaning."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra pack")

from onnx import TensorProto, helper

from edgewise.bundle.tensors import TensorSpec
from edgewise.digits import model_bytes
from edgewise.errors import InputError, PeerError, RefusedError
from edgewise.net.cancel import Cancel
from edgewise.routing.upstream import Answered, Question, Reply, Trail
from edgewise.routing.upstreams.oip import OipUpstream
from edgewise.runtime.engine import Array
from edgewise.testing.inference_server import InferenceServer

X = np.random.default_rng(0).random((3, 1, 8, 8), np.float32)
ORIGIN = Trail()
LOGITS = TensorSpec("logits", "float32", ("batch", 10))


def model(
    nodes: Sequence[Any], inputs: dict[str, tuple[int, list[Any]]], outputs: dict[str, tuple[int, list[Any]]]
) -> bytes:
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info(name, *form) for name, form in inputs.items()],
        [helper.make_tensor_value_info(name, *form) for name, form in outputs.items()],
    )  # fmt: skip
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = made.SerializeToString()
    return data


def identity(kind: int, shape: list[Any]) -> bytes:
    """Called "data" and "said" there."""
    return model([helper.make_node("Identity", ["data"], ["said"])], {"data": (kind, shape)}, {"said": (kind, shape)})


def cast(kind: int, to: int) -> bytes:
    return model([helper.make_node("Cast", ["x"], ["y"], to=to)], {"x": (kind, ["n", 3])}, {"y": (to, ["n", 3])})


def ask(upstream: OipUpstream, inputs: dict[str, Array], decision: str, trail: Trail = ORIGIN) -> Reply:
    return upstream.ask(Question(inputs, time.perf_counter() + 10, decision, trail), Cancel())


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (TensorProto.UINT8, "uint8"), (TensorProto.INT8, "int8"), (TensorProto.INT64, "int64"), (TensorProto.BOOL, "bool"),
        (TensorProto.FLOAT16, "float16"), (TensorProto.DOUBLE, "float64"), (TensorProto.UINT32, "uint32"),
    ],
)  # fmt: skip
def test_numbers_of_every_kind_go_there_and_back_under_the_only_names_there_are(
    kind: int, dtype: str, binary: bool
) -> None:
    x = np.array([[0, 1, 1], [1, 0, 1], [0, 0, 1]]).astype(dtype)
    with InferenceServer(identity(kind, ["n", 3])) as server:
        server.binary = binary
        reply = ask(OipUpstream(server.model_url, outputs=[TensorSpec("y", dtype, ("n", 3))]), {"x": x}, "y")
    assert reply.outputs["y"].dtype == x.dtype
    assert reply.outputs["y"].tolist() == x.tolist()


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("spec", [(), (TensorSpec("y", "str", ("n", 2)),)])
def test_texts_go_there_and_back(binary: bool, spec: tuple[TensorSpec, ...]) -> None:
    x = np.array([["a", 'wörter and "more"'], ["", "\U0001f600"]], object)
    with InferenceServer(identity(TensorProto.STRING, ["n", 2])) as server:
        server.binary = binary
        assert ask(OipUpstream(server.model_url, outputs=spec), {"x": x}, "y").outputs["y"].tolist() == x.tolist()


def test_a_type_differs_where_the_numbers_stay_what_they_are() -> None:
    for kind, to, own, wanted in (
        (TensorProto.FLOAT, TensorProto.DOUBLE, "float16", "float32"), (TensorProto.INT32, TensorProto.INT64, "int8", "int32"),
    ):  # fmt: skip
        x = np.array([[1, 2, 3]], own)
        with InferenceServer(cast(kind, to)) as server:
            found = ask(
                OipUpstream(server.model_url, outputs=[TensorSpec("y", wanted, ("n", 3))]), {"x": x}, "y"
            ).outputs["y"]
        assert found.dtype == wanted
        assert found.tolist() == x.tolist()


def test_numbers_beyond_the_type_of_the_interface_are_refused() -> None:
    for kind, own, wanted, value in (
        (TensorProto.INT64, "int64", "int32", 1 << 40), (TensorProto.DOUBLE, "float64", "float32", 1e300),
    ):  # fmt: skip
        with InferenceServer(identity(kind, ["n", 1])) as server:
            upstream = OipUpstream(server.model_url, outputs=[TensorSpec("said", wanted, ("n", 1))])
            with pytest.raises(PeerError, match="beyond"):
                ask(upstream, {"data": np.array([[value]], own)}, "said")


@pytest.mark.parametrize(
    ("served", "x", "spec", "word"),
    [
        ((TensorProto.FLOAT, ["n", 3]), np.zeros((1, 3), np.uint8), None, "takes"),  # bytes of a picture are no floats
        ((TensorProto.UINT8, ["n", 3]), np.zeros((1, 3), np.float32), None, "takes"),
        ((TensorProto.FLOAT, ["n", 3]), np.zeros((1, 3), np.float64), None, "takes"),
        ((TensorProto.INT8, ["n", 3]), np.zeros((1, 3), np.uint8), None, "takes"),
        ((TensorProto.FLOAT, ["n", 3]), np.zeros((1, 4), np.float32), None, "takes"),
        ((TensorProto.FLOAT, ["n", 3]), np.zeros((1, 3, 1), np.float32), None, "takes"),
        ((TensorProto.STRING, ["n", 3]), np.zeros((1, 3), np.float32), None, "takes"),
        ((TensorProto.FLOAT, ["n", 3]), np.zeros((1, 3), object), None, "takes"),
        ((TensorProto.FLOAT, ["n", 3]), np.zeros((1, 3), np.complex64), None, "takes"),
        ((TensorProto.FLOAT, ["n", 3]), np.zeros((1, 3), np.float32), TensorSpec("said", "int8", ("n", 3)), "gives"),
        ((TensorProto.FLOAT, ["n", 3]), np.zeros((1, 3), np.float32), TensorSpec("said", "float32", ("n", 4)), "gives"),
        ((TensorProto.FLOAT, ["n", 3]), np.zeros((1, 3), np.float32), TensorSpec("said", "float32", ("n",)), "gives"),
        ((TensorProto.FLOAT, ["n", 3]), np.zeros((1, 3), np.float32), TensorSpec("said", "str", ("n", 3)), "gives"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_before_a_sample_leaves(
    served: tuple[int, list[Any]], x: Array, spec: TensorSpec | None, word: str
) -> None:
    with InferenceServer(identity(*served)) as server:
        with pytest.raises(PeerError, match=f"upstream {word}"):
            ask(OipUpstream(server.model_url, outputs=[] if spec is None else [spec]), {"data": x}, "said")
        assert not server.questions


def test_several_inputs_are_told_apart_by_name_alone() -> None:
    nodes = [helper.make_node("Sub", ["a", "b"], ["y"]), helper.make_node("Neg", ["y"], ["z"])]
    form = (TensorProto.FLOAT, ["n", 1])
    one, two = np.array([[5.0]], np.float32), np.array([[3.0]], np.float32)
    with InferenceServer(model(nodes, {"a": form, "b": form}, {"y": form, "z": form})) as server:
        upstream = OipUpstream(server.model_url)
        assert ask(upstream, {"b": two, "a": one}, "y").outputs["y"].tolist() == [[2.0]]
        assert ask(upstream, {"b": two, "a": one}, "z").outputs["z"].tolist() == [[-2.0]]
        both = OipUpstream(
            server.model_url, outputs=[TensorSpec(name, "float32", ("n", 1)) for name in ("y", "z", "more")]
        )
        assert {name: array.tolist() for name, array in ask(both, {"a": one, "b": two}, "z").outputs.items()} == {
            "y": [[2.0]], "z": [[-2.0]],
        }  # fmt: skip
        for inputs, decision in (({"a": one, "c": two}, "y"), ({"a": one}, "y"), ({"a": one, "b": two}, "scores")):
            before = len(server.asked)
            with pytest.raises(PeerError):
                ask(upstream, inputs, decision)
            assert len(server.asked) == before
        with pytest.raises(PeerError, match="numbers of rows"):
            ask(upstream, {"a": one, "b": np.zeros((2, 1), np.float32)}, "y")
        with pytest.raises(InputError, match="a row"):
            ask(upstream, {"a": one[:0], "b": two[:0]}, "y")


@pytest.mark.parametrize("binary", [False, True])
def test_a_fixed_batch_is_filled_up_and_cut_again(binary: bool) -> None:
    x = np.arange(10, dtype=np.float32).reshape(5, 2)
    with InferenceServer(identity(TensorProto.FLOAT, [2, 2])) as server:
        server.binary = binary
        reply = ask(OipUpstream(server.model_url), {"x": x}, "y")
        assert reply.outputs["y"].tolist() == x.tolist()
        assert len(reply.by) == 5
        assert server.questions == [2, 2, 2]


def test_a_number_that_json_has_not_is_not_sent_as_json() -> None:
    with InferenceServer(identity(TensorProto.FLOAT, ["n", 2])) as server:
        with pytest.raises(InputError, match="JSON"):
            ask(OipUpstream(server.model_url), {"x": np.array([[np.inf, 1.0]], np.float32)}, "y")
        assert not server.questions


def test_a_foreign_server_is_told_the_deadline_alone_and_answers_for_itself() -> None:
    with InferenceServer(model_bytes("fp32")) as server:
        server.strict = True
        server.says = {3: {"edgewise_tier": "forged,forged,forged", "other": "x"}}
        reply = ask(OipUpstream(server.model_url, outputs=[LOGITS]), {"pixels": X}, "logits", Trail(("device-1",), 3))
        assert reply.by == (Answered("cloud"),) * 3
        assert reply.spent == ()
        assert 0 < int(server.headers[-1]["Edgewise-Deadline-Ms"]) <= 10_000
        assert server.asked == [{}]


NODE = {"edgewise_node": "gateway-1", "edgewise_tier": "gateway"}
SAYS = {
    "edgewise_tier": "gateway,cloud,gateway", "edgewise_variant": "int8,,fp32", "edgewise_degraded": "0,0,1",
    "edgewise_why": '["","not sure\\u001b[2J","no upstream"]', "edgewise_spent": '[["gateway",0.5],["cloud",1]]',
}  # fmt: skip


@pytest.mark.parametrize("binary", [False, True])
def test_a_node_is_told_the_trail_and_says_who_answered(binary: bool) -> None:
    with InferenceServer(model_bytes("fp32")) as server:
        server.binary, server.node, server.says = binary, NODE, {3: SAYS}
        reply = ask(OipUpstream(server.model_url), {"pixels": X}, "logits", Trail(("device-1", "hub"), 3))
        assert reply.by == (
            Answered("gateway", "int8"), Answered("cloud", why="not sure [2J"), Answered("gateway", "fp32", True, "no upstream"),
        )  # fmt: skip
        assert reply.spent == (("gateway", 0.5), ("cloud", 1.0))
        (asked,) = server.asked
        assert 0 < asked.pop("edgewise_deadline_ms") <= 10_000
        assert asked == {"edgewise_hops": 3, "edgewise_trail": "device-1,hub"}


@pytest.mark.parametrize(
    "change",
    [
        {"edgewise_tier": "gateway"}, {"edgewise_tier": "a,b,c,d"}, {"edgewise_tier": "a,,c"}, {"edgewise_tier": "a,\x1b[2J,c"},
        {"edgewise_tier": 3}, {"edgewise_tier": f"a,{'b' * 200},c"}, {"edgewise_variant": "a,b"}, {"edgewise_degraded": "0,1"},
        {"edgewise_degraded": "0,1,2"}, {"edgewise_why": '["a"]'}, {"edgewise_why": "no JSON"}, {"edgewise_why": "[1,2,3]"},
        {"edgewise_why": '{"a":1}'}, {"edgewise_why": ["a", "b", "c"]}, {"edgewise_spent": '[["cloud"]]'},
        {"edgewise_spent": '[["cloud",-1]]'}, {"edgewise_spent": '[["cloud",true]]'}, {"edgewise_spent": '[["cloud",1e999]]'},
        {"edgewise_spent": '[["\\u001b",1]]'}, {"edgewise_spent": "[" * 100},
    ],
)  # fmt: skip
def test_a_node_that_says_something_else_is_refused(change: dict[str, Any]) -> None:
    with InferenceServer(model_bytes("fp32")) as server:
        server.node, server.says = NODE, {3: SAYS | change}
        with pytest.raises(PeerError) as raised:
            ask(OipUpstream(server.model_url), {"pixels": X}, "logits")
        assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "change",
    [
        {"edgewise_node": ""}, {"edgewise_node": "a,b"}, {"edgewise_node": "\x1b[2J"}, {"edgewise_tier": ""},
        {"edgewise_labels": "a,b"}, {"edgewise_labels": "[1]"}, {"edgewise_cuts": "{}"}, {"edgewise_cuts": "[" * 100},
    ],
)  # fmt: skip
def test_a_node_that_describes_itself_otherwise_is_refused(change: dict[str, str]) -> None:
    with InferenceServer(model_bytes("fp32")) as server:
        server.node = NODE | change
        with pytest.raises(PeerError) as raised:
            OipUpstream(server.model_url).describe(time.perf_counter() + 10, Cancel())
        assert str(raised.value).isprintable()


def test_a_version_is_asked_by_its_url() -> None:
    with InferenceServer(model_bytes("fp32")) as server:
        upstream = OipUpstream(f"{server.model_url}/versions/2")
        assert upstream.describe(time.perf_counter() + 10, Cancel()).version == "2"
        assert ask(upstream, {"pixels": X}, "logits").outputs["logits"].shape == (3, 10)
        with pytest.raises(PeerError, match="404"):
            ask(OipUpstream(f"{server.model_url}/versions/7"), {"pixels": X}, "logits")


def test_what_a_server_says_of_itself_is_read_once_and_again_after_an_answer_that_does_not_fit() -> None:
    with InferenceServer(model_bytes("fp32")) as server:
        upstream = OipUpstream(server.model_url)
        for _ in range(3):
            ask(upstream, {"pixels": X}, "logits")
        assert len(server.headers) == 2 + 3
        server.wrong = "another name"
        with pytest.raises(PeerError):
            ask(upstream, {"pixels": X}, "logits")
        server.wrong = ""
        ask(upstream, {"pixels": X}, "logits")
        assert len(server.headers) == 2 + 3 + 1 + 2 + 1


@pytest.mark.parametrize("extra", ["", "/", "/v2", "/v2/models/", "/v2/models/a/infer", "/v2/models/a/versions/"])
def test_a_url_that_names_no_model_is_refused(extra: str) -> None:
    with pytest.raises(InputError, match="names no model"):
        OipUpstream(f"https://example.org{extra}")


def test_addresses_are_those_that_a_teacher_has_too() -> None:
    with pytest.raises(RefusedError, match="without encryption"):
        OipUpstream("http://example.org/v2/models/a")
    with pytest.raises(InputError) as raised:
        OipUpstream("https://user:secret@example.org/v2/models/a")
    assert "secret" not in str(raised.value)
    assert "EDGEWISE_UPSTREAM_TOKEN" in raised.value.remedy
