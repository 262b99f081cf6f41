"""A file is replaced in one step or not at all, and read no further than is allowed."""

from pathlib import Path
from typing import BinaryIO

import pytest

from edgewise.errors import NotFoundError, StorageError
from edgewise.store.files import read_bounded, write_atomic, write_bytes
from edgewise.store.home import Home

pytestmark = pytest.mark.bare


def test_what_was_there_stays_until_the_new_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "x"
    write_bytes(path, b"old")

    def cut(file: BinaryIO) -> None:
        file.write(b"half")
        assert path.read_bytes() == b"old"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, cut)
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_the_mode_is_set_before_the_file_appears(tmp_path: Path) -> None:
    write_bytes(tmp_path / "secret", b"x", mode=0o600)
    write_bytes(tmp_path / "public", b"x")
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "public").stat().st_mode & 0o777 == 0o644


def test_a_link_is_replaced_not_followed(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"precious")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    write_bytes(tmp_path / "link", b"new")
    assert (tmp_path / "target").read_bytes() == b"precious"
    assert (tmp_path / "link").read_bytes() == b"new"


def test_a_disk_that_is_full_or_closed_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError, match="could not write") as raised:
        write_bytes(tmp_path / "file" / "x", b"")
    assert "in the way" in raised.value.remedy
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match="could not write") as raised:
        write_bytes(tmp_path / "folder", b"")
    assert "in the way" in raised.value.remedy
    if Path("/dev/full").exists():

        def fill(file: BinaryIO) -> None:
            with Path("/dev/full").open("wb", buffering=0) as full:
                full.write(b"x")

        with pytest.raises(StorageError, match="No space left") as raised:
            write_atomic(tmp_path / "x", fill)
        assert "Free some space" in raised.value.remedy
        assert not (tmp_path / "x").exists()


def test_reading_is_bounded_and_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    assert read_bounded(tmp_path / "x", 5, "the key") == b"12345"
    with pytest.raises(NotFoundError, match="more than 4 bytes"):
        read_bounded(tmp_path / "x", 4, "the key")
    for path in (tmp_path / "y", tmp_path, tmp_path / "x" / "y"):
        with pytest.raises(NotFoundError, match="the key"):
            read_bounded(path, 4, "the key")
    with pytest.raises(NotFoundError, match="is a folder; a file is needed"):
        read_bounded(tmp_path, 4, "the key")


def test_without_a_home_directory_it_is_said_how_to_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEWISE_HOME", "~no-such-user-here/x")
    with pytest.raises(StorageError, match="no home directory") as raised:
        Home.default()
    assert "EDGEWISE_HOME" in raised.value.remedy


def test_home_is_where_the_environment_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EDGEWISE_HOME", str(tmp_path))
    assert Home.default().root == tmp_path
    monkeypatch.setenv("EDGEWISE_HOME", "~/x")
    assert Home.default().root == Path.home() / "x"
    monkeypatch.delenv("EDGEWISE_HOME")
    assert Home.default().root == Path.home() / ".edgewise"
    home = Home(tmp_path)
    inside = (home.bundles, home.cache, home.data, home.trust_root, home.default_key.parent)
    assert {path.parent for path in inside} == {tmp_path}
    assert not list(tmp_path.iterdir()), "naming a folder does not make it"
