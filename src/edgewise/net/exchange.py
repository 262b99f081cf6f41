"""One question over HTTP, and its answer, by a point in time: what an upstream is asked with.

It runs in the thread that asks. When the time is over, or somebody gives up in another thread, the socket is shut down, so that no
server holds the thread: one that hangs in the handshake, trickles its headers or its body, or never answers. Connections are kept
for the next question; one that was given up is closed. Nothing is asked again, but for a connection that was kept and that the
server had closed meanwhile.

Certificates are verified, redirects refused, answers bounded; plain HTTP to this machine itself alone, as ``read_address`` has it.
"""

import http.client
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import urllib3

from edgewise.errors import EdgewiseError, InputError, NetworkError, PeerError
from edgewise.net.asking import Address, check_answer
from edgewise.net.cancel import Cancel
from edgewise.net.pools import Pools
from edgewise.net.transport import network_error, shown
from edgewise.net.watched import POOLS, TlsSocket, Watch, watching

__all__ = ["Exchanger", "Told"]

_PIECE = 1 << 16  # bytes per read
_SAID = 4096  # bytes of an error's body that are looked at
_KEPT = 16  # connections to one server
_REMEDIES = {
    401: "The server wants a token.",
    403: "Your token may not ask this.",
    404: "Check the URL, and the name of the model in it.",
}


@dataclass(frozen=True, slots=True)
class Told:
    """headers: with lower-case names. body: all of it."""

    headers: Mapping[str, str]
    body: bytes


@final
@dataclass(slots=True)
class Exchanger:
    """Thread-safe. token: sent to where it cannot be read on the way. ca_file: in place of the system's certificates.

    now: the clock of ``until``, seconds.
    """

    token: str = field(default="", repr=False)
    ca_file: Path | None = None
    now: Callable[[], float] = time.perf_counter
    remedies: Mapping[int, str] = field(default_factory=lambda: _REMEDIES, repr=False)
    _pools: Pools = field(init=False, repr=False)
    _closed: Cancel = field(default_factory=Cancel, init=False, repr=False)

    def __post_init__(self) -> None:
        if any(not "!" <= letter <= "~" for letter in self.token):
            raise InputError(
                "a token is of printable letters without spaces", remedy="Look for a line break at its end."
            )
        self._pools = Pools(self.ca_file, kept=_KEPT, classes=POOLS, tls_sockets=TlsSocket)

    def prepare(self, address: Address) -> None:
        """What takes long, and is done once for a server: reading the certificates that are trusted."""
        self._pools.pool(address.url, direct=address.local)

    def ask(
        self,
        address: Address,
        path: str,
        body: bytes | None,
        *,
        limit: int,
        until: float,
        cancel: Cancel,
        headers: Mapping[str, str] | None = None,
    ) -> Told:
        """What the server answers to ``body`` (POST; None: GET) at ``path`` below ``address``, with status 200.

        limit: bytes of the answer. headers: besides the usual ones; Content-Type is JSON where they do not say.
        Raises NetworkError where there is no answer by ``until``, somebody gave up, or the connection broke; HttpStatusError;
        PeerError for an answer that is no HTTP, too long, a redirect, or in an encoding.
        """
        url = address.url + path
        sent = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "edgewise"}
        if body is not None:
            sent["Content-Type"] = "application/json"
        if self.token and (address.encrypted or address.local):
            sent["Authorization"] = f"Bearer {self.token}"
        sent |= headers or {}
        watch = Watch(until, self.now, (cancel, self._closed))
        with watching(watch):
            try:
                return self._asked(watch, address, url, body, sent, limit)
            except (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
                raise self._fault(url, watch, error) from error
            except PeerError:
                # What was read of an answer when the time was over is no reason to speak ill of the server.
                if watch.over():
                    raise self._fault(url, watch, TimeoutError()) from None
                raise

    def close(self) -> None:
        """End what is under way, and close every connection. Nothing can be asked afterwards."""
        self._closed.set()
        self._pools.close()

    def _asked(
        self, watch: Watch, address: Address, url: str, body: bytes | None, headers: Mapping[str, str], limit: int
    ) -> Told:
        try:
            answer = self._head(watch, address, url, body, headers)
        except urllib3.exceptions.ProtocolError as error:
            if watch.opened or watch.over() or not _is_hung_up(error):
                raise
            watch.renew = True
            answer = self._head(watch, address, url, body, headers)
        try:
            check_answer(answer, url, lambda: _read(answer, url, _SAID, cut=True), self.remedies)
            read = _read(answer, url, limit)
            # A name that comes twice has its values joined by commas, as RFC 9110 section 5.2 has it.
            return Told({name.lower(): value for name, value in answer.headers.itermerged()}, read)
        finally:
            answer.close()

    def _head(
        self, watch: Watch, address: Address, url: str, body: bytes | None, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        # Whatever urllib3 believes of timeouts, each wait on the socket has the time that is left.
        return self._pools.pool(url, direct=address.local).request(
            "GET" if body is None else "POST", url, body=body, headers=headers, redirect=False, retries=False,
            preload_content=False, decode_content=False, timeout=watch.left(),
        )  # fmt: skip

    def _fault(self, url: str, watch: Watch, error: Exception) -> EdgewiseError:
        if self._closed:
            return NetworkError(f"{shown(url)} is not asked any more: it was closed", url=shown(url))
        if any(watch.cancels):
            return NetworkError(f"the answer of {shown(url)} was not waited for", url=shown(url))
        if watch.over():
            return NetworkError(f"{shown(url)} did not answer in time", url=shown(url))
        reason = error.args[1] if isinstance(error, urllib3.exceptions.ProtocolError) and len(error.args) > 1 else error
        if isinstance(reason, http.client.HTTPException) and not isinstance(
            reason, http.client.IncompleteRead | http.client.RemoteDisconnected
        ):
            return PeerError(f"{shown(url)} answers in something that is not HTTP", url=shown(url))
        return network_error(url, error)


def _is_hung_up(error: urllib3.exceptions.ProtocolError) -> bool:
    return len(error.args) > 1 and isinstance(error.args[1], ConnectionError)


def _read(answer: urllib3.BaseHTTPResponse, url: str, limit: int, *, cut: bool = False) -> bytes:
    pieces, size = [], 0
    while piece := answer.read1(_PIECE, decode_content=False):
        size += len(piece)
        pieces.append(piece)
        if size > limit:
            if cut:
                break
            raise PeerError(f"{shown(url)} answers with more than the {limit} bytes that make sense", url=shown(url))
    return b"".join(pieces)[:limit]
