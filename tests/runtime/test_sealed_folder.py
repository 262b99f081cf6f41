"""A sealed folder is either exactly what was sealed, or empty."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edgewise.runtime.sealed_folder import SealedFolder

pytestmark = pytest.mark.bare


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sealed folder with two files, one of them further down."""
    folder = tmp_path / "cache"
    (folder / "kernels").mkdir(parents=True)
    (folder / "model.blob").write_bytes(b"compiled" * 100)
    (folder / "kernels/one.bin").write_bytes(b"kernel")
    SealedFolder(folder).seal()
    return folder


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_what_is_as_it_was_sealed_stays(folder: Path) -> None:
    before = _files(folder)
    SealedFolder(folder).check()
    assert _files(folder) == before == {"model.blob", "kernels/one.bin", "seal.sha256"}


def _flip(folder: Path) -> None:
    data = bytearray((folder / "model.blob").read_bytes())
    data[400] ^= 1
    (folder / "model.blob").write_bytes(bytes(data))


def _swap(folder: Path) -> None:
    (folder / "model.blob").replace(folder / "moved")
    (folder / "kernels/one.bin").replace(folder / "model.blob")
    (folder / "moved").replace(folder / "kernels/one.bin")


_DAMAGE: dict[str, Callable[[Path], object]] = {
    "one bit": _flip,
    "two files swapped": _swap,
    "a file more": lambda folder: (folder / "planted.blob").write_bytes(b"x"),
    "a file more, called like the seal": lambda folder: (folder / "kernels/seal.sha256").write_bytes(b"x"),
    "a file less": lambda folder: (folder / "kernels/one.bin").unlink(),
    "no seal": lambda folder: (folder / "seal.sha256").unlink(),
    "an empty seal": lambda folder: (folder / "seal.sha256").write_bytes(b""),
    "a seal that is a folder": lambda folder: ((folder / "seal.sha256").unlink(), (folder / "seal.sha256").mkdir()),
}


@pytest.mark.parametrize("damage", _DAMAGE.values(), ids=_DAMAGE)
def test_anything_else_empties_it(folder: Path, damage: Callable[[Path], object]) -> None:
    damage(folder)
    SealedFolder(folder).check()
    assert not folder.exists()


def test_a_folder_that_is_not_there_is_no_fault(tmp_path: Path) -> None:
    sealed = SealedFolder(tmp_path / "none")
    sealed.check()
    sealed.seal()


def test_what_was_added_after_the_check_is_sealed_with_the_rest(folder: Path) -> None:
    sealed = SealedFolder(folder)
    sealed.check()
    (folder / "second.blob").write_bytes(b"another")
    sealed.seal()
    SealedFolder(folder).check()
    assert "second.blob" in _files(folder)


def test_a_runtimes_own_digest_file_is_sealed_like_any_other(folder: Path) -> None:
    """Only the seal itself is left out of the list, not what is called similarly."""
    (folder / "model.sha256").write_bytes(b"0" * 64)
    SealedFolder(folder).seal()
    SealedFolder(folder).check()
    assert (folder / "model.sha256").exists()
    (folder / "model.sha256").write_bytes(b"1" * 64)
    SealedFolder(folder).check()
    assert not folder.exists()
