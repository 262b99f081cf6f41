"""A server of the Open Inference Protocol over gRPC answers like the model behind it, or is refused."""

import os
import socket
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnx", reason="needs the extra pack")

from onnx import TensorProto, helper

from edgewise.digits import model_bytes
from edgewise.errors import HttpStatusError, InputError, NetworkError, PeerError, RefusedError
from edgewise.net.cancel import Cancel
from edgewise.routing.upstream import Described, Question
from edgewise.routing.upstreams.oip_grpc import OipGrpcUpstream
from edgewise.routing.upstreams.oip_messages import messages
from edgewise.runtime.engine import Array, OpenOptions, find_engine
from edgewise.testing.inference_server import WRONG
from edgewise.testing.upstream_conformance import Subject, UpstreamConformance

# On CI it has to be there: a suite that skips itself proves nothing.
if find_spec("grpc") is None and os.environ.get("CI") != "true":
    pytest.skip("grpcio is not installed: pip install 'edgewise[grpc]'", allow_module_level=True)

from edgewise.testing.grpc_inference_server import GrpcInferenceServer

CERTIFICATE = Path(__file__).parents[2] / "net" / "loopback.pem"
TOKEN = "s3cret-token"
SESSION = find_engine("onnxruntime").open({"model.onnx": model_bytes("fp32")}, OpenOptions(threads=1))


def pixels(rows: int, seed: int) -> dict[str, Array]:
    return {"pixels": np.random.default_rng(seed).random((rows, 1, 8, 8), np.float32)}


def right(inputs: Mapping[str, Array]) -> dict[str, Array]:
    return SESSION.run(dict(inputs))


def subject_of(server: GrpcInferenceServer) -> Subject:
    def set_to(name: str, value: Any) -> Any:
        return lambda: setattr(server, name, value)

    return Subject(
        lambda: OipGrpcUpstream(server.model_url, token=TOKEN, ca_file=CERTIFICATE),
        pixels, right, "logits",
        described=Described("model", "2", extra={"platform": "onnxruntime_onnx"}),
        hanging={"hangs": set_to("hangs", True)},
        wrong={name: set_to("wrong", name) for name in WRONG} | {"answers garbage": set_to("garbage", b"\x00\x1b[2J" * 20)},
        failing={name: set_to("refuses", name) for name in ("UNAVAILABLE", "INTERNAL", "NOT_FOUND", "CANCELLED")},
        mend=server.mend, secrets=(TOKEN,),
    )  # fmt: skip


class TestRaw(UpstreamConformance):
    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        with GrpcInferenceServer(model_bytes("fp32")) as server:
            yield subject_of(server)


class TestTypedAndEncrypted(UpstreamConformance):
    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        with GrpcInferenceServer(model_bytes("fp32"), certificate=CERTIFICATE) as server:
            server.typed = True
            yield subject_of(server)


def ask(upstream: OipGrpcUpstream, inputs: dict[str, Array], decision: str, seconds: float = 10.0) -> dict[str, Array]:
    reply = upstream.ask(Question(inputs, time.perf_counter() + seconds, decision), Cancel())
    return dict(reply.outputs)


def identity(kind: int) -> bytes:
    form = [helper.make_tensor_value_info(name, kind, ["n", 2]) for name in ("data", "said")]
    graph = helper.make_graph([helper.make_node("Identity", ["data"], ["said"])], "g", form[:1], form[1:])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = made.SerializeToString()
    return data


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        (TensorProto.UINT8, "uint8"), (TensorProto.INT8, "int8"), (TensorProto.INT64, "int64"), (TensorProto.UINT64, "uint64"),
        (TensorProto.BOOL, "bool"), (TensorProto.DOUBLE, "float64"), (TensorProto.STRING, "object"),
    ],
)  # fmt: skip
def test_every_kind_goes_there_and_back(kind: int, dtype: str, typed: bool) -> None:
    x = np.array([["wörter", ""]], object) if dtype == "object" else np.array([[0, 1]]).astype(dtype)
    with GrpcInferenceServer(identity(kind)) as server:
        server.typed = typed
        found = ask(OipGrpcUpstream(server.model_url), {"x": x}, "y")["y"]
    assert found.dtype == x.dtype
    assert found.tolist() == x.tolist()


def test_sixteen_bits_come_raw_alone() -> None:
    x = np.array([[0, 1]], np.float16)
    with GrpcInferenceServer(identity(TensorProto.FLOAT16)) as server:
        assert ask(OipGrpcUpstream(server.model_url), {"x": x}, "y")["y"].tolist() == x.tolist()


def test_who_takes_connections_and_never_speaks_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        upstream = OipGrpcUpstream(f"grpc://127.0.0.1:{listening.getsockname()[1]}/m")
        late = []
        for _ in range(8):
            until = time.perf_counter() + 0.05
            with pytest.raises(NetworkError, match="in time"):
                upstream.describe(until, Cancel())
            late.append(time.perf_counter() - until)
        assert min(late) <= 0.010
        upstream.close()


def test_an_answer_longer_than_its_numbers_can_be_is_refused() -> None:
    with GrpcInferenceServer(model_bytes("fp32")) as server:
        upstream = OipGrpcUpstream(server.model_url)
        ask(upstream, pixels(1, 0), "logits")
        for size in (1 << 20, 1 << 26):  # more than makes sense here, more than gRPC takes
            server.garbage = bytes(size)
            with pytest.raises(PeerError, match=r"more than the|larger than max"):
                ask(upstream, pixels(1, 0), "logits")


def test_what_is_closed_says_so() -> None:
    with GrpcInferenceServer(model_bytes("fp32")) as server:
        upstream = OipGrpcUpstream(server.model_url)
        upstream.close()
        with pytest.raises(NetworkError, match="closed"):
            ask(upstream, pixels(1, 0), "logits")


def test_a_server_that_is_gone_is_a_fault_at_once_and_is_found_again() -> None:
    with GrpcInferenceServer(model_bytes("fp32")) as server:
        upstream = OipGrpcUpstream(server.model_url)
        ask(upstream, pixels(1, 0), "logits")
        port = int(server.model_url.rpartition(":")[2].partition("/")[0])
    with pytest.raises(NetworkError):
        ask(upstream, pixels(1, 0), "logits")
    with GrpcInferenceServer(model_bytes("fp32"), port=port):
        until = time.perf_counter() + 10
        while True:
            try:
                ask(upstream, pixels(1, 0), "logits")
                break
            except NetworkError:
                assert time.perf_counter() < until
                time.sleep(0.05)
    upstream.close()


@pytest.mark.parametrize(
    ("refusal", "status"), [("UNAUTHENTICATED", 401), ("RESOURCE_EXHAUSTED", 429), ("INTERNAL", 500)]
)
def test_a_refusal_has_the_status_that_http_has_for_it(refusal: str, status: int) -> None:
    with GrpcInferenceServer(model_bytes("fp32")) as server:
        server.refuses = refusal
        with pytest.raises(HttpStatusError, match=f"{refusal}: busy") as raised:
            ask(OipGrpcUpstream(server.model_url), pixels(1, 0), "logits")
        assert raised.value.details["status"] == status
        assert "\x1b" not in str(raised.value)


def test_a_token_goes_along_and_certificates_are_verified() -> None:
    with GrpcInferenceServer(model_bytes("fp32"), certificate=CERTIFICATE) as server:
        ask(OipGrpcUpstream(server.model_url, token=TOKEN, ca_file=CERTIFICATE), pixels(1, 0), "logits")
        assert set(server.tokens) == {f"Bearer {TOKEN}"}
        before = len(server.tokens)
        with pytest.raises(NetworkError):
            ask(OipGrpcUpstream(server.model_url, token=TOKEN), pixels(1, 0), "logits", 2.0)
        assert len(server.tokens) == before


@pytest.mark.parametrize(
    "url", ["http://example.org/m", "grpc://", "grpcs://example.org", "grpcs:///m", "grpcs://example.org/a/b", ""]
)
def test_a_url_that_names_no_model_over_grpc_is_refused(url: str) -> None:
    with pytest.raises(InputError):
        OipGrpcUpstream(url)


def test_without_encryption_nothing_goes_to_another_machine() -> None:
    with pytest.raises(RefusedError, match="without encryption"):
        OipGrpcUpstream("grpc://example.org:8001/m")
    with pytest.raises(InputError) as raised:
        OipGrpcUpstream("grpcs://user:secret@example.org/m")
    assert "secret" not in str(raised.value)


def test_the_messages_are_those_of_the_published_protocol() -> None:
    """As what protoc makes of the published file writes them; recorded once."""
    made = messages().ModelInferRequest(
        model_name="m", inputs=[{"name": "x", "datatype": "FP32", "shape": [1, 2]}], raw_input_contents=[b"12345678"]
    )
    made.parameters["k"].int64_param = 5
    assert made.SerializeToString() == (
        b'\n\x01m"\x07\n\x01k\x12\x02\x10\x05*\r\n\x01x\x12\x04FP32\x1a\x02\x01\x02:\x0812345678'
    )
    contents = messages().InferTensorContents(
        bool_contents=[True], int_contents=[-1], int64_contents=[2], uint_contents=[3], uint64_contents=[4],
        fp32_contents=[0.5], fp64_contents=[0.25], bytes_contents=[b"a"],
    )  # fmt: skip
    assert contents.SerializeToString() == (
        b'\n\x01\x01\x12\n\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x1a\x01\x02"\x01\x03*\x01\x042\x04\x00\x00\x00?:\x08'
        b"\x00\x00\x00\x00\x00\x00\xd0?B\x01a"
    )
