"""A node behind the Open Inference Protocol on loopback: what a chain of processes is built of in tests and in the demo.

    with NodeServer(node) as server:
        edgewise.load("digits", upstream=server.model_url)

It says who it is, and takes deadline, hops and trail of a question as our own nodes send them; when whoever asked hangs up, the
node is told to give up.
"""

import json
import select
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event, Thread
from typing import Any

from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import EdgewiseError
from edgewise.net.cancel import Cancel
from edgewise.net.oip_tensors import DTYPES, datatype_of, from_raw, from_values, to_values
from edgewise.routing.node import Node
from edgewise.routing.upstream import Trail
from edgewise.routing.upstreams.node import answers
from edgewise.routing.upstreams.oip_node import DEADLINE
from edgewise.runtime.answer import Answer
from edgewise.testing.loopback import Loopback, OwnedServer

__all__ = ["NodeServer"]

_DATATYPES = {dtype: datatype for datatype, dtype in DTYPES.items()}
_POLL = 0.02  # seconds between looks at whether anybody still listens


class NodeServer(Loopback):
    """Serves a node until closed; the node is not closed with it. given_up: questions whose asker hung up before the answer."""

    def __init__(self, node: Node, *, certificate: Path | None = None) -> None:
        self.node = node
        self.given_up = 0
        super().__init__(_Handler, certificate)

    @property
    def model_url(self) -> str:
        """The model's own URL."""
        return f"{self.url}/v2/models/{self.node.document.name}"

    def describe(self) -> bytes:
        document, node = self.node.document, self.node
        said = {"edgewise_node": node.ident, "edgewise_tier": node.tier, "edgewise_labels": json.dumps(document.labels)}
        return json.dumps({
            "name": document.name, "versions": [document.version], "platform": "edgewise",
            "inputs": [_described(spec) for spec in document.inputs], "outputs": [_described(spec) for spec in document.outputs],
            "parameters": said,
        }).encode()  # fmt: skip

    def answer(self, question: dict[str, Any], tail: bytes, deadline: float | None, cancel: Cancel) -> bytes:
        """The body of an answer. Raises EdgewiseError for inputs that do not fit the model."""
        feeds, at = {}, 0
        for tensor in question["inputs"]:
            size = tensor.get("parameters", {}).get("binary_data_size")
            form = tensor["datatype"], tuple(tensor["shape"])
            feeds[tensor["name"]] = (
                from_values(tensor["data"], *form) if size is None else from_raw(tail[at : at + size], *form)
            )
            at += size or 0
        asked = question.get("parameters", {})
        trail = Trail(tuple(filter(None, asked.get("edgewise_trail", "").split(","))), asked.get("edgewise_hops", 4))
        if (milliseconds := asked.get("edgewise_deadline_ms")) is not None:
            deadline = milliseconds / 1000
        found = self.node.predict(feeds, deadline=deadline, cancel=cancel, trail=trail)
        return json.dumps({"model_name": self.node.document.name, **_told(found, self.node.tier)}).encode()


def _told(answer: Answer, tier: str) -> dict[str, Any]:
    reply = answers(answer, tier)
    outputs = [
        {"name": name, "datatype": datatype_of(array), "shape": list(array.shape), "data": to_values(array, datatype_of(array))}
        for name, array in reply.outputs.items()
    ]  # fmt: skip
    parameters = {
        "edgewise_tier": ",".join(row.tier for row in reply.by),
        "edgewise_variant": ",".join(row.variant for row in reply.by),
        "edgewise_degraded": ",".join(str(int(row.degraded)) for row in reply.by),
        "edgewise_why": json.dumps([row.why for row in reply.by]),
        "edgewise_spent": json.dumps([[name, seconds] for name, seconds in reply.spent]),
    }
    return {"outputs": outputs, "parameters": parameters}


def _described(spec: TensorSpec) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else -1 for size in spec.shape]
    return {"name": spec.name, "datatype": _DATATYPES[spec.dtype], "shape": shape}


class _Server(OwnedServer):
    owner: NodeServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        owner = self.server.owner
        found = {
            "/v2": b'{"name":"edgewise","version":"1","extensions":["binary_tensor_data"]}',
            "/v2/health/ready": b"",
            f"/v2/models/{owner.node.document.name}": owner.describe(),
        }.get(self.path)
        self._send(404 if found is None else 200, found if found is not None else b'{"error":"no such model"}')

    def do_POST(self) -> None:
        owner = self.server.owner
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        size = int(self.headers.get("Inference-Header-Content-Length", len(body)))
        said = self.headers.get(DEADLINE)
        try:
            with self._listening() as cancel:
                deadline = int(said) / 1000 if said else None
                found = owner.answer(json.loads(body[:size]), body[size:], deadline, cancel)
        except (EdgewiseError, ValueError, KeyError) as error:
            self._send(400, json.dumps({"error": str(error)[:200]}).encode())
            return
        if cancel:
            owner.given_up += 1
            self.close_connection = True
        else:
            self._send(200, found)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        pass

    @contextmanager
    def _listening(self) -> Iterator[Cancel]:
        """Set when whoever asks hangs up while the answer is made."""
        cancel, done = Cancel(), Event()

        def look() -> None:
            while not done.wait(_POLL):
                if select.select([self.connection], [], [], 0)[0]:  # what comes now can only be the end
                    cancel.set()
                    return

        looker = Thread(target=look, daemon=True)
        looker.start()
        try:
            yield cancel
        finally:
            done.set()
            looker.join()

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
