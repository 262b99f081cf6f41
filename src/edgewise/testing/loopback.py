"""What servers on loopback share: a free port, https where a certificate is given, a thread, an end."""

import ssl
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self

__all__ = ["Loopback", "OwnedServer"]


class OwnedServer(ThreadingHTTPServer):
    """owner: who the handlers of requests ask."""

    daemon_threads = True
    request_queue_size = 128  # of 5, a sixth who comes at the same time waits for a second
    owner: Any

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the tests, not news for stderr."""


class Loopback:
    """Answers by ``handler`` until closed. certificate: a PEM file with key and certificate, for https."""

    def __init__(self, handler: type[BaseHTTPRequestHandler], certificate: Path | None) -> None:
        self._server = OwnedServer(("127.0.0.1", 0), handler)
        self._server.owner = self
        self._scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
