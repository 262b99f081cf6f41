"""A server of the Open Inference Protocol over REST, of ours or of others, answers like the model behind it, or is refused."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgewise.digits import model_bytes
from edgewise.routing.upstream import Described
from edgewise.routing.upstreams.oip import OipUpstream
from edgewise.runtime.engine import Array, OpenOptions, find_engine
from edgewise.testing.faults import FAULTS, HANGING
from edgewise.testing.inference_server import WRONG, InferenceServer
from edgewise.testing.upstream_conformance import Subject, UpstreamConformance

CERTIFICATE = Path(__file__).parents[2] / "net" / "loopback.pem"
TOKEN = "s3cret-token"
SESSION = find_engine("onnxruntime").open({"model.onnx": model_bytes("fp32")}, OpenOptions(threads=1))
#: Not an answer, though it may look like one: what must not reach the caller, whatever the network did.
WRONG_ON_THE_WIRE = ("answers garbage", "answers no JSON", "answers nothing", "answers without end")


def pixels(rows: int, seed: int) -> dict[str, Array]:
    return {"pixels": np.random.default_rng(seed).random((rows, 1, 8, 8), np.float32)}


def right(inputs: Mapping[str, Array]) -> dict[str, Array]:
    return SESSION.run(dict(inputs))


def subject_of(server: InferenceServer, hanging: Iterable[str], **changes: Any) -> Subject:
    def set_to(name: str, value: str) -> Any:
        return lambda: setattr(server, name, value)

    return Subject(
        lambda: OipUpstream(server.model_url, token=TOKEN, ca_file=CERTIFICATE),
        pixels, right, "logits",
        hanging={name: set_to("fault", name) for name in hanging},
        wrong={name: set_to("wrong", name) for name in WRONG} | {name: set_to("fault", name) for name in WRONG_ON_THE_WIRE},
        failing={name: set_to("fault", name) for name in FAULTS if name not in HANGING},
        mend=server.mend, secrets=(TOKEN,), **changes,
    )  # fmt: skip


class TestJson(UpstreamConformance):
    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        with InferenceServer(model_bytes("fp32")) as server:
            server.described = False
            yield subject_of(
                server, ["hangs"], described=Described("model", "2", extra={"platform": "onnxruntime_onnx"})
            )


class TestBinaryKeptOpen(UpstreamConformance):
    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        with InferenceServer(model_bytes("fp32")) as server:
            server.binary = server.keep = server.strict = True
            yield subject_of(server, HANGING)


class TestEncryptedNode(UpstreamConformance):
    @pytest.fixture
    def subject(self) -> Iterator[Subject]:
        with InferenceServer(model_bytes("fp32"), certificate=CERTIFICATE) as server:
            server.binary = server.keep = True
            server.node = {
                "edgewise_node": "gateway-1",
                "edgewise_tier": "gateway",
                "edgewise_labels": '["0","1"]',
                "edgewise_cuts": "[]",
            }
            yield subject_of(
                server,
                ["trickles its headers", "trickles its body"],
                described=Described(
                    "model", "2", "gateway", "gateway-1", ("0", "1"), (), {"platform": "onnxruntime_onnx"}
                ),
            )
