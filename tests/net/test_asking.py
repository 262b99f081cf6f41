"""A body goes where the user said, encrypted or not at all; the answer is bounded, and asked for again where that helps."""

from pathlib import Path

import pytest

from edgewise.digits import model_bytes
from edgewise.errors import HttpStatusError, InputError, NetworkError, PeerError, RefusedError
from edgewise.net.asking import Asker, read_address
from edgewise.testing.inference_server import InferenceServer

CERTIFICATE = Path(__file__).parent / "loopback.pem"
BODY = b'{"inputs":[{"name":"pixels","datatype":"FP32","shape":[1,1,8,8],"data":[' + b",".join([b"0"] * 64) + b"]}]}"


class Clock:
    """Time that passes when somebody looks at it, and pauses that are counted."""

    def __init__(self, step: float = 0.0) -> None:
        self.step, self.time, self.pauses = step, 0.0, list[float]()

    def now(self) -> float:
        self.time += self.step
        return self.time

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.mark.parametrize(
    "url", ["http://localhost:1/v2/models/a", "http://127.0.0.9/x", "http://[::1]:8000/x/", "https://example.org/x"]
)
def test_what_nobody_on_the_way_can_read_is_an_address(url: str) -> None:
    address = read_address(url)
    assert address.url == url.rstrip("/")
    assert address.local != ("example" in url)


def test_plain_http_to_another_machine_is_refused_unless_the_user_says_so() -> None:
    for url in (
        "http://example.org/v2/models/a",
        "http://127.0.0.1.example.org/x",
        "http://10.0.0.1/x",
        "HTTP://[2001:db8::1]/x",
    ):
        with pytest.raises(RefusedError, match="without encryption") as raised:
            read_address(url)
        assert "--unsafe-plain-http" in raised.value.remedy
        assert not read_address(url, unsafe_plain_http=True).encrypted


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/x", "https://", "https:///x", "https://user:secret@example.org/x", "https://example.org/x?key=secret",
        "https://example.org/x#y", "https://example.org:99999/x", "https://example.org/\x1b[2J", "https://[::1", "",
    ],
)  # fmt: skip
def test_what_is_no_plain_address_is_refused_without_showing_secrets(url: str) -> None:
    with pytest.raises(InputError) as raised:
        read_address(url)
    assert "secret" not in str(raised.value)
    assert "\x1b" not in str(raised.value)


def test_it_asks_again_with_pauses_where_that_helps_and_not_where_it_does_not() -> None:
    clock = Clock()
    with InferenceServer(model_bytes("fp32")) as server:
        address, asker = read_address(server.model_url), Asker(sleep=clock.sleep)
        server.statuses = [503, 429, 500]
        assert b"outputs" in asker.ask(address, "/infer", BODY, limit=4096)
        assert clock.pauses == [0.5, 1.0, 2.0]
        server.statuses = [400]
        with pytest.raises(HttpStatusError, match=r"answers 400.*busy") as raised:
            asker.ask(address, "/infer", BODY, limit=4096)
        assert "\x1b" not in str(raised.value)
        server.statuses = [503] * 5
        with pytest.raises(HttpStatusError, match="503"):
            asker.ask(address, "/infer", BODY, limit=4096)
        assert len(clock.pauses) == 3 + 4
        assert server.questions == [1]
    with pytest.raises(NetworkError):
        asker.ask(address, "/infer", BODY, limit=4096)


def test_an_answer_has_an_end_in_bytes_and_in_time() -> None:
    with InferenceServer(model_bytes("fp32")) as server:
        address = read_address(server.model_url)
        server.endless = True
        with pytest.raises(PeerError, match="more than the 100000 bytes"):
            Asker().ask(address, "/infer", BODY, limit=100_000)
        clock = Clock(step=1)
        with pytest.raises(NetworkError, match="more than 3 s"):
            Asker(whole=3, now=clock.now, sleep=clock.sleep).ask(address, "/infer", BODY, limit=1 << 30)


def test_a_redirect_is_refused_for_samples_go_only_where_the_user_said() -> None:
    with InferenceServer(model_bytes("fp32")) as server, InferenceServer(model_bytes("fp32")) as other:
        server.location = f"{other.model_url}/infer"
        with pytest.raises(PeerError, match="redirects"):
            Asker().ask(read_address(server.model_url), "/infer", BODY, limit=4096)
        assert not other.tokens


def test_certificates_are_verified() -> None:
    with InferenceServer(model_bytes("fp32"), certificate=CERTIFICATE) as server:
        address = read_address(server.model_url)
        with pytest.raises(NetworkError, match="certificate"):
            Asker(sleep=Clock().sleep).ask(address, "", None, limit=4096)
        assert not server.tokens
        assert b"inputs" in Asker(token="abc", ca_file=CERTIFICATE).ask(address, "", None, limit=4096)
        assert server.tokens == ["Bearer abc"]


def test_past_this_machine_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with InferenceServer(model_bytes("fp32")) as server:
        assert b"inputs" in Asker().ask(read_address(server.model_url), "", None, limit=4096)
