"""A server on loopback that speaks the Open Inference Protocol v2 over REST: a real model, and the faults that a client meets.

    with InferenceServer(model_bytes, name="large") as server:
        answer = post(f"{server.url}/v2/models/large/infer", ...)

Faults are attributes and may be changed between requests.
"""

import json
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socket import SHUT_RDWR, socket
from threading import Lock
from typing import Any

from edgewise.errors import EdgewiseError
from edgewise.net.oip_tensors import DTYPES, datatype_of, from_raw, from_values, to_raw, to_values
from edgewise.runtime.engine import Array, OpenOptions, TensorInfo, find_engine
from edgewise.testing.faults import FAULTS, UNREAD, wait_for_hang_up
from edgewise.testing.loopback import Loopback, OwnedServer

__all__ = ["WRONG", "InferenceServer", "wrong_outputs"]

_DATATYPES = {dtype: datatype for datatype, dtype in DTYPES.items()}
#: What ``wrong`` may be: the answer has the form of one, and is none.
WRONG = (
    "a row too few",
    "a row too many",
    "another shape",
    "not finite",
    "another name",
    "another type",
    "twice",
    "no output",
)


class InferenceServer(Loopback):
    """Serves one ONNX model until closed.

    certificate: a PEM file with key and certificate, for https. statuses: answered to the next requests, one each. body: sent in
    place of every answer to samples; description: in place of the model's description. endless: answers to samples have no end.
    most: questions that are answered before every other is refused; None for all. location: where every request is redirected to.
    fault: a name of ``faults.FAULTS``, done in place of every answer; wrong: one of ``WRONG``. delay: seconds before each answer.

    binary: it has the extension for binary tensors, and says so. described: it answers to /v2 at all. keep: connections stay open
    after an answer; hang_up: it closes them without a word; stale: on these ``connections`` it closes in place of an answer.
    strict: parameters of a request are refused. node: parameters that it describes its model with, as a node does; says: parameters
    of its answers, by number of rows.

    questions: number of samples in each batch that arrived. tokens, headers: the Authorization, and all headers, of each request.
    asked: parameters of each question.
    """

    def __init__(self, model: bytes, name: str = "model", *, certificate: Path | None = None) -> None:
        self.name = name
        self.session = find_engine("onnxruntime").open({"model.onnx": model}, OpenOptions(threads=1))
        self.statuses: list[int] = []
        self.questions: list[int] = []
        self.tokens: list[str] = []
        self.headers: list[Mapping[str, str]] = []
        self.asked: list[dict[str, Any]] = []
        self.body, self.description, self.location, self.endless = b"", b"", "", False
        self.fault, self.wrong, self.delay = "", "", 0.0
        self.binary, self.described, self.keep, self.hang_up, self.strict = False, True, False, False, False
        self.node: dict[str, str] = {}
        self.says: dict[int, dict[str, Any]] = {}
        self.most: int | None = None
        self.lock = Lock()
        self.connections: set[socket] = set()
        self.stale: set[socket] = set()
        super().__init__(_Handler, certificate)  # last: from here on it answers

    @property
    def model_url(self) -> str:
        """The model's own URL."""
        return f"{self.url}/v2/models/{self.name}"

    def close(self) -> None:
        super().close()
        self.drop()
        self.session.close()

    def drop(self) -> None:
        """Hang up on everybody."""
        for connection in list(self.connections):
            try:
                connection.shutdown(SHUT_RDWR)
            except OSError:
                continue  # it was quicker

    def mend(self) -> None:
        """Answer, and rightly, from here on."""
        self.fault = self.wrong = ""

    def describe_server(self) -> bytes:
        extensions = ["binary_tensor_data"] if self.binary else []
        return json.dumps({"name": "edgewise-testing", "version": "1", "extensions": extensions}).encode()

    def describe(self) -> bytes:
        """The model's description."""
        sides = {
            kind: [_described(info) for info in infos]
            for kind, infos in (("inputs", self.session.inputs), ("outputs", self.session.outputs))
        }
        said = {"name": self.name, "versions": ["1", "2"], "platform": "onnxruntime_onnx", **sides}
        return json.dumps(said | ({"parameters": self.node} if self.node else {})).encode()

    def run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        """What the model says."""
        with self.lock:
            self.questions.append(len(next(iter(feeds.values()))))
            return self.session.run(feeds)

    def answer(self, question: dict[str, Any], tail: bytes = b"") -> tuple[bytes, int | None]:
        """The body of what the model says to an inference request, and the length of its JSON where binary follows it."""
        feeds, at = {}, 0
        for tensor in question["inputs"]:
            size = tensor.get("parameters", {}).get("binary_data_size")
            form = tensor["datatype"], tuple(tensor["shape"])
            read = from_values(tensor["data"], *form) if size is None else from_raw(tail[at : at + size], *form)
            feeds[tensor["name"]] = read.astype(str) if read.dtype.kind == "O" else read
            at += size or 0
        self.asked.append(question.get("parameters", {}))
        found = self.run(feeds)
        wanted = {output["name"]: output.get("parameters", {}) for output in question.get("outputs", [])}
        outputs, raw = [], []
        for name, array in wrong_outputs({name: found[name] for name in wanted or found}, self.wrong):
            said: dict[str, Any] = {"name": name, "datatype": datatype_of(array), "shape": list(array.shape)}
            if wanted.get(name, {}).get("binary_data"):
                raw.append(to_raw(array, said["datatype"]))
                said["parameters"] = {"binary_data_size": len(raw[-1])}
            else:
                said["data"] = array.ravel().tolist() if self.wrong else to_values(array, said["datatype"])
            outputs.append(said)
        head = json.dumps(
            {"model_name": self.name, "outputs": outputs, "parameters": self.says.get(self.questions[-1], {})}
        ).encode()
        return b"".join([head, *raw]), len(head) if raw else None


def _described(info: TensorInfo) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else -1 for size in info.shape]
    return {"name": info.name, "datatype": _DATATYPES[info.dtype], "shape": shape}


def wrong_outputs(found: dict[str, Array], wrong: str) -> list[tuple[str, Array]]:
    """The outputs, wrong in the way of that name."""
    items = list(found.items())
    if not wrong:
        return items
    name, array = items[0]
    if wrong == "not finite":
        array = array.copy()
        array.reshape(-1)[-1] = float("nan")
    changed = {
        "a row too few": (name, array[:-1]),
        "a row too many": (name, array[[*range(len(array)), -1]]),
        "another shape": (name, array.reshape(*array.shape, 1)),
        "not finite": (name, array),
        "another name": (f"{name}\x1b[2J", array),
        "another type": (name, array.astype("float64" if array.dtype != "float64" else "float32")),
    }
    if wrong == "no output":
        return []
    return [changed.get(wrong, (name, array)), *items[1:], *([items[0]] if wrong == "twice" else [])]


class _Server(OwnedServer):
    owner: InferenceServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body go out in two pieces
    server: _Server

    def setup(self) -> None:
        self.server.owner.connections.add(self.request)
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.server.owner.connections.discard(self.request)

    def do_GET(self) -> None:
        owner = self.server.owner
        model = f"/v2/models/{owner.name}"
        found = {
            "/v2": owner.describe_server() if owner.described else None,
            "/v2/health/live": b"",
            "/v2/health/ready": b"",
            f"{model}/ready": b"",
            model: owner.description or owner.describe(),
            f"{model}/versions/2": owner.description or owner.describe(),
        }.get(self.path)
        if not self._is_faulty(found or b'{"error":"no such model"}'):
            self._send(404 if found is None else 200, b'{"error":"no such model"}' if found is None else found)

    def do_POST(self) -> None:
        owner = self.server.owner
        if owner.fault in UNREAD:
            UNREAD[owner.fault](self, b"")
            return
        question = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        size = int(self.headers.get("Inference-Header-Content-Length", len(question)))
        asked = json.loads(question[:size])
        if owner.delay:
            wait_for_hang_up(self, owner.delay)
        if self.path not in (f"/v2/models/{owner.name}/infer", f"/v2/models/{owner.name}/versions/2/infer"):
            self._send(404, b'{"error":"no such model"}')
        elif owner.most is not None and len(owner.questions) >= owner.most:
            self._send(400, b'{"error":"enough"}')
        elif owner.strict and "parameters" in asked:
            self._send(400, b'{"error":"unknown parameters"}')
        elif owner.endless:
            FAULTS["answers without end"](self, b"")
        elif not self._is_faulty(b'{"outputs":[{"name":'):
            try:
                body, head = owner.answer(asked, question[size:])
            except (EdgewiseError, KeyError, TypeError, ValueError) as error:
                self._send(400, json.dumps({"error": str(error)}).encode())
                return
            said = {} if head is None or owner.body else {"Inference-Header-Content-Length": str(head)}
            self._send(200, owner.body or body, said)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        pass

    def _is_faulty(self, body: bytes) -> bool:
        owner = self.server.owner
        owner.tokens.append(self.headers.get("Authorization", ""))
        owner.headers.append(dict(self.headers))
        if owner.location:
            self._send(307, b"", {"Location": owner.location})
        elif owner.statuses:
            self._send(owner.statuses.pop(0), b'{"error":"busy\x1b[2J"}')
        elif owner.fault or self.request in owner.stale:
            FAULTS[owner.fault or "closes"](self, body)
        else:
            return False
        return True

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        owner = self.server.owner
        self.send_response(status)
        # No connection outlives its answer, so that closing the server leaves nothing open.
        end = {} if owner.keep else {"Connection": "close"}
        for name, value in {**(headers or {}), "Content-Length": str(len(body)), **end}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        self.close_connection = self.close_connection or owner.hang_up
