"""A server of the Open Inference Protocol over gRPC answers like the model behind it, or is refused."""

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.digits import model_bytes
from edgewise.routing.upstream import Described
from edgewise.routing.upstreams.oip_grpc import OipGrpcUpstream
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
