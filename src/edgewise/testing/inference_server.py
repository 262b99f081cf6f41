"""A server on loopback that speaks the Open Inference Protocol v2 over REST: a real model, and the faults that a client meets.

    with InferenceServer(model_bytes, name="large") as server:
        answer = post(f"{server.url}/v2/models/large/infer", ...)

Faults are attributes and may be changed between requests.
"""

import json
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from edgewise.runtime.engine import OpenOptions, find_engine
from edgewise.testing.loopback import Loopback, OwnedServer

__all__ = ["InferenceServer"]

_DATATYPES = {
    "bool": "BOOL", "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64", "uint8": "UINT8", "uint16": "UINT16",
    "uint32": "UINT32", "uint64": "UINT64", "float16": "FP16", "float32": "FP32", "float64": "FP64",
}  # fmt: skip
_ENDLESS = b" " * 65536


class InferenceServer(Loopback):
    """Serves one ONNX model until closed.

    certificate: a PEM file with key and certificate, for https. statuses: answered to the next requests, one each. body: sent in
    place of every answer to samples; description: in place of the model's description. endless: answers to samples have no end.
    most: questions that are answered before every other is refused; None for all. location: where every request is redirected to.
    questions: number of samples in each batch that arrived. tokens: the Authorization of each request.
    """

    def __init__(self, model: bytes, name: str = "model", *, certificate: Path | None = None) -> None:
        self.name = name
        self.session = find_engine("onnxruntime").open({"model.onnx": model}, OpenOptions(threads=1))
        self.statuses: list[int] = []
        self.questions: list[int] = []
        self.tokens: list[str] = []
        self.body, self.description, self.location, self.endless = b"", b"", "", False
        self.most: int | None = None
        self.lock = Lock()
        super().__init__(_Handler, certificate)  # last: from here on it answers

    @property
    def model_url(self) -> str:
        """The model's own URL."""
        return f"{self.url}/v2/models/{self.name}"

    def close(self) -> None:
        super().close()
        self.session.close()

    def describe(self) -> bytes:
        """The model's description."""
        sides = {
            kind: [
                {
                    "name": info.name, "datatype": _DATATYPES[info.dtype],
                    "shape": [size if isinstance(size, int) else -1 for size in info.shape],
                }
                for info in infos
            ]
            for kind, infos in (("inputs", self.session.inputs), ("outputs", self.session.outputs))
        }  # fmt: skip
        return json.dumps({"name": self.name, "platform": "onnxruntime_onnx", **sides}).encode()

    def answer(self, question: dict[str, Any]) -> bytes:
        """What the model says to an inference request."""
        dtypes = {datatype: dtype for dtype, datatype in _DATATYPES.items()}
        feeds = {
            tensor["name"]: np.array(tensor["data"], dtypes[tensor["datatype"]]).reshape(tensor["shape"])
            for tensor in question["inputs"]
        }
        with self.lock:
            self.questions.append(len(next(iter(feeds.values()))))
            found = self.session.run(feeds)
        wanted = [output["name"] for output in question.get("outputs", [])] or list(found)
        outputs = [
            {
                "name": name, "datatype": _DATATYPES[found[name].dtype.name], "shape": list(found[name].shape),
                "data": found[name].ravel().tolist(),
            }
            for name in wanted
        ]  # fmt: skip
        return json.dumps({"model_name": self.name, "outputs": outputs}).encode()


class _Server(OwnedServer):
    owner: InferenceServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        owner = self.server.owner
        if not self._is_faulty():
            found = self.path == f"/v2/models/{owner.name}"
            self._send(
                200 if found else 404, owner.description or owner.describe() if found else b'{"error":"no such model"}'
            )

    def do_POST(self) -> None:
        owner = self.server.owner
        question = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self._is_faulty():
            return
        if self.path != f"/v2/models/{owner.name}/infer":
            self._send(404, b'{"error":"no such model"}')
        elif owner.most is not None and len(owner.questions) >= owner.most:
            self._send(400, b'{"error":"enough"}')
        elif owner.endless:
            self._pour()
        else:
            answer = owner.answer(json.loads(question))
            self._send(200, owner.body or answer)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        pass

    def _is_faulty(self) -> bool:
        owner = self.server.owner
        owner.tokens.append(self.headers.get("Authorization", ""))
        if owner.location:
            self._send(307, b"", {"Location": owner.location})
        elif owner.statuses:
            self._send(owner.statuses.pop(0), b'{"error":"busy\x1b[2J"}')
        else:
            return False
        return True

    def _pour(self) -> None:
        self._head(200, {})
        while True:  # until the other side hangs up, which is an error here
            self.wfile.write(_ENDLESS)

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self._head(status, {**(headers or {}), "Content-Length": str(len(body))})
        self.wfile.write(body)
        self.wfile.flush()

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        # No connection outlives its answer, so that closing the server leaves nothing open.
        for name, value in {**headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
