"""Getting a repository from the Hugging Face Hub, or from anything that speaks its paths.

The listing of a revision names a commit and the digest of every file; the files are then fetched at that commit, so a branch
that moves meanwhile changes nothing. Every file is compared with its digest before it has its name.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from edgewise.errors import HttpStatusError, InputError, PeerError, RefusedError, StorageError
from edgewise.importing.hub_listing import (
    DEFAULT_PATTERNS,
    LISTING_LIMIT,
    HubFile,
    HubListing,
    check_repository,
    choose,
    parse_listing,
)
from edgewise.net.download import download
from edgewise.net.transport import Request, Transport, shown

__all__ = ["DEFAULT_ENDPOINT", "DEFAULT_LIMIT", "HubFetch", "fetch_hub", "list_hub"]

DEFAULT_ENDPOINT = "https://huggingface.co"
_ENDPOINT_VARIABLE = "HF_ENDPOINT"  # the one that huggingface_hub reads
DEFAULT_LIMIT = 8 << 30  # bytes of all chosen files together
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_REMEDIES = {
    401: "The repository does not exist, or needs a token: pass one that may read it.",
    403: "Your token may not read it: accept the repository's terms on the hub first.",
    404: "Check the repository's name and the revision.",
}


@dataclass(frozen=True, slots=True)
class HubFetch:
    """What was fetched: into which folder, at which commit, which files, and how many bytes they have together."""

    folder: Path
    repository: str
    commit: str
    files: tuple[str, ...]
    size: int


def fetch_hub(
    repository: str,
    *,
    target: Path,
    transport: Transport,
    revision: str = "main",
    endpoint: str = "",
    only: Sequence[str] = DEFAULT_PATTERNS,
    token: str | None = None,
    limit: int = DEFAULT_LIMIT,
    progress: Callable[[str, int, int], object] | None = None,
) -> HubFetch:
    """Get the files of ``repository`` that match ``only`` into the folder ``target``, and say at which commit.

    endpoint: default HF_ENDPOINT, else huggingface.co. only: patterns in which ``*`` does not cross folders. limit: bytes of
    all files together. progress is called with (path, bytes so far of all files, bytes in all). A file that is there and right
    is not fetched again; one that broke off is continued.
    Raises RefusedError for names that lead out of ``target`` and past the limit; DownloadMismatchError for wrong bytes, which
    are discarded; HttpStatusError, NetworkError, PeerError, StorageError, NotFoundError, InputError.
    """
    base = _endpoint(endpoint, token)
    listing = list_hub(repository, transport=transport, revision=revision, endpoint=base, token=token)
    chosen = choose(listing, only, limit)
    for file in chosen:
        _check_place(target, file.path)
    total, before = sum(file.size for file in chosen), 0
    for file in chosen:
        if progress:
            progress(file.path, before, total)
        _fetch(f"{base}/{repository}/resolve/{listing.commit}/{quote(file.path)}", target, file, transport, token,
               _shifted(progress, file.path, before, total))  # fmt: skip
        before += file.size
    if progress:
        progress(chosen[-1].path, total, total)
    return HubFetch(target, repository, listing.commit, tuple(file.path for file in chosen), total)


def list_hub(
    repository: str, *, transport: Transport, revision: str = "main", endpoint: str = "", token: str | None = None
) -> HubListing:
    """What the hub lists for a revision. Raises as ``fetch_hub`` does."""
    check_repository(repository, revision)
    base = _endpoint(endpoint, token)
    url = f"{base}/api/models/{repository}/revision/{quote(revision, safe='')}?blobs=true"
    with transport.fetch(Request(url, _headers(token))) as response:
        if response.status != 200:
            raise HttpStatusError(
                f"{shown(url)} answers {response.status}", remedy=_REMEDIES.get(response.status),
                url=shown(url), status=response.status,
            )  # fmt: skip
        data = bytearray()
        for chunk in response.chunks():
            data += chunk
            if len(data) > LISTING_LIMIT:
                raise PeerError(f"{shown(url)} sends more than {LISTING_LIMIT} bytes", url=shown(url))
    return parse_listing(bytes(data), repository)


def _fetch(
    url: str,
    target: Path,
    file: HubFile,
    transport: Transport,
    token: str | None,
    progress: Callable[[int, int], object] | None,
) -> None:
    place = target / file.path
    if file.sha256:
        download(
            url, place, sha256=file.sha256, size=file.size, transport=transport, progress=progress, limit=file.size,
            headers=_headers(token),
        )  # fmt: skip
        return
    # Git's id of a file is no SHA-256, so the download itself cannot compare it: the file gets its name afterwards.
    draft = place.with_name(place.name + ".unverified")
    try:
        if place.is_file() and _is_right(place, file):
            return
        download(
            url, draft, sha256=None, size=file.size, transport=transport, progress=progress, limit=file.size,
            headers=_headers(token),
        )  # fmt: skip
        try:
            with draft.open("rb") as stream:
                file.check(stream)
            draft.replace(place)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError.of("write", place, error) from error


def _is_right(place: Path, file: HubFile) -> bool:
    try:
        with place.open("rb") as stream:
            file.check(stream)
    except PeerError:
        return False
    return True


def _check_place(target: Path, path: str) -> None:
    place = target
    for part in path.split("/"):
        place = place / part
        if place.is_symlink():
            raise RefusedError(
                f"{place} is a link; nothing is written through it", remedy="Choose an empty folder.", rule="link"
            )


def _endpoint(endpoint: str, token: str | None) -> str:
    base = (endpoint or os.environ.get(_ENDPOINT_VARIABLE) or DEFAULT_ENDPOINT).rstrip("/")
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise InputError(f"{shown(base)} is no address of a hub", remedy=f"Write it as {DEFAULT_ENDPOINT}.")
    if token and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        raise InputError(f"the token would go to {shown(base)} unencrypted", remedy="Use https.")
    return base


def _headers(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _shifted(
    progress: Callable[[str, int, int], object] | None, path: str, before: int, total: int
) -> Callable[[int, int], object] | None:
    if progress is None:
        return None
    return lambda done, _: progress(path, before + done, total)
