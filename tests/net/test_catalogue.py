"""Data sets by name: every file is verified, wherever it comes from."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgewise.errors import DataError, DownloadMismatchError, HttpStatusError, NotFoundError
from edgewise.net.catalogue import DataSet, find_set, get_set, list_sets
from edgewise.net.transport import MemoryTransport, UrllibTransport
from edgewise.testing.web_server import FileServer

pytestmark = pytest.mark.bare

NAME = "behaviour_movietweetings"  # small, and one of its files has no URL
WHOLE = "assistant_clinc150"  # every file of it is at its origin


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def copy(shared_data: Path, tmp_path: Path) -> Path:
    """A folder with a copy of one real set."""
    for file in find_set(NAME).files:
        target = tmp_path / "copy" / NAME / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shared_data / NAME / file.path, target)
    return tmp_path / "copy"


@pytest.fixture
def mirror(copy: Path) -> Iterator[FileServer]:
    with FileServer(copy) as server:
        yield server


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_sets_are_sorted_named_once_and_say_licence_and_use() -> None:
    sets = list_sets()
    names = [item.name for item in sets]
    assert names == sorted(set(names))
    for item in sets:
        assert item.licence
        assert item.use
        assert item.title
        assert item.files
        assert item.built_in or item.origins
        assert item.made or all(file.url for file in item.files), f"{item.name} says how its own files were made"
        assert item.to_json()["files"][0]["bytes"] == item.files[0].bytes


def test_every_url_names_a_stated_commit() -> None:
    for item in list_sets():
        bases = [
            f"{origin.repository.replace('github.com', 'raw.githubusercontent.com')}/{origin.commit}/"
            for origin in item.origins
        ]
        for file in item.files:
            assert not file.url or any(file.url.startswith(base) for base in bases), file


def test_no_path_leaves_its_folder() -> None:
    for item in list_sets():
        for file in item.files:
            assert ".." not in Path(file.path).parts
            assert not Path(file.path).is_absolute()


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(NotFoundError) as caught:
        find_set("imagenet")
    assert NAME in caught.value.remedy


@pytest.mark.parametrize("item", [item for item in list_sets() if not item.built_in], ids=lambda item: item.name)
def test_the_catalogue_agrees_with_the_sets_on_disk(item: DataSet, shared_data: Path, tmp_path: Path) -> None:
    nothing = MemoryTransport({})
    assert get_set(item.name, cache=tmp_path, transport=nothing, local=shared_data) == shared_data / item.name
    assert nothing.requests == []
    assert list(tmp_path.iterdir()) == []


def test_the_built_in_set_needs_no_network(tmp_path: Path) -> None:
    nothing = MemoryTransport({})
    folder = get_set("digits", cache=tmp_path, transport=nothing, base_url="http://mirror.example")
    assert set(content(folder)) == {"digits.npz", "digits-fp32.onnx", "digits-int8.onnx"}
    assert nothing.requests == []


def test_a_mirror_has_every_file_and_the_cache_keeps_them(mirror: FileServer, copy: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    total = sum(file.bytes for file in find_set(NAME).files)
    for _ in range(2):
        folder = get_set(
            NAME, cache=tmp_path / "cache", transport=UrllibTransport(), base_url=mirror.url + "/",
            progress=lambda done, all_of_it: seen.append((done, all_of_it)),
        )  # fmt: skip
        assert content(folder) == content(copy / NAME)
    assert len(mirror.calls) == len(find_set(NAME).files), "the second time nothing is fetched"
    assert seen[-1] == (total, total)
    assert seen == sorted(seen)


def test_what_is_damaged_in_the_cache_is_fetched_again(mirror: FileServer, copy: Path, tmp_path: Path) -> None:
    folder = get_set(NAME, cache=tmp_path / "cache", transport=UrllibTransport(), base_url=mirror.url)
    (folder / "movies.dat").write_bytes(b"damaged")
    mirror.calls.clear()
    get_set(NAME, cache=tmp_path / "cache", transport=UrllibTransport(), base_url=mirror.url)
    assert [call.target for call in mirror.calls] == [f"/{NAME}/movies.dat"]
    assert content(folder) == content(copy / NAME)


def test_a_mirror_that_lies_is_found_out(mirror: FileServer, copy: Path, tmp_path: Path) -> None:
    data = bytearray((copy / NAME / "movies.dat").read_bytes())
    data[1000] ^= 1
    (copy / NAME / "movies.dat").write_bytes(data)
    with pytest.raises(DownloadMismatchError):
        get_set(NAME, cache=tmp_path / "cache", transport=UrllibTransport(), base_url=mirror.url)
    assert not (tmp_path / "cache" / NAME / "movies.dat").exists()


def test_the_folder_that_has_the_set_is_used_first(copy: Path, tmp_path: Path) -> None:
    with FileServer({}) as server:
        folder = get_set(NAME, cache=tmp_path / "cache", transport=UrllibTransport(), base_url=server.url, local=copy)
        assert folder == copy / NAME
        assert server.calls == []


def test_a_wrong_file_in_that_folder_is_said_not_used(copy: Path, tmp_path: Path) -> None:
    (copy / NAME / "movies.dat").write_bytes(b"edited")
    with pytest.raises(DataError, match=r"movies\.dat"):
        get_set(NAME, cache=tmp_path / "cache", transport=MemoryTransport({}), local=copy)


def test_without_a_mirror_a_file_without_url_is_named_with_what_to_do(copy: Path, tmp_path: Path) -> None:
    (copy / NAME / "ratings_first80k.dat").unlink()
    transport = MemoryTransport({})
    with pytest.raises(NotFoundError, match=r"ratings_first80k\.dat") as caught:
        get_set(NAME, cache=tmp_path / "cache", transport=transport, local=copy)
    assert caught.value.details["files"] == ["ratings_first80k.dat"]
    for words in ("EDGEWISE_DATA", "EDGEWISE_DATA_URL", "80,000", "github.com/adrianrfreedman"):
        assert words in caught.value.remedy
    assert transport.requests == [], "nothing is fetched in vain"


def test_a_set_that_is_all_at_its_origin_comes_from_there(shared_data: Path, tmp_path: Path) -> None:
    item = find_set(WHOLE)
    origin = MemoryTransport({file.url: (shared_data / WHOLE / file.path).read_bytes() for file in item.files})
    folder = get_set(WHOLE, cache=tmp_path / "cache", transport=origin, local=tmp_path / "nowhere")
    assert set(content(folder)) == {file.path for file in item.files}
    assert [request.url for request in origin.requests] == [file.url for file in item.files]


def test_an_interrupted_set_goes_on_where_it_stopped(mirror: FileServer, copy: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = find_set(NAME).files[0]
    memory = MemoryTransport({f"{mirror.url}/{NAME}/{first.path}": (copy / NAME / first.path).read_bytes()})
    with pytest.raises(HttpStatusError, match="404"):
        get_set(NAME, cache=cache, transport=memory, base_url=mirror.url)
    get_set(NAME, cache=cache, transport=UrllibTransport(), base_url=mirror.url)
    assert all(not call.target.endswith(first.path) for call in mirror.calls)


def test_what_the_folder_has_is_copied_and_the_rest_comes_from_the_origin(copy: Path, tmp_path: Path) -> None:
    item, whole = find_set(NAME), content(copy / NAME)
    for file in item.files:
        if file.url:
            (copy / NAME / file.path).unlink()
    origin = MemoryTransport({file.url: whole[file.path] for file in item.files if file.url})
    folder = get_set(NAME, cache=tmp_path / "cache", transport=origin, local=copy)
    assert content(folder) == whole
    assert [request.url for request in origin.requests] == [file.url for file in item.files if file.url]


def test_a_built_in_set_is_always_there_whatever_the_folder_has(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "digits.npz").write_bytes(b"of someone else")
    folder = get_set("digits", cache=tmp_path / "cache", transport=MemoryTransport({}), local=tmp_path)
    assert folder == tmp_path / "cache" / "digits"
