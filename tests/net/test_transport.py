"""The network seam: one method, three transports that agree, and HTTP's traps."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from edgewise.errors import InputError, NetworkError, PeerError
from edgewise.net.transport import FileTransport, MemoryTransport, Request, Response, Transport, UrllibTransport, shown
from edgewise.testing.web_server import FileServer

pytestmark = pytest.mark.bare

DATA = bytes(range(256)) * 1000
CERTIFICATE = Path(__file__).parent / "loopback.pem"  # signed by itself, for 127.0.0.1, until 2125


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(params=["urllib", "file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Transport, str]]:
    """A transport, and the URL below which it has ``a/b c.bin``."""
    if request.param == "urllib":
        with FileServer({"a/b c.bin": DATA}) as server:
            yield UrllibTransport(), f"{server.url}/a/b%20c.bin"
    elif request.param == "file":
        (tmp_path / "a").mkdir()
        (tmp_path / "a" / "b c.bin").write_bytes(DATA)
        yield FileTransport(tmp_path), "file:///a/b%20c.bin"
    else:
        yield MemoryTransport({"mem://x/a/b%20c.bin": DATA}), "mem://x/a/b%20c.bin"


def read_into(got: bytearray, response: Response) -> None:
    for chunk in response.chunks():
        got += chunk


def fetch(transport: Transport, request: Request) -> tuple[int, dict[str, str], bytes]:
    with transport.fetch(request) as response:
        return response.status, response.headers, b"".join(response.chunks())


def test_every_transport_gives_the_whole_file_with_its_length(place: tuple[Transport, str]) -> None:
    status, headers, body = fetch(place[0], Request(place[1]))
    assert (status, body, headers["content-length"]) == (200, DATA, str(len(DATA)))


def test_every_transport_gives_the_rest_from_a_byte_on(place: tuple[Transport, str]) -> None:
    status, headers, body = fetch(place[0], Request(place[1], start=1001))
    assert (status, body) == (206, DATA[1001:])
    assert headers["content-range"] == f"bytes 1001-{len(DATA) - 1}/{len(DATA)}"


def test_every_transport_says_416_beyond_the_end_and_404_for_nothing(place: tuple[Transport, str]) -> None:
    transport, url = place
    status, headers, _ = fetch(transport, Request(url, start=len(DATA)))
    assert (status, headers["content-range"]) == (416, f"bytes */{len(DATA)}")
    assert fetch(transport, Request(url + ".other"))[0] == 404


def test_every_transport_starts_again_where_the_version_is_another(place: tuple[Transport, str]) -> None:
    transport, url = place
    etag = fetch(transport, Request(url))[1]["etag"]
    assert fetch(transport, Request(url, {"If-Range": etag}, start=10))[0] == 206
    status, _, body = fetch(transport, Request(url, {"If-Range": '"of before"'}, start=10))
    assert (status, body) == (200, DATA)


@pytest.mark.parametrize("escape", ["../secret", "%2e%2e/secret", "a/../../secret", "/../secret"])
def test_the_folder_is_not_left(tmp_path: Path, escape: str) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "open").mkdir()
    assert fetch(FileTransport(tmp_path / "open"), Request(f"file:///{escape}"))[0] == 404


def test_a_url_that_a_transport_cannot_serve_is_your_input(tmp_path: Path) -> None:
    for transport in (UrllibTransport(), FileTransport(tmp_path, "file:///base/")):
        for url in ("ftp://example.org/x", "file:///etc/passwd", "nonsense", "http://[::1"):
            with pytest.raises(InputError):
                transport.fetch(Request(url))
    with pytest.raises(InputError):
        UrllibTransport().fetch(Request("http:///x"))


@pytest.mark.parametrize(
    "fields",
    [
        {"start": -1},
        {"timeout": 0},
        {"headers": {"A": "b\r\nC: d"}},
        {"headers": {"A b": "c"}},
        {"headers": {"A": "€"}},
    ],
)
def test_a_request_cannot_be_malformed(fields: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Request("http://127.0.0.1/", **fields)  # type: ignore[arg-type]


def test_memory_counts_calls_cuts_and_answers_with_errors() -> None:
    transport = MemoryTransport({"mem://x": DATA})
    transport.cut(1000)
    transport.answer(500)
    assert fetch(transport, Request("mem://x"))[0] == 500
    got = bytearray()
    with transport.fetch(Request("mem://x")) as response, pytest.raises(NetworkError):
        read_into(got, response)
    assert got == DATA[:1000]
    assert fetch(transport, Request("mem://x"))[2] == DATA
    assert len(transport.requests) == 3


# ------------------------------------------------------------------------------- HTTP


def test_no_answer_is_a_network_error_with_the_reason() -> None:
    with FileServer({}) as server:
        url = server.url
    with pytest.raises(NetworkError, match="refused"):
        UrllibTransport().fetch(Request(f"{url}/x?secret=1"))


def test_what_arrived_before_a_cut_is_handed_over() -> None:
    got = bytearray()
    with (
        FileServer({"x": DATA}, cut_after=100_001) as server,
        UrllibTransport().fetch(Request(f"{server.url}/x")) as response,
        pytest.raises(NetworkError),
    ):
        read_into(got, response)
    assert got == DATA[:100_001]


def test_a_slow_body_is_handed_over_as_it_comes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as aside:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
        answer = aside.submit(UrllibTransport().fetch, Request(url, timeout=2))
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n0123456789")
            with answer.result() as response:
                assert next(response.chunks()) == b"0123456789"


def test_redirects_are_followed_and_the_end_is_named() -> None:
    with FileServer({"x": DATA}) as server:
        server.redirects = {"1": "/2", "2": f"{server.url}/3", "3": "4", "4": "5", "5": "x"}
        with UrllibTransport().fetch(Request(f"{server.url}/1", start=5)) as response:
            assert (response.status, response.url) == (206, f"{server.url}/x")
            assert b"".join(response.chunks()) == DATA[5:]


def test_a_redirect_loop_ends_after_five() -> None:
    with FileServer({}) as server:
        server.redirects = {"a": "/b", "b": "/a"}
        with pytest.raises(PeerError, match="more than 5"):
            UrllibTransport().fetch(Request(f"{server.url}/a"))
        assert len(server.calls) == 6


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://127.0.0.1/x", "http://[", "gopher:x", "http://h:99999999/", "http://a..b/"],
)
def test_a_redirect_leads_to_http_or_nowhere(location: str) -> None:
    with FileServer({}) as server:
        server.redirects = {"a": location}
        with pytest.raises(PeerError):
            UrllibTransport().fetch(Request(f"{server.url}/a"))


def test_a_redirect_never_leads_from_https_to_http() -> None:
    with FileServer({"x": DATA}) as plain, FileServer({"x": DATA}, certificate=CERTIFICATE) as secure:
        secure.redirects = {"down": f"{plain.url}/x", "same": f"{secure.url}/x"}
        transport = UrllibTransport(CERTIFICATE)
        assert fetch(transport, Request(f"{secure.url}/same"))[2] == DATA
        with pytest.raises(PeerError, match="https to http"):
            transport.fetch(Request(f"{secure.url}/down"))
        assert plain.calls == []


def test_a_certificate_that_nobody_vouches_for_is_refused() -> None:
    with FileServer({"x": DATA}, certificate=CERTIFICATE) as server:
        with pytest.raises(NetworkError, match="certificate") as caught:
            UrllibTransport().fetch(Request(f"{server.url}/x"))
        assert "SSL_CERT_FILE" in caught.value.remedy
        assert server.calls == []
        assert fetch(UrllibTransport(CERTIFICATE), Request(f"{server.url}/x"))[2] == DATA


def test_a_certificate_for_another_name_is_refused() -> None:
    with FileServer({"x": DATA}, certificate=CERTIFICATE) as server:
        port = server.url.rpartition(":")[2]
        with pytest.raises(NetworkError, match=r"match|mismatch"):
            UrllibTransport(CERTIFICATE).fetch(Request(f"https://localhost:{port}/x"))


def test_credentials_stay_with_the_origin_that_they_were_given_for() -> None:
    with FileServer({"x": DATA}) as other, FileServer({"x": DATA}) as hub:
        hub.redirects = {"away": f"{other.url}/x", "home": "/x"}
        secret = {"Authorization": "Bearer t", "cookie": "c", "X-Plain": "p"}
        for path in ("away", "home"):
            fetch(UrllibTransport(), Request(f"{hub.url}/{path}", secret))
        assert "authorization" not in other.calls[0].headers
        assert "cookie" not in other.calls[0].headers
        assert other.calls[0].headers["x-plain"] == "p"
        assert all(call.headers["authorization"] == "Bearer t" for call in hub.calls)


def test_an_encoding_that_was_not_asked_for_is_refused() -> None:
    with FileServer({"x": DATA}) as server:
        server.extra = {"Content-Encoding": "gzip"}
        with pytest.raises(PeerError, match="gzip"):
            UrllibTransport().fetch(Request(f"{server.url}/x"))
        assert server.calls[0].headers["accept-encoding"] == "identity"


def test_the_proxy_variables_are_honoured_with_their_exceptions(monkeypatch: pytest.MonkeyPatch) -> None:
    with FileServer({"x": DATA}) as proxy, FileServer({"x": b"direct"}) as server:
        monkeypatch.setenv("http_proxy", proxy.url.replace("//", "//me:pass%20word@"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        transport = UrllibTransport()
        assert fetch(transport, Request("http://models.example/x"))[2] == DATA
        assert proxy.calls[0].target == "http://models.example/x"
        assert proxy.calls[0].headers["proxy-authorization"] == "Basic bWU6cGFzcyB3b3Jk"
        assert fetch(transport, Request(f"{server.url}/x"))[2] == b"direct"
        assert "proxy-authorization" not in server.calls[0].headers


def test_silence_is_a_network_error_after_the_timeout() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        pytest.raises(NetworkError, match="timed out"),
    ):
        UrllibTransport().fetch(Request(f"http://127.0.0.1:{mute.getsockname()[1]}/x", timeout=0.2))


def test_what_may_be_a_secret_is_not_shown() -> None:
    assert shown("https://me:pw@h.example:8/a/b?token=1#f") == "https://h.example:8/a/b"
    assert shown("http://[") == "http://["
