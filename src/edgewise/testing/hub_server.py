"""A model hub on loopback: the paths, headers and redirects of the Hugging Face Hub that edgewise uses, over real HTTP.

    with HubServer({"acme/tiny": {"config.json": b"{}", "onnx/model.onnx": weights}}) as hub:
        fetch_hub("acme/tiny", endpoint=hub.endpoint, ...)

Large files are LFS files, as there: ``resolve`` redirects to a content path (``/cdn/...``) that honours ranges, and the
listing has their SHA-256. Small ones are answered at once, with the git blob id as ETag. Faults are set on the instance.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any
from urllib.parse import quote, unquote, urlsplit

__all__ = ["HubServer", "Request", "git_blob_id"]

_API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+|[^/]+)/revision/(?P<revision>[^/]+)")
_RESOLVE = re.compile(r"/(?P<repo>[^/]+/[^/]+|[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")
_CDN = re.compile(r"/cdn/(?P<repo>[^/]+)/(?P<path>.+)")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived; header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]


@dataclass(slots=True)
class _Repository:
    files: dict[str, bytes]
    commit: str
    served: dict[str, bytes] = field(default_factory=dict)  # other bytes than those that are listed


class HubServer:
    """Serves ``repositories`` (name -> path -> content) until closed.

    lfs_above: files longer than this many bytes are LFS files.
    token: where given, requests to the hub itself need it; the content path must never receive it.
    """

    def __init__(
        self, repositories: Mapping[str, Mapping[str, bytes]], *, lfs_above: int = 4096, token: str = ""
    ) -> None:
        self.lfs_above = lfs_above
        self.token = token
        self.requests: list[Request] = []
        self._cuts: dict[str, list[int]] = {}
        self._listed_too: list[dict[str, Any]] = []
        self._repositories = {name: _Repository(dict(files), _commit_of(files)) for name, files in repositories.items()}
        # Two of them: the hub and its content network are different origins.
        self._servers = [_Server(("127.0.0.1", 0), _Handler) for _ in range(2)]
        self._threads = [
            Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True) for server in self._servers
        ]
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.hub = self
            thread.start()

    @property
    def endpoint(self) -> str:
        """What takes the place of the hub's public address."""
        return f"http://127.0.0.1:{self._servers[0].server_address[1]}"

    @property
    def content_network(self) -> str:
        """Where the bytes of LFS files are: another origin, which must never see the token."""
        return f"http://127.0.0.1:{self._servers[1].server_address[1]}"

    def commit(self, repository: str) -> str:
        """The commit that every revision of ``repository`` means."""
        return self._repositories[repository].commit

    def tamper(self, repository: str, path: str, data: bytes) -> None:
        """From now on send ``data`` for a file, under the digest of what it was."""
        self._repositories[repository].served[path] = data

    def cut(self, path: str, *after: int) -> None:
        """Break off the next answers for ``path`` after so many bytes, one number for each."""
        self._cuts.setdefault(path, []).extend(after)

    def list_also(self, **sibling: Any) -> None:
        """Add an entry to every listing, for instance with a hostile ``rfilename``."""
        self._listed_too.append(sibling)

    def requests_for(self, path: str) -> list[Request]:
        """Requests whose target ends in ``path``, in order."""
        return [request for request in self.requests if urlsplit(request.target).path.endswith(path)]

    def close(self) -> None:
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()

    def __enter__(self) -> "HubServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------- what the handler asks

    def listing(self, repository: _Repository, name: str) -> bytes:
        siblings: list[dict[str, Any]] = []
        for path, data in repository.files.items():
            entry: dict[str, Any] = {"rfilename": path, "size": len(data), "blobId": git_blob_id(data)}
            if self.is_lfs(data):
                digest = hashlib.sha256(data).hexdigest()
                pointer = (
                    f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(data)}\n".encode()
                )
                entry |= {
                    "blobId": git_blob_id(pointer),
                    "lfs": {"sha256": digest, "size": len(data), "pointerSize": len(pointer)},
                }
            siblings.append(entry)
        return json.dumps({"id": name, "sha": repository.commit, "siblings": siblings + self._listed_too}).encode()

    def is_lfs(self, data: bytes) -> bool:
        return len(data) > self.lfs_above

    def find(self, name: str) -> _Repository | None:
        return self._repositories.get(name)

    def next_cut(self, path: str) -> int | None:
        waiting = self._cuts.get(path)
        return waiting.pop(0) if waiting else None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    hub: HubServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the tests, not news for stderr."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  (the base class's name)
        pass

    def _answer(self) -> None:
        hub = self.server.hub
        headers = {name.lower(): value for name, value in self.headers.items()}
        hub.requests.append(Request(self.command, self.path, headers))
        path = unquote(urlsplit(self.path).path)
        if found := _CDN.fullmatch(path):
            self._content(found)
        elif hub.token and headers.get("authorization") != f"Bearer {hub.token}":
            self._send(401, b"Invalid username or password.", {"X-Error-Code": "GatedRepo"})
        elif found := _API.fullmatch(path):
            repository = hub.find(found["repo"])
            if repository is None:
                self._send(404, b'{"error":"Repository not found"}', {"X-Error-Code": "RepoNotFound"})
            else:
                self._send(200, hub.listing(repository, found["repo"]), {"Content-Type": "application/json"})
        elif found := _RESOLVE.fullmatch(path):
            self._resolve(found)
        else:
            self._send(404, b"not found", {})

    def _resolve(self, found: re.Match[str]) -> None:
        hub = self.server.hub
        repository = hub.find(found["repo"])
        data = repository.files.get(found["path"]) if repository else None
        if repository is None or data is None:
            self._send(404, b"Entry not found", {"X-Error-Code": "EntryNotFound"})
            return
        common = {"X-Repo-Commit": repository.commit, "Accept-Ranges": "bytes"}
        if hub.is_lfs(data):
            target = f"{hub.content_network}/cdn/{quote(found['repo'], safe='')}/{quote(found['path'])}"
            linked = {
                "X-Linked-ETag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Linked-Size": str(len(data)),
                "Location": target,
            }  # fmt: skip
            self._send(302, b"", common | linked)
        else:
            served = repository.served.get(found["path"], data)
            self._send_file(found["path"], served, common | {"ETag": f'"{git_blob_id(data)}"'})

    def _content(self, found: re.Match[str]) -> None:
        hub = self.server.hub
        # The path was unquoted once; the repository's own slash was quoted as part of one segment.
        name, path = _split_repository(hub, f"{found['repo']}/{found['path']}")
        repository = hub.find(name)
        if repository is None or path not in repository.files:
            self._send(404, b"not found", {})
            return
        data = repository.files[path]
        etag = {"ETag": f'"{hashlib.sha256(data).hexdigest()}"', "Accept-Ranges": "bytes"}
        self._send_file(path, repository.served.get(path, data), etag)

    def _send_file(self, path: str, data: bytes, headers: dict[str, str]) -> None:
        wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
        cut = self.server.hub.next_cut(path)
        status, start = 200, 0
        if wanted:
            start, total = int(wanted[1]), len(data)
            if start >= total:
                self._send(416, b"", {"Content-Range": f"bytes */{total}"})
                return
            end = min(int(wanted[2] or total - 1), total - 1)
            status, data = 206, data[start : end + 1]
            headers = headers | {"Content-Range": f"bytes {start}-{end}/{total}"}
        self._send(status, data, headers, cut=cut)

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], *, cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        # No connection outlives its answer, so that closing the server leaves nothing open.
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if cut is None else body[:cut])
        self.wfile.flush()


def git_blob_id(data: bytes) -> str:
    """The id that git gives to a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _commit_of(files: Mapping[str, bytes]) -> str:
    text = "".join(f"{path} {git_blob_id(data)}\n" for path, data in sorted(files.items()))
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def _split_repository(hub: HubServer, text: str) -> tuple[str, str]:
    parts = text.split("/")
    for size in (2, 1):
        if hub.find(name := "/".join(parts[:size])):
            return name, "/".join(parts[size:])
    return "", text
