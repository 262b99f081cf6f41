"""Bundles on disk: one file, a folder, or a name in the library of installed ones."""

import os
import re
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO
from weakref import finalize

from edgewise.bundle.bundle import Bundle, open_bundle
from edgewise.bundle.document import NAME, VERSION
from edgewise.bundle.layout import LAYOUT_FILE, Descriptor
from edgewise.bundle.limits import DEFAULT_LIMITS, Limits
from edgewise.bundle.source import copy_blob, read_exactly
from edgewise.bundle.tarball import TarSource
from edgewise.digests import digest_of_stream, hex_of
from edgewise.errors import HostileBundleError, NotFoundError, StorageError
from edgewise.store.files import write_atomic, write_bytes
from edgewise.store.home import Home

__all__ = ["FolderSource", "find_bundle", "install_bundle", "open_path", "write_file", "write_folder"]

_VERSION_PART = re.compile(r"[0-9]+|[^0-9]+")
_NAME_MAX = 128  # characters, as in a document


class FolderSource:
    """A layout in a folder. Symbolic links are not followed: a bundle has none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read_file(self, name: str, limit: int) -> bytes:
        path = self._folder / name
        self._refuse_link(path)
        if not path.is_file():
            raise HostileBundleError("layout-missing", f"{name} is missing: this is not a bundle")
        with path.open("rb") as file:
            return read_exactly(file, name, limit)

    def blob_size(self, digest: str) -> int:
        path = self._blob(digest)
        self._refuse_link(path)
        return path.stat().st_size if path.is_file() else -1

    def open_blob(self, digest: str) -> BinaryIO:
        path = self._blob(digest)
        try:
            return path.open("rb")
        except OSError as error:
            raise StorageError.of("read", path, error) from error

    def _blob(self, digest: str) -> Path:
        return self._folder / "blobs" / "sha256" / hex_of(digest)

    def _refuse_link(self, path: Path) -> None:
        for part in (path, path.parent, path.parent.parent):
            if part != self._folder and self._folder in part.parents and part.is_symlink():
                raise HostileBundleError("tar-link", f"{part.name} is a symbolic link; a bundle has none")


def open_path(path: Path, limits: Limits = DEFAULT_LIMITS) -> Bundle:
    """The bundle in a file or folder; it keeps the file open as long as it lives.

    Raises NotFoundError, StorageError, or HostileBundleError with the rule that the content breaks.
    """
    try:
        if path.is_dir():
            return open_bundle(FolderSource(path), limits)
        if path.exists() and not path.is_file():
            raise StorageError(f"{path} is neither a file nor a folder", path=str(path))
        with ExitStack() as undo:
            file = undo.enter_context(path.open("rb"))
            source = TarSource(file, limits)
            bundle = open_bundle(source, limits)
            undo.pop_all()
        finalize(source, file.close)
        return bundle
    except FileNotFoundError:
        raise NotFoundError(f"there is no bundle at {path}", path=str(path)) from None
    except OSError as error:
        raise StorageError.of("read", path, error) from error


def write_file(bundle: Bundle, path: Path) -> None:
    """Write a bundle as one reproducible file."""
    write_atomic(path, bundle.write)


def write_folder(bundle: Bundle, folder: Path) -> None:
    """Write a bundle as an image layout that OCI tools read in place. ``index.json`` comes last, so a cut leaves no bundle."""
    for blob in bundle.blobs():
        target = folder / "blobs" / "sha256" / hex_of(blob.digest)
        if not _holds(target, blob):
            write_atomic(target, lambda file, blob=blob: copy_blob(bundle.source, blob, file, blob.digest))  # type: ignore[misc]
    write_bytes(folder / "oci-layout", LAYOUT_FILE)
    write_bytes(folder / "index.json", bundle.index.to_bytes())


def install_bundle(bundle: Bundle, home: Home) -> Path:
    """Copy a bundle into the library, so that ``edgewise.load`` finds it by its name."""
    path = home.bundles / bundle.document.name / f"{bundle.document.version}.bundle"
    write_file(bundle, path)
    return path


def find_bundle(ref: str, home: Home) -> Path:
    """The path that ``ref`` means: a file or folder, else ``name`` (its highest version) or ``name:version`` in the library.

    A plain name means a folder here only where that is a bundle: any project may have a folder that is called like a model.
    Raises NotFoundError with the names that there are.
    """
    path = Path(ref)
    name, _, version = ref.partition(":")
    exists = ref != "" and _exists(path)
    passed_over = exists and _is_plain(ref) and path.is_dir() and not _exists(path / "oci-layout")
    if exists and not passed_over:
        return path
    if NAME.fullmatch(name) and len(name) <= _NAME_MAX and (not version or VERSION.fullmatch(version)):
        files = {file.name.removesuffix(".bundle"): file for file in (home.bundles / name).glob("*.bundle")}
        found = {known: file for known, file in files.items() if VERSION.fullmatch(known)}
        if version in found:
            return found[version]
        if found and not version:
            return found[max(found, key=_version_order)]
    installed = sorted(folder.name for folder in home.bundles.glob("*") if folder.is_dir())
    known = f"installed: {', '.join(installed)}" if installed else "none is installed yet"
    here = (
        f"the folder {ref!r} is no bundle, and no installed one" if passed_over else "no file and no installed bundle"
    )
    raise NotFoundError(
        f"{here} is called {ref!r} ({known})" if ref else f"the name of a bundle is empty ({known})",
        remedy=f"Check the path or name; names are looked up in {home.bundles} (`edgewise pack --install` puts bundles there).",
        ref=ref,
    )  # fmt: skip


def _is_plain(ref: str) -> bool:
    return os.sep not in ref and (os.altsep is None or os.altsep not in ref)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # longer than the file system knows names
        return False


def _version_order(version: str) -> tuple[list[tuple[int, int, str]], bool, list[tuple[int, int, str]]]:
    # As in Semantic Versioning 2.0.0, section 11: what has a part after "-" comes before what has none.
    plain, dash, early = version.partition("-")
    return _numbered(plain), not dash, _numbered(early)


def _numbered(text: str) -> list[tuple[int, int, str]]:
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in _VERSION_PART.findall(text)]


def _holds(path: Path, blob: Descriptor) -> bool:
    if path.is_symlink() or not path.is_file() or path.stat().st_size != blob.size:
        return False
    with path.open("rb") as file:
        return digest_of_stream(file)[0] == blob.digest
