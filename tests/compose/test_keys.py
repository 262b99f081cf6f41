"""Keys on disk: made whole or not at all, never overwritten, never poisoning the trust root."""

from pathlib import Path

import pytest

from edgewise.compose.keys import load_private, load_public, new_key, read_root, trust_key, trusted_keys
from edgewise.errors import EdgewiseError, KeyFileError, StorageError
from edgewise.store.home import Home
from edgewise.trust.keys import PrivateKey

pytestmark = pytest.mark.bare


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_new_pair_belongs_together_and_is_trusted(tmp_path: Path, home: Home) -> None:
    key = new_key(tmp_path / "my.release.key", home, "me")
    assert load_private(tmp_path / "my.release.key").public == load_public(tmp_path / "my.release.pub") == key
    assert trusted_keys(home).name_of(key.key_id) == "me"


@pytest.mark.parametrize("name", ["foo.pub", "foo.PUB", ".", ""])
def test_the_public_key_never_takes_the_place_of_the_private_one(tmp_path: Path, home: Home, name: str) -> None:
    with pytest.raises(KeyFileError) as raised:
        new_key(Path(name) if name in ("", ".") else tmp_path / name, home, "me")
    assert "-o mine.key" in raised.value.remedy
    assert not files(tmp_path)


@pytest.mark.parametrize("taken", ["a.key", "a.pub"])
def test_a_key_is_never_overwritten_nor_a_link_to_nowhere(tmp_path: Path, home: Home, taken: str) -> None:
    (tmp_path / taken).symlink_to(tmp_path / "unplugged")
    with pytest.raises(KeyFileError, match="exists already"):
        new_key(tmp_path / "a.key", home, "me")
    assert not files(tmp_path)


@pytest.mark.parametrize("name", ["x" * 300, "a\x1b[31m", "a\nb"], ids=ascii)
def test_a_name_that_will_not_do_leaves_no_file_and_the_root_as_it_was(tmp_path: Path, home: Home, name: str) -> None:
    with pytest.raises(KeyFileError, match="256 characters"):
        new_key(tmp_path / "a.key", home, name)
    assert not files(tmp_path)
    trust_key(PrivateKey.new().public, "friend", home)
    before = home.trust_root.read_bytes()
    with pytest.raises(KeyFileError):
        trust_key(PrivateKey.new().public, name, home)
    assert home.trust_root.read_bytes() == before


def test_nothing_is_left_half_made(tmp_path: Path, home: Home) -> None:
    home.trust_root.mkdir(parents=True)
    with pytest.raises(EdgewiseError):  # found before anything is written
        new_key(tmp_path / "a.key", home, "me")
    assert not files(tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):  # found only after both keys are written
        new_key(tmp_path / "a.key", Home(tmp_path / "file"), "me")
    assert files(tmp_path) == {"file"}


def test_a_public_file_that_cannot_be_written_takes_the_private_one_with_it(tmp_path: Path, home: Home) -> None:
    # The longest name that a file may have while it is written (its draft has a longer one), and one more with .pub.
    for length in range(230, 256):
        private = tmp_path / ("k" * length)
        try:
            new_key(private, home, "me")
        except StorageError:
            assert not private.exists()
        else:
            assert private.with_suffix(".pub").exists()


def test_without_a_trust_root_nobody_is_trusted_yet(home: Home) -> None:
    assert not trusted_keys(home).keys
    assert not home.root.exists(), "looking makes nothing"


@pytest.mark.parametrize("data", [b"{", b"{}"])
def test_a_root_that_cannot_be_read_is_named_with_what_to_do(home: Home, data: bytes) -> None:
    home.root.mkdir()
    home.trust_root.write_bytes(data)
    for read in (lambda: read_root(home.trust_root), lambda: trusted_keys(home)):
        with pytest.raises(KeyFileError) as raised:
            read()
        assert str(home.trust_root) in raised.value.what
        assert str(home.trust_root) in raised.value.remedy
        assert "move it away" in raised.value.remedy
