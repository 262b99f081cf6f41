"""What a hub sends is compared with what it listed, at one commit; wrong bytes never get a file's name. Real HTTP on loopback."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgewise.errors import DownloadMismatchError, HttpStatusError, InputError, NotFoundError, RefusedError
from edgewise.importing.hub_download import HubFetch, fetch_hub
from edgewise.importing.hub_repository import import_hub
from edgewise.net.transport import UrllibTransport
from edgewise.testing.hub_server import HubServer

pytestmark = pytest.mark.bare

WEIGHTS = np.random.default_rng(4).bytes(300_000)
FILES = {
    "config.json": b'{"architectures": ["BertModel"]}', "tokenizer.json": b"{}", "onnx/model.onnx": WEIGHTS,
    "onnx/model_q4.onnx": WEIGHTS[:100_000], "pytorch_model.bin": bytes(500_000), "empty.json": b"",
}  # fmt: skip
CHOSEN = ["config.json", "tokenizer.json", "onnx/model.onnx", "onnx/model_q4.onnx"]


@pytest.fixture
def hub() -> Iterator[HubServer]:
    with HubServer({"acme/tiny": FILES}) as server:
        yield server


def fetch(hub: HubServer, target: Path, **options: object) -> HubFetch:
    return fetch_hub("acme/tiny", endpoint=hub.endpoint, target=target, transport=UrllibTransport(), **options)  # type: ignore[arg-type]


def on_disk(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_chosen_files_arrive_at_the_commit_that_was_listed_and_nothing_else(hub: HubServer, tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    found = fetch(hub, tmp_path / "t", progress=lambda *step: steps.append(step))
    assert on_disk(tmp_path / "t") == {path: FILES[path] for path in CHOSEN}
    assert (found.commit, list(found.files), found.size) == (
        hub.commit("acme/tiny"),
        CHOSEN,
        sum(len(FILES[p]) for p in CHOSEN),
    )
    resolved = [request.target for request in hub.requests if "/resolve/" in request.target]
    assert all(f"/resolve/{found.commit}/" in target for target in resolved)
    done = [step[1] for step in steps]
    assert done == sorted(done)
    assert (steps[0][1], steps[-1][1], steps[-1][2]) == (0, found.size, found.size)


def test_a_file_of_any_size_can_be_asked_for_even_an_empty_one(hub: HubServer, tmp_path: Path) -> None:
    fetch(hub, tmp_path / "t", only=["empty.json", "*.bin"])
    assert on_disk(tmp_path / "t") == {"empty.json": b"", "pytorch_model.bin": bytes(500_000)}


def test_what_is_there_and_right_is_not_fetched_again_and_what_was_changed_is(hub: HubServer, tmp_path: Path) -> None:
    fetch(hub, tmp_path / "t")
    (tmp_path / "t" / "config.json").write_bytes(b"{}")
    hub.requests.clear()
    fetch(hub, tmp_path / "t")
    assert [request.target.rpartition("/")[2] for request in hub.requests[1:]] == ["config.json"]
    assert (tmp_path / "t" / "config.json").read_bytes() == FILES["config.json"]


def test_a_download_that_broke_off_is_continued_where_it_was(hub: HubServer, tmp_path: Path) -> None:
    hub.cut("onnx/model.onnx", 120_000)
    fetch(hub, tmp_path / "t", only=["onnx/model.onnx"])
    assert on_disk(tmp_path / "t") == {"onnx/model.onnx": WEIGHTS}
    first, second = [request for request in hub.requests_for("onnx/model.onnx") if request.target.startswith("/cdn/")]
    assert "range" not in first.headers
    start = int(second.headers["range"].removeprefix("bytes=").rstrip("-"))
    assert 0 < start <= 120_000


@pytest.mark.parametrize("path", ["onnx/model.onnx", "config.json"])
@pytest.mark.parametrize("change", ["flipped", "shorter", "longer"])
def test_other_bytes_than_listed_are_refused_and_leave_nothing(
    hub: HubServer, tmp_path: Path, path: str, change: str
) -> None:
    data = FILES[path]
    hub.tamper(
        "acme/tiny",
        path,
        {"flipped": bytes([data[0] ^ 1]) + data[1:], "shorter": data[:-1], "longer": data + b"!"}[change],
    )
    with pytest.raises(DownloadMismatchError):
        fetch(hub, tmp_path / "t", only=[path])
    assert not any(
        path.suffix in (".onnx", ".json", ".unverified") and path.stat().st_size for path in (tmp_path / "t").rglob("*")
    )
    assert path not in on_disk(tmp_path / "t")


@pytest.mark.parametrize("name", ["../outside.json", "/tmp/outside.json", "a/../../outside.json", "..\\outside.json"])
def test_a_listed_name_that_leads_out_is_refused_before_any_file_is_asked_for(
    hub: HubServer, tmp_path: Path, name: str
) -> None:
    hub.list_also(rfilename=name, size=2, blobId="a" * 40)
    with pytest.raises(RefusedError):
        fetch(hub, tmp_path / "t")
    assert len(hub.requests) == 1
    assert not (tmp_path / "t").exists()


def test_nothing_is_written_through_a_link(hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "t").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "t" / "onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RefusedError, match="link"):
        fetch(hub, tmp_path / "t")
    assert not on_disk(tmp_path / "elsewhere")


def test_more_than_the_limit_in_all_is_refused_before_any_file_is_asked_for(hub: HubServer, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="limit"):
        fetch(hub, tmp_path / "t", limit=400_000)
    assert len(hub.requests) == 1


def test_what_does_not_exist_says_so(hub: HubServer, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        fetch(hub, tmp_path / "t", only=["*.gguf"])
    with pytest.raises(HttpStatusError, match="404") as caught:
        fetch_hub("acme/other", endpoint=hub.endpoint, target=tmp_path, transport=UrllibTransport())
    assert "name" in caught.value.remedy


def test_the_token_goes_to_the_hub_and_never_to_the_content_network(tmp_path: Path) -> None:
    with HubServer({"acme/tiny": FILES}, token="hf_secret") as hub:
        with pytest.raises(HttpStatusError, match="401") as caught:
            fetch(hub, tmp_path / "t")
        assert "token" in caught.value.remedy
        hub.requests.clear()
        fetch(hub, tmp_path / "t", token="hf_secret")
        content = [request for request in hub.requests if request.target.startswith("/cdn/")]
        assert len(content) == 2
        assert not any("authorization" in request.headers for request in content)


def test_a_token_is_not_sent_in_the_clear_to_another_machine(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unencrypted"):
        fetch_hub(
            "acme/tiny", endpoint="http://hub.example", target=tmp_path, transport=UrllibTransport(), token="hf_secret"
        )


def test_the_endpoint_comes_from_the_environment_where_none_is_given(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint + "/")
    fetch_hub("acme/tiny", target=tmp_path / "t", transport=UrllibTransport(), only=["config.json"])
    assert json.loads((tmp_path / "t" / "config.json").read_bytes())["architectures"] == ["BertModel"]
    monkeypatch.setenv("HF_ENDPOINT", "ftp://hub.example")
    with pytest.raises(InputError):
        fetch_hub("acme/tiny", target=tmp_path / "t", transport=UrllibTransport())


def test_a_real_model_goes_from_the_hub_to_an_imported_variant(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="needs the extra pack")
    folder = shared_data / "model_vision_mobilenet"
    files = {
        "onnx/model.onnx": (folder / "vww_96_fp32.onnx").read_bytes(), "LICENSE": (folder / "LICENSE").read_bytes(),
        "config.json": json.dumps(
            {"architectures": ["MobileNetV1ForImageClassification"], "id2label": {"0": "nobody", "1": "person"}}
        ).encode(),
    }  # fmt: skip
    with HubServer({"acme/watch": files}) as hub:
        fetch_hub("acme/watch", endpoint=hub.endpoint, target=tmp_path / "t", transport=UrllibTransport())
    found = import_hub(tmp_path / "t")
    assert (found.labels, found.task, list(found.files)) == (("nobody", "person"), "classification", ["LICENSE"])
    assert found.variants[0].model == files["onnx/model.onnx"]
