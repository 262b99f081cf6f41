"""Downloads end with exactly the bytes that were asked for, or with nothing at their name."""

import fcntl
import hashlib
import resource
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from edgewise.errors import (
    DownloadMismatchError,
    HttpStatusError,
    InputError,
    NetworkError,
    PeerError,
    StorageError,
)
from edgewise.net.download import download
from edgewise.net.transport import FileTransport, MemoryTransport, UrllibTransport
from edgewise.testing.web_server import FileServer

pytestmark = pytest.mark.bare

DATA = hashlib.shake_256(b"seed").digest(300_000)
SHA = hashlib.sha256(DATA).hexdigest()
OTHER = DATA[:150_000] + bytes(150_000)  # begins like DATA


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with FileServer({"x": DATA, "empty": b""}) as running:
        yield running


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "models" / "x.onnx"


class Pauses(list[float]):
    """Stands in for sleep: takes note and returns at once."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def get(server: FileServer, target: Path, *, path: str = "x", sleep: Pauses | None = None, **options: object) -> str:
    options = {"sha256": SHA, "size": len(DATA)} | options
    return download(
        f"{server.url}/{path}", target, transport=UrllibTransport(), sleep=sleep if sleep is not None else Pauses(),
        **options,  # type: ignore[arg-type]
    )  # fmt: skip


def left(target: Path) -> set[str]:
    return {path.name for path in target.parent.iterdir()} if target.parent.exists() else set()


def ranges(server: FileServer) -> list[str | None]:
    return [call.headers.get("range") for call in server.calls]


@pytest.mark.parametrize("known", [{}, {"sha256": None}, {"size": None}, {"sha256": None, "size": None}])
def test_a_file_arrives_whole_under_its_name_only(server: FileServer, target: Path, known: dict[str, None]) -> None:
    seen: list[tuple[int, int]] = []
    assert get(server, target, progress=lambda done, total: seen.append((done, total)), **known) == f"sha256:{SHA}"
    assert target.read_bytes() == DATA
    assert left(target) == {"x.onnx"}
    assert seen[-1] == (len(DATA), len(DATA))
    assert seen == sorted(seen)


def test_an_empty_file_is_a_file(server: FileServer, target: Path) -> None:
    get(server, target, path="empty", sha256=None, size=0)
    assert target.read_bytes() == b""
    assert left(target) == {"x.onnx"}


def test_what_is_there_already_is_not_fetched_again(server: FileServer, target: Path) -> None:
    get(server, target)
    get(server, target, sha256=f"sha256:{SHA}")
    assert len(server.calls) == 1
    target.write_bytes(OTHER)
    get(server, target)
    assert target.read_bytes() == DATA


# ----------------------------------------------------------------------------- resuming


def test_cuts_are_resumed_from_where_they_happened(server: FileServer, target: Path) -> None:
    server.cut_after = 100_000
    pauses = Pauses()
    get(server, target, sleep=pauses)
    assert target.read_bytes() == DATA
    assert ranges(server) == [None, "bytes=100000-", "bytes=200000-"]
    assert server.calls[1].headers["if-range"].startswith('"')
    assert pauses == [0.5, 1.0]


def test_a_cut_keeps_the_part_and_another_process_continues_it(server: FileServer, target: Path) -> None:
    server.cut_after = 10_000
    pauses = Pauses()
    with pytest.raises(NetworkError):
        get(server, target, sleep=pauses)
    assert pauses == [0.5, 1.0, 2.0, 4.0]
    assert left(target) == {"x.onnx.part", "x.onnx.part.json"}
    assert target.with_name("x.onnx.part").read_bytes() == DATA[:50_000]
    server.cut_after = None
    get(server, target)
    assert ranges(server)[-1] == "bytes=50000-"
    assert target.read_bytes() == DATA
    assert left(target) == {"x.onnx"}


@pytest.mark.parametrize("known", [{}, {"sha256": None, "size": None}], ids=["digest", "nothing"])
def test_a_file_that_changed_meanwhile_is_begun_again(server: FileServer, target: Path, known: dict[str, None]) -> None:
    with FileServer({"x": OTHER}, cut_after=30_000) as before, pytest.raises(NetworkError):
        get(before, target, **known)
    part = target.with_name("x.onnx.part")
    note = part.with_name("x.onnx.part.json")
    note.write_text(note.read_text().replace(before.url, server.url))
    get(server, target, **known)
    assert target.read_bytes() == DATA
    assert ranges(server) == ["bytes=150000-"], "the validator was of the other version, so everything came"


def test_a_part_of_another_address_is_not_continued(target: Path) -> None:
    memory = MemoryTransport({"mem://a": OTHER[::-1], "mem://b": DATA})
    memory.extra = {"ETag": '"1"'}  # some servers count, so that two addresses have one validator
    memory.cut(*[5000] * 5)
    with pytest.raises(NetworkError):
        download("mem://a", target, sha256=None, size=None, transport=memory, sleep=Pauses())
    download("mem://b", target, sha256=None, size=None, transport=memory, sleep=Pauses())
    assert target.read_bytes() == DATA


def test_a_range_that_begins_elsewhere_is_not_appended(target: Path) -> None:
    memory = MemoryTransport({"mem://x": DATA})
    memory.extra = {"Content-Range": "bytes 0-299999/300000"}
    memory.cut(1000)
    download("mem://x", target, sha256=None, size=None, transport=memory, sleep=Pauses())
    assert [request.start for request in memory.requests] == [0, 1000, 0]
    assert target.read_bytes() == DATA


def test_without_validator_or_digest_nothing_is_continued(server: FileServer, target: Path) -> None:
    server.send_etag, server.cut_after = False, 100_000
    with pytest.raises(NetworkError):
        get(server, target, sha256=None)
    server.cut_after = None
    get(server, target, sha256=None)
    assert ranges(server)[-1] is None
    assert target.read_bytes() == DATA


def test_without_validator_the_digest_decides(server: FileServer, target: Path) -> None:
    server.send_etag, server.cut_after = False, 100_000
    get(server, target)
    assert ranges(server) == [None, "bytes=100000-", "bytes=200000-"]
    assert all("if-range" not in call.headers for call in server.calls)


def test_a_part_that_proves_wrong_is_replaced_without_a_word(server: FileServer, target: Path) -> None:
    server.send_etag, server.cut_after = False, 20_000
    with pytest.raises(NetworkError):
        get(server, target)
    target.with_name("x.onnx.part").write_bytes(bytes(99))
    server.cut_after = None
    get(server, target)
    assert ranges(server)[-2:] == ["bytes=99-", None]
    assert target.read_bytes() == DATA


def test_a_server_without_ranges_starts_from_the_beginning(server: FileServer, target: Path) -> None:
    server.cut_after, server.ignore_range = 100_000, True
    with pytest.raises(NetworkError):
        get(server, target)
    assert target.with_name("x.onnx.part").read_bytes() == DATA[:100_000]
    server.cut_after = None
    get(server, target)
    assert ranges(server)[-1] == "bytes=100000-"
    assert target.read_bytes() == DATA


@pytest.mark.parametrize("known", [{"size": None}, {"sha256": None, "size": None}], ids=["digest", "nothing"])
def test_a_part_that_is_already_whole_is_finished_by_416(
    server: FileServer, target: Path, known: dict[str, None]
) -> None:
    server.declared = {"x": len(DATA) + 5}  # it promises five bytes more and hangs up without them
    assert get(server, target, **known) == f"sha256:{SHA}"
    assert ranges(server) == [None, f"bytes={len(DATA)}-"]


def test_a_part_of_the_right_size_needs_no_request(server: FileServer, target: Path) -> None:
    server.cut_after = 10_000
    with pytest.raises(NetworkError):
        get(server, target)
    target.with_name("x.onnx.part").write_bytes(DATA)
    server.calls.clear()
    get(server, target)
    assert server.calls == []
    assert target.read_bytes() == DATA


def test_416_for_a_part_that_is_too_long_begins_again(server: FileServer, target: Path) -> None:
    server.cut_after = 50_000
    with pytest.raises(NetworkError):
        get(server, target, size=None)
    server.cut_after = None
    part = target.with_name("x.onnx.part")
    part.write_bytes(DATA + b"more")
    get(server, target, size=None)
    assert ranges(server)[-2:] == [f"bytes={len(DATA) + 4}-", None]
    assert target.read_bytes() == DATA


def test_two_processes_do_not_write_one_part(server: FileServer, target: Path) -> None:
    target.parent.mkdir()
    with target.with_name("x.onnx.part").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="another process"):
            get(server, target)
    get(server, target)


# -------------------------------------------------------------------------- wrong bytes


SERVED = {"other": OTHER, "short": DATA[:-1], "long": DATA + b"1", "empty": b""}
KNOWN: dict[str, dict[str, None]] = {"both": {}, "digest": {"size": None}, "size": {"sha256": None}}


@pytest.mark.parametrize(
    ("served", "known"), [pair for pair in product(SERVED, KNOWN) if pair != ("other", "size")]
)  # nothing tells a file of the right size from another where only the size is known
def test_wrong_bytes_are_discarded_and_what_was_there_stays(
    server: FileServer, target: Path, served: str, known: str
) -> None:
    target.parent.mkdir()
    target.write_bytes(b"of before")
    server.files = {"x": SERVED[served]}
    with pytest.raises(DownloadMismatchError):
        get(server, target, **KNOWN[known])
    assert target.read_bytes() == b"of before"
    assert left(target) == {"x.onnx"}
    assert len(server.calls) == 1, "wrong bytes that came in one piece are not asked for again"


@pytest.mark.parametrize("bound", [{"size": None, "limit": 400_000}, {"size": 400_000}], ids=["limit", "size"])
def test_a_body_without_end_is_cut_off_at_the_bound(
    server: FileServer, target: Path, bound: dict[str, int | None]
) -> None:
    server.endless = {"x"}
    most: list[int] = []
    with pytest.raises(DownloadMismatchError, match="400000"):
        get(server, target, progress=lambda done, _: most.append(done), **bound)
    assert max(most) <= 400_000
    assert left(target) == set()


def test_a_stated_length_beyond_the_limit_is_refused_before_the_body(server: FileServer, target: Path) -> None:
    seen: list[int] = []
    with pytest.raises(DownloadMismatchError):
        get(server, target, size=None, limit=200_000, progress=lambda done, _: seen.append(done))
    assert seen == []


@pytest.mark.parametrize("length", [len(DATA) - 1, 7, len(DATA) + 1, 10**17])
def test_a_lying_length_does_not_get_wrong_bytes_through(server: FileServer, target: Path, length: int) -> None:
    server.declared = {"x": length}
    with pytest.raises(DownloadMismatchError):
        get(server, target)
    assert left(target) == set()


def test_a_length_that_is_no_number_is_no_length(server: FileServer, target: Path) -> None:
    memory = MemoryTransport({"mem://x": DATA})
    memory.extra = {"Content-Length": "9" * 5000, "ETag": '"a\nb"'}
    memory.cut(1000)
    download("mem://x", target, sha256=SHA, size=None, transport=memory, sleep=Pauses())
    assert target.read_bytes() == DATA


# ------------------------------------------------------------------------------ answers


def test_a_busy_server_is_asked_again_and_retry_after_is_heeded(server: FileServer, target: Path) -> None:
    server.statuses = [503, 429, 500]
    server.extra = {"Retry-After": "7"}
    pauses = Pauses()
    get(server, target, sleep=pauses)
    assert pauses == [7, 7, 7]
    assert target.read_bytes() == DATA


def test_a_busy_server_is_not_asked_for_ever(server: FileServer, target: Path) -> None:
    server.statuses = [500] * 20
    server.extra = {"Retry-After": "9" * 40}
    pauses = Pauses()
    with pytest.raises(HttpStatusError, match="500"):
        get(server, target, sleep=pauses)
    assert len(server.calls) == 5
    assert max(pauses) <= 60


@pytest.mark.parametrize("status", [401, 403, 404, 410, 304])
def test_a_refusal_is_final_and_leaves_nothing(server: FileServer, target: Path, status: int) -> None:
    server.statuses = [status]
    with pytest.raises(HttpStatusError, match=str(status)) as caught:
        get(server, target)
    assert caught.value.details["status"] == status
    assert len(server.calls) == 1
    assert left(target) == set()


def test_a_redirect_loop_is_final(server: FileServer, target: Path) -> None:
    server.redirects = {"x": "/x"}
    with pytest.raises(PeerError):
        get(server, target)
    assert len(server.calls) == 6


def test_headers_of_the_caller_go_along(server: FileServer, target: Path) -> None:
    server.cut_after = 200_000
    get(server, target, headers={"Authorization": "Bearer t"})
    assert [call.headers["authorization"] for call in server.calls] == ["Bearer t", "Bearer t"]


# --------------------------------------------------------------------------------- disk


def test_a_full_disk_is_a_storage_error_and_what_was_there_stays(server: FileServer, target: Path) -> None:
    target.parent.mkdir()
    target.write_bytes(b"of before")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(StorageError):
            get(server, target)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert target.read_bytes() == b"of before"
    get(server, target)
    assert target.read_bytes() == DATA


def test_a_place_that_cannot_be_written_is_a_storage_error(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        get(server, tmp_path / "file" / "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError):
        get(server, tmp_path / "folder")


@pytest.mark.parametrize("fields", [{"sha256": "12"}, {"sha256": SHA.upper()}, {"size": -1}, {"size": 10, "limit": 9}])
def test_arguments_that_make_no_sense_are_your_input(
    server: FileServer, target: Path, fields: dict[str, object]
) -> None:
    with pytest.raises(InputError):
        get(server, target, **fields)
    assert server.calls == []


# -------------------------------------------------------------------- any other transport


def test_any_transport_will_do(target: Path, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(DATA)
    memory = MemoryTransport({"mem://x": DATA})
    memory.cut(1000, 1000)
    memory.answer(500)
    pauses = Pauses()
    download("mem://x", target, sha256=SHA, size=None, transport=memory, sleep=pauses)
    assert [request.start for request in memory.requests] == [0, 0, 1000, 2000]
    download("file:///x", target.with_name("y"), sha256=SHA, size=None, transport=FileTransport(tmp_path), sleep=pauses)
    assert target.read_bytes() == target.with_name("y").read_bytes() == DATA


def test_a_link_in_the_place_of_the_part_is_not_written_through(
    server: FileServer, target: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    target.parent.mkdir(parents=True)
    target.with_name("x.onnx.part").symlink_to(precious)
    with pytest.raises(StorageError):
        download(f"{server.url}/x", target, sha256=SHA, size=len(DATA), transport=UrllibTransport())
    assert precious.read_bytes() == b"precious"
    assert not target.exists()
