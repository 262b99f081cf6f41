"""What a foreign file names is read below its folder or not at all."""

import os
from pathlib import Path

import pytest

from edgewise.errors import DataError, NotFoundError, RefusedError
from edgewise.importing.folder import Folder, is_plain_path


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "secret.bin").write_bytes(b"secret")
    inside = tmp_path / "inside"
    (inside / "sub").mkdir(parents=True)
    (inside / "sub" / "a.bin").write_bytes(b"abc")
    return Folder(inside)


def test_a_plain_relative_path_is_read(folder: Folder) -> None:
    assert folder.read("sub/a.bin") == b"abc"
    assert folder.has("sub/a.bin")
    assert folder.size("sub/a.bin") == 3


@pytest.mark.parametrize(
    "path",
    [
        "../secret.bin",
        "sub/../../secret.bin",
        "/etc/hostname",
        "",
        ".",
        "sub//a.bin",
        "sub\\a.bin",
        "C:a.bin",
        "a\0b",
        "sub/./a.bin",
        "x" * 2000,
    ],
)
def test_a_path_that_could_lead_out_is_refused_before_anything_is_opened(folder: Folder, path: str) -> None:
    assert not is_plain_path(path)
    assert not folder.has(path)
    with pytest.raises(RefusedError) as caught:
        folder.read(path)
    assert caught.value.details["rule"] == "path-escape"


def test_a_link_is_refused_whether_it_is_the_file_or_a_folder_on_the_way(folder: Folder, tmp_path: Path) -> None:
    (folder.root / "link.bin").symlink_to(tmp_path / "secret.bin")
    (folder.root / "linked").symlink_to(tmp_path)
    (folder.root / "harmless.bin").symlink_to(folder.root / "sub" / "a.bin")
    for path in ("link.bin", "linked/secret.bin", "harmless.bin"):
        with pytest.raises(RefusedError, match="link"):
            folder.read(path)
    assert folder.files("*.bin") == []


def test_what_is_too_long_missing_or_no_file_says_which(folder: Folder) -> None:
    with pytest.raises(DataError, match="more than 2 bytes"):
        folder.read("sub/a.bin", 2)
    with pytest.raises(NotFoundError):
        folder.read("sub/b.bin")
    with pytest.raises(DataError, match="no regular file"):
        folder.read("sub")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_named_pipe_is_refused_instead_of_waited_for(folder: Folder) -> None:
    os.mkfifo(folder.root / "pipe.bin")
    with pytest.raises(DataError, match="no regular file"):
        folder.read("pipe.bin")
