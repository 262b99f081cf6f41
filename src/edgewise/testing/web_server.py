"""A web server on loopback over a folder or over memory, with ranges, and with the faults that a download meets.

    with FileServer({"a/model.onnx": data}, cut_after=1000) as server:
        download(f"{server.url}/a/model.onnx", target, ...)

Faults are attributes and may be changed between requests. Asked with an absolute URL, as a proxy is, it serves the path.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from edgewise.testing.loopback import Loopback, OwnedServer

__all__ = ["Call", "FileServer"]

_RANGE = re.compile(r"bytes=(\d+)-(\d*)")
_ENDLESS_PIECE = b"x" * 65536


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it arrived: ``target`` from the request line, header names in lower case."""

    target: str
    headers: Mapping[str, str]


class FileServer(Loopback):
    """Serves ``files`` (path -> content, or a folder) until closed.

    cut_after: break off every answer after so many bytes of body. ignore_range: answer 200 with everything.
    certificate: a PEM file with key and certificate, for https.
    send_etag: without it there are no validators. statuses: answered to the next requests, one each.
    redirects: path -> Location. endless: paths whose body has no end. declared: path -> Content-Length in place of the truth.
    extra: headers added to every answer.
    """

    def __init__(
        self, files: Mapping[str, bytes] | Path, *, cut_after: int | None = None, ignore_range: bool = False,
        certificate: Path | None = None,
    ) -> None:  # fmt: skip
        self.files = files if isinstance(files, Path) else dict(files)
        self.cut_after, self.ignore_range, self.send_etag = cut_after, ignore_range, True
        self.statuses: list[int] = []
        self.redirects: dict[str, str] = {}
        self.endless: set[str] = set()
        self.declared: dict[str, int] = {}
        self.extra: dict[str, str] = {}
        self.calls: list[Call] = []
        super().__init__(_Handler, certificate)  # last: from here on it answers

    def find(self, path: str) -> bytes | None:
        """The content at ``path``, or None."""
        if not isinstance(self.files, Path):
            return self.files.get(path)
        file = (self.files / path).resolve()
        return file.read_bytes() if file.is_relative_to(self.files.resolve()) and file.is_file() else None


class _Server(OwnedServer):
    owner: FileServer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        owner = self.server.owner
        owner.calls.append(Call(self.path, {name.lower(): value for name, value in self.headers.items()}))
        path = unquote(urlsplit(self.path).path).lstrip("/")
        if owner.statuses:
            self._send(owner.statuses.pop(0), b"", {})
        elif path in owner.redirects:
            self._send(302, b"", {"Location": owner.redirects[path]})
        elif path in owner.endless:
            self._pour()
        elif (data := owner.find(path)) is None:
            self._send(404, b"not found", {})
        else:
            self._send_file(path, data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        pass

    def _send_file(self, path: str, data: bytes) -> None:
        owner, headers, status = self.server.owner, {"Accept-Ranges": "bytes"}, 200
        etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        if owner.send_etag:
            headers["ETag"] = etag
        wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
        if wanted and not owner.ignore_range and self.headers.get("If-Range", etag) == etag:
            start, total = int(wanted[1]), len(data)
            if start >= total:
                self._send(416, b"", {"Content-Range": f"bytes */{total}"})
                return
            end = min(int(wanted[2] or total - 1), total - 1)
            status, data = 206, data[start : end + 1]
            headers["Content-Range"] = f"bytes {start}-{end}/{total}"
        self._send(status, data, headers, length=owner.declared.get(path), cut=owner.cut_after)

    def _send(
        self, status: int, body: bytes, headers: Mapping[str, str], *, length: int | None = None, cut: int | None = None
    ) -> None:
        self._send_head(status, {**headers, "Content-Length": str(len(body) if length is None else length)})
        self.wfile.write(body if cut is None else body[:cut])
        self.wfile.flush()

    def _pour(self) -> None:
        self._send_head(200, {})
        while True:  # until the other side hangs up, which is an error here
            self.wfile.write(_ENDLESS_PIECE)

    def _send_head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        # No connection outlives its answer, so that closing the server leaves nothing open.
        for name, value in {**headers, **self.server.owner.extra, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
