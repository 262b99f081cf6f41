"""The network seam, one method wide: ``fetch(request) -> response``.

GET only. A body would be data that leaves the device; so there is deliberately no way to send one here (``asking`` can, for
callers who have said so). The transport over memory and the one over a folder are equal citizens of the one over HTTP: the same
tests run against all three.

What HTTP adds is decided here and nowhere else: certificates are verified, redirects are followed at most five times and
never from https to http, credentials stay with the origin that they were given for, the proxy variables are honoured.
"""

import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, final
from urllib.parse import unquote, urljoin, urlsplit

import urllib3

from edgewise.errors import InputError, NetworkError, PeerError, StorageError
from edgewise.net.pools import Pools

__all__ = [
    "FileTransport",
    "MemoryTransport",
    "Request",
    "Response",
    "Transport",
    "UrllibTransport",
    "network_error",
    "shown",
]

_CONNECTION = re.compile(r"^\w+\(host='[^']*', port=[^)]*\): ")
_PIECE = 1 << 16  # bytes per read; what a cut can lose at most
_REDIRECTS: Final = 5
_REDIRECTING: Final = frozenset({301, 302, 303, 307, 308})
_SECRET: Final = frozenset({"authorization", "cookie", "proxy-authorization"})  # not sent to another origin


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for.

    start: the first byte wanted; above 0 the answer may be 206, or 200 with everything. timeout: seconds without a byte.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    start: int = 0
    timeout: float = 30.0

    def __post_init__(self) -> None:
        if self.start < 0 or self.timeout <= 0:
            raise InputError(f"a request cannot start at {self.start} or time out after {self.timeout} s")
        for name, value in self.headers.items():
            if not name.isascii() or not name.replace("-", "").isalnum() or any(not " " <= c <= "~" for c in value):
                raise InputError(f"{name!r} cannot be the name of a header, or its value is not one")


@final
class Response:
    """An answer; close it, or use it as a context manager. ``headers`` has lower-case names; ``url`` is where it ended."""

    def __init__(
        self, status: int, headers: Mapping[str, str], chunks: Iterator[bytes], close: Callable[[], None], url: str
    ) -> None:
        self.status = status
        self.headers = {name.lower(): value for name, value in headers.items()}
        self.url = url
        self._chunks, self._close = chunks, close

    def chunks(self) -> Iterator[bytes]:
        """The body as it arrives, once. Raises NetworkError where it breaks off before its stated end."""
        return self._chunks

    def close(self) -> None:
        """Hang up. What was not read is not waited for."""
        self._close()

    def __enter__(self) -> "Response":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Transport(Protocol):
    """What downloads need of a network."""

    def fetch(self, request: Request) -> Response:
        """The answer, whatever its status, once its headers are there.

        Raises NetworkError where there is none, PeerError where it breaks a rule of this module, InputError for a URL that
        this transport cannot serve.
        """
        ...


@final
class UrllibTransport:
    """HTTP and HTTPS. ``ca_file`` replaces the system's certificates, for a server with an authority of its own."""

    def __init__(self, ca_file: Path | None = None) -> None:
        self._pools = Pools(ca_file)

    def fetch(self, request: Request) -> Response:
        url, headers = request.url, {"Accept-Encoding": "identity", "User-Agent": "edgewise", **request.headers}
        if request.start:
            headers["Range"] = f"bytes={request.start}-"
        if _origin(url)[0] not in ("http", "https"):
            raise InputError(f"{shown(url)} is not an http or https URL", url=shown(url))
        for _ in range(_REDIRECTS + 1):
            try:
                answer = self._get(url, headers, request.timeout)
            except InputError:
                if url == request.url:
                    raise
                raise PeerError(f"{shown(request.url)} redirects to what is no URL", url=shown(request.url)) from None
            location = answer.headers.get("location")
            if answer.status not in _REDIRECTING or not location:
                return _response(answer, url)
            answer.close()
            target = _redirected(url, location)
            if _origin(target) != _origin(url):
                headers = {name: value for name, value in headers.items() if name.lower() not in _SECRET}
            url = target
        raise PeerError(f"{shown(request.url)} redirects more than {_REDIRECTS} times", url=shown(request.url))

    def _get(self, url: str, headers: Mapping[str, str], timeout: float) -> urllib3.BaseHTTPResponse:
        try:
            return self._pools.pool(url).request(
                "GET", url, headers=headers, redirect=False, retries=False, preload_content=False,
                decode_content=False, timeout=urllib3.Timeout(connect=timeout, read=timeout),
            )  # fmt: skip
        except urllib3.exceptions.LocationValueError as error:
            raise InputError(f"{shown(url)} is not a URL: {error}", url=shown(url)) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise network_error(url, error) from error


@final
class FileTransport:
    """The files below ``folder`` as if they lay at ``base``: a mirror on a disk or a stick."""

    def __init__(self, folder: Path, base: str = "file:///") -> None:
        self._folder, self._base = folder.resolve(), base

    def fetch(self, request: Request) -> Response:
        if not request.url.startswith(self._base):
            raise InputError(f"{shown(request.url)} is not below {self._base}", url=shown(request.url))
        path = (self._folder / unquote(urlsplit(request.url[len(self._base) :]).path).lstrip("/")).resolve()
        if not path.is_relative_to(self._folder) or not path.is_file():
            return _plain(404, request.url)
        try:
            file = path.open("rb")
            size = file.seek(0, 2)
            file.seek(request.start)
        except OSError as error:
            raise StorageError.of("read", path, error) from error
        status, headers = _range_head(request.start, size)
        headers["ETag"] = f'"{size:x}-{path.stat().st_mtime_ns:x}"'
        if request.start and _other_version(request, headers["ETag"]):
            file.seek(0)
            status, headers = 200, {"ETag": headers["ETag"], "Content-Length": str(size)}
        chunks = iter(()) if status == 416 else iter(lambda: file.read(_PIECE), b"")
        return Response(status, headers, chunks, file.close, request.url)


@final
class MemoryTransport:
    """``files`` (URL -> content) without a network. ``requests`` has every call; faults are queued, one for each call.

    ``extra`` has headers for every file, in place of those that tell the truth.
    """

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = dict(files)
        self.extra: dict[str, str] = {}
        self.requests: list[Request] = []
        self._cuts: list[int] = []
        self._statuses: list[int] = []

    def cut(self, *after: int) -> None:
        """Break off the next answers after so many bytes of body."""
        self._cuts += after

    def answer(self, *statuses: int) -> None:
        """Answer the next requests with these statuses and nothing else."""
        self._statuses += statuses

    def fetch(self, request: Request) -> Response:
        self.requests.append(request)
        if self._statuses:
            return _plain(self._statuses.pop(0), request.url)
        data = self.files.get(request.url)
        if data is None:
            return _plain(404, request.url)
        etag = self.extra.get("ETag", f'"{hash(data):x}"')
        start = 0 if _other_version(request, etag) else request.start
        status, headers = _range_head(start, len(data))
        body = self._pieces(request.url, data[start:])
        return Response(status, {**headers, "ETag": etag, **self.extra}, body, _nothing, request.url)

    def _pieces(self, url: str, body: bytes) -> Iterator[bytes]:
        cut = self._cuts.pop(0) if self._cuts else len(body)
        for at in range(0, min(cut, len(body)), _PIECE):
            yield body[at : min(at + _PIECE, cut)]
        if cut < len(body):
            raise NetworkError(f"the connection to {shown(url)} broke off", url=shown(url))


def shown(url: str) -> str:
    """A URL as it may be printed: without credentials, query and fragment, which can be secrets."""
    plain = url.partition("?")[0].partition("#")[0]
    scheme, colon, rest = plain.rpartition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}{colon}{place.rpartition('@')[2]}{slash}{path}"


def network_error(url: str, error: Exception) -> NetworkError:
    """What urllib3 or the system raised while ``url`` was asked, in words."""
    remedy = None
    if isinstance(error, urllib3.exceptions.SSLError | ssl.SSLError):
        remedy = "Check the clock and the certificates of this machine; SSL_CERT_FILE names another set."
    # What urllib3 says may start with the representation of a connection; the reason comes after it.
    reason = _CONNECTION.sub("", str(error)).rpartition(">: ")[2] or type(error).__name__
    return NetworkError(f"no answer from {shown(url)}: {reason}", remedy=remedy, url=shown(url))


def _plain(status: int, url: str) -> Response:
    return Response(status, {"Content-Length": "0"}, iter(()), _nothing, url)


def _nothing() -> None:
    pass


def _range_head(start: int, size: int) -> tuple[int, dict[str, str]]:
    if start and start >= size:
        return 416, {"Content-Range": f"bytes */{size}", "Content-Length": "0"}
    if start:
        return 206, {"Content-Range": f"bytes {start}-{size - 1}/{size}", "Content-Length": str(size - start)}
    return 200, {"Content-Length": str(size)}


def _other_version(request: Request, etag: str) -> bool:
    wanted = next((value for name, value in request.headers.items() if name.lower() == "if-range"), etag)
    return wanted != etag


def _response(answer: urllib3.BaseHTTPResponse, url: str) -> Response:
    encoding = answer.headers.get("content-encoding", "identity")
    if encoding.lower() not in ("identity", ""):
        answer.close()
        raise PeerError(f"{shown(url)} answers in {encoding}, which was not asked for", url=shown(url))
    return Response(answer.status, answer.headers, _stream(answer, url), answer.close, url)


def _stream(answer: urllib3.BaseHTTPResponse, url: str) -> Iterator[bytes]:
    try:
        # read1 hands over what is there; read would wait for a whole piece, which a slow line takes long to fill.
        while piece := answer.read1(_PIECE, decode_content=False):
            yield piece
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise network_error(url, error) from error


def _origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port; empty for what is no URL."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", None, None


def _redirected(before: str, location: str) -> str:
    try:
        after = urljoin(before, location)
    except ValueError:
        after = ""
    scheme = _origin(after)[0]
    if scheme not in ("http", "https"):
        raise PeerError(f"{shown(before)} redirects to {scheme or 'what is no URL'}", url=shown(before))
    if _origin(before)[0] == "https" and scheme == "http":
        raise PeerError(
            f"{shown(before)} redirects from https to http: {shown(after)}", remedy="Ask for the final address by https.",
            url=shown(before),
        )  # fmt: skip
    return after
