"""Public data sets and models by name: what they are, where each file comes from, and getting them verified.

``catalogue.json`` has the digest of every file, so it does not matter where the bytes come from: a folder that has the sets,
the cache, a mirror, or the origin. It is made by ``scripts/make_catalogue.py``.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

from edgewise.digests import digest_of_stream, hex_of
from edgewise.errors import DataError, NotFoundError, StorageError
from edgewise.net.download import download
from edgewise.net.transport import FileTransport, Transport

__all__ = ["DataFile", "DataSet", "Origin", "find_set", "get_set", "list_sets"]

_BUILT_IN = "package://edgewise"


@dataclass(frozen=True, slots=True)
class Origin:
    """A repository at one commit."""

    repository: str
    commit: str


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of a set. sha256: 64 hex digits. url: empty where the file was made from its origin (see ``DataSet.made``)."""

    path: str
    bytes: int
    sha256: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class DataSet:
    """use: what it is for, in words. made: how the files without a URL were made. built_in: it comes with edgewise."""

    name: str
    title: str
    use: str
    licence: str
    built_in: bool
    made: str
    origins: tuple[Origin, ...]
    files: tuple[DataFile, ...]

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return asdict(self)


@cache
def list_sets() -> tuple[DataSet, ...]:
    """Every set there is, by name."""
    value = json.loads(files("edgewise.net").joinpath("catalogue.json").read_text(encoding="utf-8"))
    return tuple(
        DataSet(
            **{key: item[key] for key in ("name", "title", "use", "licence", "built_in", "made")},
            origins=tuple(Origin(**origin) for origin in item["origins"]),
            files=tuple(DataFile(**file) for file in item["files"]),
        )
        for item in value["sets"]
    )


def find_set(name: str) -> DataSet:
    """The set called ``name``. Raises NotFoundError with the names there are."""
    for item in list_sets():
        if item.name == name:
            return item
    names = ", ".join(item.name for item in list_sets())
    raise NotFoundError(f"there is no data set {name!r}", remedy=f"There are: {names}.", name=name)


def get_set(
    name: str,
    *,
    cache: Path,
    transport: Transport,
    base_url: str | None = None,
    local: Path | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Path:
    """The folder that has every file of set ``name``, each verified now.

    In this order: ``local/<name>`` where that folder is complete; ``cache/<name>``, to which what is missing or damaged is
    copied from ``local``, else fetched from ``base_url``/<name>/<path> (a mirror), or without one from the origin. A built-in
    set is copied from the installation. progress is called with (bytes so far, bytes in all) of what is copied or fetched.

    Raises NotFoundError for an unknown name, and where files are to be had nowhere, with their names and what to do;
    DataError where a file in ``local`` is not what it should be; and what ``download`` raises.
    """
    item = find_set(name)
    here = frozenset() if local is None or item.built_in else _verified(item, local / name)
    if local is not None and len(here) == len(item.files):
        return local / name
    folder = cache / name
    wanted = [file for file in item.files if _digest_at(folder / file.path) != file.sha256]
    if item.built_in:
        # Through the same door as everything else, so that it is verified too.
        base_url, transport = _BUILT_IN, FileTransport(Path(str(files("edgewise"))), _BUILT_IN)
    sources = {file.path: _source(item, file, base_url) for file in wanted}
    if nowhere := [path for path, url in sources.items() if not url and path not in here]:
        raise _nowhere(item, nowhere, None if local is None else local / name)
    done, total = 0, sum(file.bytes for file in wanted)
    for file in wanted:
        source, way = sources[file.path], transport
        if local is not None and file.path in here:
            there = (local / name / file.path).resolve()
            source, way = f"file:///{quote(there.name)}", FileTransport(there.parent)
        download(
            source, folder / file.path, sha256=file.sha256, size=file.bytes, limit=file.bytes, transport=way,
            progress=_shifted(progress, done, total),
        )  # fmt: skip
        done += file.bytes
    return folder


def _verified(item: DataSet, folder: Path) -> frozenset[str]:
    """The paths of the files that are there. Raises DataError where one is there and differs."""
    found = {file: _digest_at(folder / file.path) for file in item.files}
    if wrong := [file.path for file, digest in found.items() if digest not in (None, file.sha256)]:
        raise DataError(
            f"{folder} has other content than {item.name} should have: {', '.join(wrong)}",
            remedy="Replace these files, or unset EDGEWISE_DATA to fetch the set.", files=wrong,
        )  # fmt: skip
    return frozenset(file.path for file, digest in found.items() if digest)


def _source(item: DataSet, file: DataFile, base_url: str | None) -> str:
    return f"{base_url.rstrip('/')}/{item.name}/{quote(file.path)}" if base_url else file.url


def _nowhere(item: DataSet, paths: list[str], local: Path | None) -> NotFoundError:
    known = "; ".join(f"{origin.repository} at {origin.commit[:12]}" for origin in item.origins)
    return NotFoundError(
        f"{item.name} has files that were made from their origin and can be downloaded nowhere: {', '.join(paths)}"
        + (f" (and {local} does not have all of the set)" if local and local.is_dir() else ""),
        remedy="Set EDGEWISE_DATA to a folder that has the set, or EDGEWISE_DATA_URL to a mirror of one. "
        f"How they were made: {item.made}. Origin: {known}.",
        name=item.name, files=paths,
    )  # fmt: skip


def _digest_at(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hex_of(digest_of_stream(file)[0])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageError.of("read", path, error) from error


def _shifted(
    progress: Callable[[int, int], object] | None, before: int, total: int
) -> Callable[[int, int], object] | None:
    return None if progress is None else lambda done, _: progress(before + done, total)
