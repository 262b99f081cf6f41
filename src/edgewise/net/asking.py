"""Asking a server with a body: the one module by which samples leave this machine. Whoever calls it has told the user so before.

HTTPS with verified certificates; plain HTTP to this machine itself alone, past every proxy, unless the caller says that it may go
further. A redirect is refused: data goes where the user said and nowhere else. Answers are bounded in bytes and in seconds.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import final
from urllib.parse import urlsplit

import urllib3

from edgewise.errors import HttpStatusError, InputError, NetworkError, PeerError, RefusedError
from edgewise.net.patience import DELAYS, pause
from edgewise.net.pools import Pools
from edgewise.net.transport import network_error, shown

__all__ = ["Address", "Asker", "check_answer", "read_address"]

_PIECE = 1 << 16  # bytes per read
_SAID = 4096  # bytes of an error's body that are looked at
_SHOWN = 200  # characters of it that are shown
_REMEDIES = {
    401: "The server wants a token: set EDGEWISE_TEACHER_TOKEN.",
    403: "Your token may not ask this model.",
    404: "Check the name of the model in the URL.",
}


@dataclass(frozen=True, slots=True)
class Address:
    """url: without credentials, query and fragment. local: it is this machine. encrypted: nobody on the way can read along."""

    url: str
    local: bool
    encrypted: bool


def read_address(
    url: str, *, unsafe_plain_http: bool = False, variable: str = "EDGEWISE_TEACHER_TOKEN"
) -> Address:  # fmt: skip
    """The address in ``url``. unsafe_plain_http: accept http:// to another machine. variable: where a token belongs.

    Raises InputError for what is no plain http or https URL, RefusedError for http:// to another machine.
    """
    try:
        parts = urlsplit(url)
        scheme, host = parts.scheme.lower(), parts.hostname or ""
        _ = parts.port  # a wrong one raises only here
    except ValueError:
        scheme, host = "", ""
    if scheme not in ("http", "https") or not host or any(not "!" <= letter <= "~" for letter in url):
        raise InputError(f"{shown(url)!r:.100} is not an http or https URL", remedy="Write it as https://HOST/PATH.")
    if parts.username is not None or parts.query or parts.fragment:
        raise InputError(
            f"{shown(url)} has credentials, a query or a fragment in it",
            remedy=f"A token goes into {variable}.",
        )
    local = _is_local(host)
    if scheme == "http" and not local and not unsafe_plain_http:
        raise RefusedError(
            f"samples would go to {host} without encryption, for everybody on the way to read",
            remedy="Use https://, or say --unsafe-plain-http if the network is yours alone.",
        )
    return Address(url.rstrip("/"), local, scheme == "https")


@final
@dataclass(slots=True)
class Asker:
    """token: sent to where it cannot be read on the way. timeout: seconds without a byte. whole: seconds for one answer."""

    token: str = field(default="", repr=False)
    ca_file: Path | None = None
    timeout: float = 30.0
    whole: float = 300.0
    sleep: Callable[[float], object] = time.sleep
    now: Callable[[], float] = time.monotonic
    _pools: Pools = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._pools = Pools(self.ca_file)

    def ask(self, address: Address, path: str, body: bytes | None, *, limit: int) -> bytes:
        """What the server answers to ``body`` (POST; None: GET) at ``path`` below ``address``; at most ``limit`` bytes.

        Asked again with growing pauses where that helps, five times in all. Raises NetworkError, HttpStatusError, PeerError.
        """
        for delay in (*DELAYS, None):
            try:
                return self._once(address, path, body, limit)
            except (NetworkError, HttpStatusError) as error:
                seconds = pause(error, delay)
                if seconds is None:
                    raise
                self.sleep(seconds)
        raise AssertionError("the last attempt raises")

    def _once(self, address: Address, path: str, body: bytes | None, limit: int) -> bytes:
        url = address.url + path
        headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "edgewise"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self.token and (address.encrypted or address.local):
            headers["Authorization"] = f"Bearer {self.token}"
        until = self.now() + self.whole
        try:
            answer = self._pools.pool(url, direct=address.local).request(
                "GET" if body is None else "POST", url, body=body, headers=headers, redirect=False, retries=False,
                preload_content=False, decode_content=False, timeout=urllib3.Timeout(connect=self.timeout, read=self.timeout),
            )  # fmt: skip
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise network_error(url, error) from error
        try:
            check_answer(answer, url, lambda: self._read(answer, url, _SAID, until, cut=True), _REMEDIES)
            return self._read(answer, url, limit, until)
        finally:
            answer.close()

    def _read(
        self, answer: urllib3.BaseHTTPResponse, url: str, limit: int, until: float, *, cut: bool = False
    ) -> bytes:
        pieces, size = [], 0
        try:
            while piece := answer.read1(_PIECE, decode_content=False):
                size += len(piece)
                pieces.append(piece)
                if size > limit:
                    if cut:
                        break
                    raise PeerError(
                        f"{shown(url)} answers with more than the {limit} bytes that make sense", url=shown(url)
                    )
                if self.now() > until:
                    raise NetworkError(f"{shown(url)} took more than {self.whole:g} s for one answer", url=shown(url))
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise network_error(url, error) from error
        return b"".join(pieces)[:limit]


def check_answer(
    answer: urllib3.BaseHTTPResponse, url: str, said: Callable[[], bytes], remedies: Mapping[int, str]
) -> None:
    """Refuse a redirect, a status that is not 200 and an encoding, before the body is read.

    said: the beginning of the body, for the words of an error. remedies: status -> what to do about it. Raises PeerError,
    HttpStatusError.
    """
    if 300 <= answer.status < 400:
        raise PeerError(
            f"{shown(url)} redirects, and samples go only where you said",
            remedy="Name the address that it redirects to, if you trust it.", url=shown(url),
        )  # fmt: skip
    if answer.status != HTTPStatus.OK:
        text = said().decode("utf-8", "replace")
        words = "".join(letter if letter.isprintable() else " " for letter in text)[:_SHOWN].strip()
        raise HttpStatusError(
            f"{shown(url)} answers {answer.status}{': ' if words else ''}{words}",
            remedy=remedies.get(answer.status), url=shown(url), status=answer.status,
            retry_after=answer.headers.get("retry-after", ""),
        )  # fmt: skip
    if (encoding := answer.headers.get("content-encoding", "identity").lower()) not in ("identity", ""):
        raise PeerError(f"{shown(url)} answers in {encoding[:40]}, which was not asked for", url=shown(url))


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
