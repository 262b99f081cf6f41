"""Bundles on disk: whole or not there, found by name, never through a link."""

import gc
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgewise.bundle.build import build_bundle
from edgewise.bundle.bundle import Bundle
from edgewise.digests import hex_of
from edgewise.errors import EdgewiseError, HostileBundleError, NotFoundError, StorageError
from edgewise.store.bundles import find_bundle, install_bundle, open_path, write_file, write_folder
from edgewise.store.home import Home
from edgewise.testing.sample_bundles import full_bundle, minimal_bundle, sample_document, sample_root, signed_bundle
from edgewise.trust.verification import verify_bundle

pytestmark = pytest.mark.bare


class Failing:
    """A source whose disk dies after some blobs."""

    def __init__(self, bundle: Bundle, after: int) -> None:
        self.inner, self.left = bundle.source, after
        self.read_file, self.blob_size = bundle.source.read_file, bundle.source.blob_size

    def open_blob(self, digest: str) -> object:
        if self.left == 0:
            raise OSError("the disk is gone")
        self.left -= 1
        return self.inner.open_blob(digest)


def failing(after: int) -> Bundle:
    bundle = signed_bundle(full_bundle())
    return Bundle(
        Failing(bundle, after), bundle.index, bundle.manifest, bundle.document, bundle.document_digest  # type: ignore[arg-type]
    )  # fmt: skip


def model_blob(folder: Path, bundle: Bundle) -> Path:
    return folder / "blobs" / "sha256" / hex_of(bundle.document.variants[0].digest)


@pytest.mark.parametrize("write", [write_file, write_folder])
def test_what_was_written_opens_verifies_and_is_equal(tmp_path: Path, write: Callable[[Bundle, Path], None]) -> None:
    bundle = signed_bundle(full_bundle())
    write(bundle, tmp_path / "x")
    opened = open_path(tmp_path / "x")
    opened.check_blobs()
    assert (opened.document, opened.manifest, opened.index) == (bundle.document, bundle.manifest, bundle.index)
    assert verify_bundle(opened, sample_root()) == verify_bundle(bundle, sample_root())


def test_a_file_written_twice_has_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_file(signed_bundle(full_bundle()), tmp_path / name)
    write_file(open_path(tmp_path / "a"), tmp_path / "c")
    write_folder(open_path(tmp_path / "c"), tmp_path / "d")
    write_file(open_path(tmp_path / "d"), tmp_path / "e")
    assert len({(tmp_path / name).read_bytes() for name in "abce"}) == 1


@pytest.mark.parametrize("after", range(10))
def test_a_write_that_dies_leaves_nothing_that_opens(tmp_path: Path, after: int) -> None:
    whole = len(signed_bundle(full_bundle()).blobs())
    assert after < whole
    for write, target in ((write_folder, tmp_path / "folder"), (write_file, tmp_path / "file")):
        with pytest.raises(StorageError):
            write(failing(after), target)
        with pytest.raises(EdgewiseError):
            open_path(target)
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()], "a temporary file was left behind"
    write_folder(signed_bundle(full_bundle()), tmp_path / "folder")
    open_path(tmp_path / "folder").check_blobs()


def test_a_write_that_dies_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x.bundle"
    write_file(minimal_bundle(), path)
    before = path.read_bytes()
    with pytest.raises(StorageError):
        write_file(failing(3), path)
    assert path.read_bytes() == before


def test_a_tampered_blob_is_found_and_never_passed_on(tmp_path: Path) -> None:
    bundle = minimal_bundle()
    write_folder(bundle, tmp_path / "x")
    blob = model_blob(tmp_path / "x", bundle)
    blob.write_bytes(b"X" + blob.read_bytes()[1:])
    opened = open_path(tmp_path / "x")
    attempts: list[Callable[[], object]] = [
        opened.check_blobs, lambda: opened.read(opened.document.variants[0].files[0]), lambda: write_file(opened, tmp_path / "y"),
        lambda: write_folder(opened, tmp_path / "z"), lambda: install_bundle(opened, Home(tmp_path / "home")),
    ]  # fmt: skip
    for attempt in attempts:
        with pytest.raises(HostileBundleError) as raised:
            attempt()
        assert raised.value.rule == "digest-mismatch"
    assert not (tmp_path / "y").exists()
    with pytest.raises(HostileBundleError):
        open_path(tmp_path / "z")


def test_a_damaged_blob_in_the_target_is_mended(tmp_path: Path) -> None:
    bundle = minimal_bundle()
    write_folder(bundle, tmp_path)
    model_blob(tmp_path, bundle).write_bytes(b"not really a MODEL")
    write_folder(bundle, tmp_path)
    open_path(tmp_path).check_blobs()


@pytest.mark.parametrize("name", ["index.json", "oci-layout", "blobs", "blobs/sha256", "a blob"])
def test_a_symbolic_link_in_a_layout_is_refused(tmp_path: Path, name: str) -> None:
    bundle = minimal_bundle()
    folder, elsewhere = tmp_path / "layout", tmp_path / "elsewhere"
    write_folder(bundle, folder)
    path = model_blob(folder, bundle) if name == "a blob" else folder / name
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    with pytest.raises(HostileBundleError) as raised:
        open_path(folder).check_blobs()
    assert raised.value.rule == "tar-link"


def test_a_link_to_a_whole_bundle_is_the_users_own_business(tmp_path: Path) -> None:
    write_folder(minimal_bundle(), tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    open_path(tmp_path / "link").check_blobs()


def test_a_pipe_in_a_layout_does_not_block(tmp_path: Path) -> None:
    bundle = minimal_bundle()
    write_folder(bundle, tmp_path / "x")
    model_blob(tmp_path / "x", bundle).unlink()
    os.mkfifo(model_blob(tmp_path / "x", bundle))
    with pytest.raises(HostileBundleError) as raised:
        open_path(tmp_path / "x").check_blobs()
    assert raised.value.rule == "blob-missing"
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StorageError, match="neither a file nor a folder"):
        open_path(tmp_path / "pipe")


def test_replacing_a_file_does_not_disturb_who_has_it_open(tmp_path: Path) -> None:
    path = tmp_path / "x.bundle"
    write_file(signed_bundle(full_bundle()), path)
    opened = open_path(path)
    write_file(minimal_bundle(), path)
    opened.check_blobs()
    assert open_path(path).ref == "digits:1.0.0"


def test_overwriting_a_file_in_place_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.bundle"
    write_file(full_bundle(), path)
    opened = open_path(path)
    for content in (bytes(path.stat().st_size), b""):
        path.write_bytes(content)
        with pytest.raises(HostileBundleError) as raised:
            opened.check_blobs()
        assert raised.value.rule in ("digest-mismatch", "blob-truncated")


def test_opening_leaves_no_file_open(tmp_path: Path) -> None:
    """Neither where it fails nor after the bundle is gone; a ResourceWarning would be an error here."""
    write_file(minimal_bundle(), tmp_path / "good")
    (tmp_path / "bad").write_bytes(b"x" * 1000)
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir())) if descriptors.exists() else 0
    for _ in range(20):
        open_path(tmp_path / "good").check_blobs()
        with pytest.raises(HostileBundleError):
            open_path(tmp_path / "bad")
    gc.collect()
    if before:
        assert len(list(descriptors.iterdir())) <= before + 1


def test_what_is_not_there_or_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no bundle at"):
        open_path(tmp_path / "nothing")
    (tmp_path / "empty").mkdir()
    with pytest.raises(HostileBundleError) as raised:
        open_path(tmp_path / "empty")
    assert raised.value.rule == "layout-missing"


# ------------------------------------------------------------------------------------------- the library


def install(home: Home, *versions: str) -> None:
    for version in versions:
        install_bundle(build_bundle(sample_document(version=version), [b"not really a model"]), home)


@pytest.mark.parametrize(
    ("versions", "highest"),
    [
        ("1.0.0 1.0.1", "1.0.1"), ("1.9.0 1.10.0", "1.10.0"), ("2.0.0 10.0.0", "10.0.0"), ("1.0 1.0.1", "1.0.1"),
        ("1.0.0 1.0.0-rc.1", "1.0.0"), ("1.0.0-rc.2 1.0.0-rc.10", "1.0.0-rc.10"), ("1.0.0-alpha 1.0.0-beta", "1.0.0-beta"),
        ("2025-12-31 2026-01-01", "2026-01-01"), ("v1 v2 v10", "v10"), ("1.0.0 2.0.0-rc.1", "2.0.0-rc.1"),
    ],
)  # fmt: skip
def test_a_name_alone_means_the_highest_version(tmp_path: Path, versions: str, highest: str) -> None:
    home = Home(tmp_path)
    for order in (versions.split(), versions.split()[::-1]):
        install(home, *order)
        assert find_bundle("digits", home).name == f"{highest}.bundle"


def test_a_name_with_a_version_means_that_version(tmp_path: Path) -> None:
    home = Home(tmp_path)
    install(home, "1.0.0", "1.1.0")
    assert open_path(find_bundle("digits:1.0.0", home)).ref == "digits:1.0.0"
    with pytest.raises(NotFoundError, match="installed: digits"):
        find_bundle("digits:3", home)


REFS = [
    "",
    "nothing",
    "../x",
    "digits/../x",
    "digits:../x",
    "a\0b",
    "x" * 10_000,
    "x" * 300,
    "~",
    ":",
    "digits:1:2",
    "digits:*",
]


@pytest.mark.parametrize("ref", REFS)
def test_no_name_leads_out_of_the_library_or_to_a_strange_error(
    tmp_path: Path, ref: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home")
    install(home, "1.0.0")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(NotFoundError):
        find_bundle(ref, home)


def test_strange_files_in_the_library_are_passed_over(tmp_path: Path) -> None:
    home = Home(tmp_path)
    install(home, "1.0.0")
    for name in ("\u00b2.bundle", ".bundle", "-9.bundle", "notes.txt"):
        (home.bundles / "digits" / name).write_bytes(b"")
    assert find_bundle("digits", home).name == "1.0.0.bundle"


def test_a_path_wins_over_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home")
    install(home, "1.0.0")
    monkeypatch.chdir(tmp_path)
    write_file(minimal_bundle(), tmp_path / "digits")
    assert find_bundle("digits", home) == Path("digits")


@pytest.mark.parametrize("ref", ["digits", "digits:1.0.0"])
def test_a_folder_that_is_no_bundle_does_not_hide_an_installed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ref: str
) -> None:
    home = Home(tmp_path / "home")
    monkeypatch.chdir(tmp_path)
    (tmp_path / ref).mkdir()
    with pytest.raises(NotFoundError, match=r"the folder .* is no bundle"):
        find_bundle(ref, home)
    install(home, "1.0.0")
    assert find_bundle(ref, home) == home.bundles / "digits" / "1.0.0.bundle"
    assert find_bundle(f"./{ref}", home) == Path(ref), "with a separator it is a path"
    write_folder(minimal_bundle(), tmp_path / ref)
    assert find_bundle(ref, home) == Path(ref)


def test_a_name_that_is_not_found_says_where_names_are_looked_up(tmp_path: Path) -> None:
    home = Home(tmp_path)
    for ref in ("", "nothing"):
        with pytest.raises(NotFoundError, match="none is installed yet") as raised:
            find_bundle(ref, home)
        assert str(home.bundles) in raised.value.remedy
    with pytest.raises(NotFoundError) as raised:
        open_path(tmp_path / "nothing")
    assert raised.value.remedy == "Check the path."
