"""An exchange ends by its time or at once, whatever the server does; it goes where it was sent, and leaves nothing behind."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgewise.digits import model_bytes
from edgewise.errors import EdgewiseError, HttpStatusError, InputError, NetworkError, PeerError
from edgewise.net.asking import Address, read_address
from edgewise.net.cancel import Cancel
from edgewise.net.exchange import Exchanger, Told
from edgewise.net.resolving import find_addresses
from edgewise.testing.inference_server import InferenceServer

CERTIFICATE = Path(__file__).parent / "loopback.pem"
LATE = 0.010  # seconds after its time within which an exchange has to have ended
TRIES = 8


def ask(asking: Exchanger, url: str, seconds: float = 10.0, cancel: Cancel | None = None, **changes: Any) -> Told:
    usual = {"path": "", "body": None, "limit": 1 << 16, "cancel": Cancel() if cancel is None else cancel, **changes}
    return asking.ask(read_address(url), until=time.perf_counter() + seconds, **usual)


@contextmanager
def server(**attributes: Any) -> Iterator[InferenceServer]:
    certificate = attributes.pop("certificate", None)
    with InferenceServer(model_bytes("fp32"), certificate=certificate) as made:
        for name, value in attributes.items():
            setattr(made, name, value)
        yield made


@contextmanager
def silent() -> Iterator[int]:
    """The port of somebody who takes connections, as the system does, and never says or reads a thing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def lateness(call: Callable[[], object], seconds: float) -> float:
    """The best of a few tries: a busy machine makes one late, an exchange that does not keep its time makes all of them late."""
    found = []
    for _ in range(TRIES):
        until = time.perf_counter() + seconds
        with pytest.raises(NetworkError, match="in time"):
            call()
        found.append(time.perf_counter() - until)
        if found[-1] <= LATE:
            break
    return min(found)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_who_never_speaks_holds_nobody_in_the_handshake_or_after_it(scheme: str) -> None:
    asking = Exchanger(ca_file=CERTIFICATE)
    with silent() as port:
        url = f"{scheme}://127.0.0.1:{port}/x"
        asking.prepare(read_address(url))
        assert lateness(lambda: ask(asking, url, 0.03), 0.03) <= LATE
        assert lateness(lambda: ask(asking, url, 0.03, body=bytes(64 << 20)), 0.03) <= LATE


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_giving_up_ends_it_in_the_handshake_or_after_it(scheme: str) -> None:
    asking = Exchanger(ca_file=CERTIFICATE)
    with silent() as port:
        for body in (None, bytes(64 << 20)):
            cancel, ended = Cancel(), list[float]()

            def work(cancel: Cancel = cancel, ended: list[float] = ended, body: bytes | None = body) -> None:
                with pytest.raises(NetworkError, match="not waited for"):
                    ask(asking, f"{scheme}://127.0.0.1:{port}/x", cancel=cancel, body=body)
                ended.append(time.perf_counter())

            thread = threading.Thread(target=work)
            thread.start()
            thread.join(0.1)
            assert not ended
            cancel.set()
            thread.join(5)
            assert ended


def test_a_connection_is_kept_and_the_next_question_takes_it() -> None:
    with server(keep=True) as made:
        asking = Exchanger()
        for _ in range(5):
            assert ask(asking, made.model_url).headers["content-length"]
            assert len(made.connections) == 1
        asking.close()


@pytest.mark.parametrize("certificate", [None, CERTIFICATE])
def test_a_kept_connection_that_the_server_closed_is_replaced(certificate: Path | None) -> None:
    """Whether that is seen before the question is sent (``drop``) or only after it, as where the server hangs up meanwhile."""
    with server(keep=True, certificate=certificate) as made:
        asking = Exchanger(ca_file=CERTIFICATE)
        for _ in range(3):
            ask(asking, made.model_url)
            made.drop()
            ask(asking, made.model_url)
        made.fault = "closes"
        before = len(made.tokens)
        with pytest.raises(NetworkError):
            ask(asking, made.model_url)
        assert len(made.tokens) == before + 2  # on the kept connection, and once on a new one
        with pytest.raises(NetworkError):
            ask(asking, made.model_url)
        assert len(made.tokens) == before + 3  # a new connection was no stale one


def test_of_several_that_are_closed_only_one_is_tried() -> None:
    with server(keep=True, delay=0.05) as made, ThreadPoolExecutor(2) as pool:
        asking = Exchanger()

        def unknown(_: int) -> None:
            with pytest.raises(HttpStatusError, match="404"):
                ask(asking, made.model_url, path="/unknown", body=b"{}")

        list(pool.map(unknown, range(2)))
        made.stale = set(made.connections)
        assert len(made.stale) == 2
        assert ask(asking, made.model_url).body


@pytest.mark.parametrize("certificate", [None, CERTIFICATE])
@pytest.mark.parametrize("fault", ["never reads", "reads by sips"])
def test_who_does_not_read_a_long_question_holds_nobody(fault: str, certificate: Path | None) -> None:
    with server(fault=fault, certificate=certificate) as made:
        asking = Exchanger(ca_file=CERTIFICATE)
        assert lateness(lambda: ask(asking, made.model_url, 0.1, body=bytes(16 << 20)), 0.1) <= LATE


def test_what_was_given_up_is_closed_and_not_kept() -> None:
    with server(keep=True) as made:
        asking = Exchanger()
        for fault in ("hangs", "trickles its body", "breaks off", "answers without end"):
            made.fault = fault
            with pytest.raises(EdgewiseError):
                ask(asking, made.model_url, 0.05)
            made.mend()
            until = time.perf_counter() + 5
            while made.connections and time.perf_counter() < until:
                time.sleep(0.01)
            assert not made.connections, fault
        assert ask(asking, made.model_url).body


@pytest.mark.parametrize("fault", ["answers garbage", "answers without end"])
def test_what_is_no_http_or_has_no_end_is_the_fault_of_the_server(fault: str) -> None:
    with server(fault=fault) as made, pytest.raises(PeerError) as raised:
        ask(Exchanger(), made.model_url)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("fault", ["breaks off", "closes"])
def test_what_breaks_off_is_the_fault_of_the_way_there(fault: str) -> None:
    with server(fault=fault) as made, pytest.raises(NetworkError):
        ask(Exchanger(), made.model_url)


def test_an_answer_that_says_it_is_too_long_is_not_read() -> None:
    with server(keep=True) as made, pytest.raises(PeerError, match="more than the 10 bytes"):
        ask(Exchanger(), made.model_url, limit=10)


def test_a_status_is_an_error_with_its_words_and_nothing_is_asked_again() -> None:
    with server(statuses=[503, 401]) as made:
        with pytest.raises(HttpStatusError, match=r"answers 503.*busy") as raised:
            ask(Exchanger(), made.model_url)
        assert raised.value.details["status"] == 503
        assert "\x1b" not in str(raised.value)
        with pytest.raises(HttpStatusError, match="401"):
            ask(Exchanger(), made.model_url)
        assert len(made.tokens) == 2


def test_a_header_that_comes_twice_has_both_values() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Size: 1\r\nX-Size: 2\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        told = ask(Exchanger(), f"http://127.0.0.1:{listening.getsockname()[1]}/x")
        thread.join()
    assert told.headers["x-size"] == "1, 2"


@pytest.mark.parametrize("at", range(2, 6))
def test_a_connection_that_is_cleared_away_meanwhile_is_another_one(at: int) -> None:
    """As the collector does it, in the thread of an exchange: giving up still ends that exchange."""
    with server(keep=True) as made, silent() as port:
        other, cancel, ended = Exchanger(), Cancel(), list[float]()
        ask(other, made.model_url)

        def work() -> None:
            looks = iter(range(10_000))

            def now() -> float:
                if next(looks) == at:
                    other.close()
                return time.perf_counter()

            asking = Exchanger(now=now)
            with pytest.raises(NetworkError, match="not waited for"):
                ask(asking, f"http://127.0.0.1:{port}/x", cancel=cancel)
            ended.append(time.perf_counter())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(0.1)
        cancel.set()
        thread.join(2)
        assert ended


def test_a_redirect_is_refused_and_not_followed() -> None:
    with server() as made, server() as other:
        made.location = other.model_url
        with pytest.raises(PeerError, match="redirects"):
            ask(Exchanger(), made.model_url)
        assert not other.tokens


def test_certificates_are_verified_and_the_token_is_sent_where_nobody_reads_it() -> None:
    with server(certificate=CERTIFICATE) as made:
        with pytest.raises(NetworkError, match="certificate"):
            ask(Exchanger(token="abc"), made.model_url)
        assert not made.tokens
        ask(Exchanger(token="abc", ca_file=CERTIFICATE), made.model_url)
        assert made.tokens == ["Bearer abc"]
    with server() as made:
        # An address that was let through without encryption, and is not this machine by its name.
        address = Address(made.model_url, local=False, encrypted=False)
        asking = Exchanger(token="abc")
        asking.ask(address, "", None, limit=1 << 16, until=time.perf_counter() + 10, cancel=Cancel())
        assert made.tokens == [""]
        assert "abc" not in repr(asking)


def test_a_token_that_would_end_the_header_is_refused() -> None:
    with pytest.raises(InputError, match="printable"):
        Exchanger(token="abc\r\nX-Other: 1")


def test_to_this_machine_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with server() as made:
        assert ask(Exchanger(), made.model_url).body


def test_nobody_there_is_an_error_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    with pytest.raises(NetworkError, match=r"127\.0\.0\.1.*refused"):
        ask(Exchanger(), f"http://127.0.0.1:{port}/x")


def test_closing_ends_what_is_under_way_and_what_comes_later() -> None:
    faults: list[EdgewiseError] = []
    with server(fault="hangs") as made:
        asking = Exchanger()

        def work() -> None:
            with pytest.raises(NetworkError) as raised:
                ask(asking, made.model_url)
            faults.append(raised.value)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join(0.1)
        asking.close()
        thread.join(5)
        assert "closed" in str(faults[0])
        with pytest.raises(NetworkError, match="closed"):
            ask(asking, made.model_url)


def test_a_resolver_that_hangs_holds_nobody_and_answers_who_asks_next() -> None:
    go, asked = threading.Event(), list[str]()

    def slow(host: str, port: int) -> Any:
        asked.append(host)
        go.wait(5)
        return socket.getaddrinfo("127.0.0.1", port, type=socket.SOCK_STREAM)

    def left() -> float:
        raise TimeoutError

    for _ in range(3):
        with pytest.raises(TimeoutError):
            find_addresses("slow.example", 80, left, slow)
    go.set()
    assert find_addresses("slow.example", 80, lambda: 5.0, slow)[0][4] == ("127.0.0.1", 80)
    assert asked == ["slow.example"]


def test_a_name_without_addresses_is_asked_again() -> None:
    answers = [OSError("no such name"), [("an address",)]]

    def resolve(host: str, port: int) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer

    with pytest.raises(OSError, match="no such name"):
        find_addresses("unknown.example", 80, lambda: 5.0, resolve)
    assert find_addresses("unknown.example", 80, lambda: 5.0, resolve) == [("an address",)]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system does not tell what is open")
def test_a_thousand_faults_leave_nothing_open() -> None:
    with server(keep=True) as made:
        asking = Exchanger()
        ask(asking, made.model_url)
        before = len([*Path("/proc/self/fd").iterdir()]), threading.active_count()
        for at in range(1000):
            made.fault = ("closes", "breaks off", "answers garbage", "is busy", "")[at % 5]
            try:
                ask(asking, made.model_url)
            except EdgewiseError:
                assert made.fault
        made.mend()
        ask(asking, made.model_url)
        until = time.perf_counter() + 5
        while (
            len([*Path("/proc/self/fd").iterdir()]),
            threading.active_count(),
        ) > before and time.perf_counter() < until:
            time.sleep(0.02)
        assert (len([*Path("/proc/self/fd").iterdir()]), threading.active_count()) <= before
