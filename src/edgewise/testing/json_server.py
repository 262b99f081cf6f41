"""A JSON API on loopback, and what such a server can do wrong whatever it is asked. What it answers, others say."""

import json
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from select import select
from socket import MSG_PEEK
from threading import Event, Lock
from typing import Any, Literal

from edgewise.testing.loopback import Loopback, OwnedServer

__all__ = ["JsonCall", "JsonServer", "WireFault"]

#: hang: no answer. trickle: a byte now and then, for ever. endless: bytes without an end. garbage: no JSON. cut: half of an answer.
#: twice: a key twice in the object. silent: hangs up without an answer. tell: 401, and the token in the words of it.
WireFault = Literal["", "hang", "trickle", "endless", "garbage", "cut", "twice", "silent", "tell"]
_TRICKLE = 0.02  # seconds between two bytes


@dataclass(frozen=True, slots=True)
class JsonCall:
    """One request as it arrived; body: what its JSON says, None for a GET."""

    method: str
    path: str
    token: str
    body: Any


class JsonServer(Loopback):
    """certificate: a PEM file with key and certificate, for https.

    fault: of the wire, for every request until it is "" again. statuses: answered to the next requests, one each, with
    ``retry_after`` where there is one. location: where every request is redirected to. calls: what arrived. most_at_once: the
    largest number of requests that were being answered together.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.fault: WireFault = ""
        self.statuses: list[int] = []
        self.retry_after, self.location = "", ""
        self.calls: list[JsonCall] = []
        self.most_at_once = self.now_at_once = 0
        self.lock, self.ending = Lock(), Event()
        super().__init__(_Handler, certificate)  # last: from here on it answers

    @abstractmethod
    def answer(self, call: JsonCall) -> tuple[int, Any]:
        """Status and JSON value, in a thread of the request's own."""

    def setting(self, **values: Any) -> Callable[[], None]:
        """What sets these attributes when it is called: a fault, for the suite that upstreams pass."""

        def change() -> None:
            for name, value in values.items():
                setattr(self, name, value)

        return change

    def mend(self) -> None:
        """No fault from here on."""
        self.fault, self.statuses, self.location = "", [], ""

    def wire_faults(self) -> dict[str, dict[str, Callable[[], None]]]:
        """Those of the wire as ``upstream_conformance.Subject`` takes them: "hanging", "wrong" and "failing"."""
        statuses = {f"status {status}": self.setting(statuses=[status] * 9) for status in (429, 500)}
        return {
            "hanging": {name: self.setting(fault=name) for name in ("hang", "trickle")},
            "wrong": {name: self.setting(fault=name) for name in ("garbage", "endless", "twice", "tell")},
            "failing": {
                **{name: self.setting(fault=name) for name in ("cut", "silent")}, **statuses,
                "redirect": self.setting(location="http://127.0.0.1:9/"),
            },
        }  # fmt: skip

    def close(self) -> None:
        self.ending.set()
        super().close()


class _Server(OwnedServer):
    owner: JsonServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._handle(None)

    def do_POST(self) -> None:
        self._handle(json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0")))))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        pass

    def _handle(self, body: Any) -> None:
        owner = self.server.owner
        call = JsonCall(self.command, self.path, self.headers.get("Authorization", ""), body)
        with owner.lock:
            owner.calls.append(call)
            owner.now_at_once += 1
            owner.most_at_once = max(owner.most_at_once, owner.now_at_once)
            status = owner.statuses.pop(0) if owner.statuses else 0
        try:
            if status:
                more = {"Retry-After": owner.retry_after} if owner.retry_after else {}
                self._send(status, b'{"error":{"message":"busy\x1b[2J"}}', more)
            elif owner.location:
                self._send(307, b"", {"Location": owner.location})
            else:
                self._answer(call, owner.fault)
        finally:
            with owner.lock:
                owner.now_at_once -= 1

    def _answer(self, call: JsonCall, fault: WireFault) -> None:
        if fault in ("hang", "trickle", "endless"):
            self._never_end(fault)
        elif fault == "garbage":
            self._send(200, b'{"choices": [{"message": NaN, \xff\x00')
        elif fault == "silent":
            self.close_connection = True
        elif fault == "tell":
            self._send(
                401, json.dumps({"error": {"message": f"not with {call.token}"}}).encode(), {"Retry-After": call.token}
            )
        else:
            status, value = self.server.owner.answer(call)
            data = json.dumps(value).encode()
            if fault == "twice":
                data = data[:-1] + b', "same": 1, "same": 2}'
            self._send(status, data, cut=fault == "cut")

    def _never_end(self, fault: WireFault) -> None:
        if fault != "hang":
            self._head(200, {})
        while not self.server.owner.ending.wait(_TRICKLE if fault != "endless" else 0):
            if fault != "hang":
                self.wfile.write(b" " * (65536 if fault == "endless" else 1))
            elif select([self.connection], [], [], 0)[0] and not self.connection.recv(1, MSG_PEEK):
                return  # nobody listens any more

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None, *, cut: bool = False) -> None:
        self._head(status, {**(headers or {}), "Content-Length": str(len(body))})
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.wfile.flush()

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        # No connection outlives its answer, so that closing the server leaves nothing open.
        for name, value in {**headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
