"""Downloads that are resumed, verified while they stream, bounded, and put into place in one step.

A file is at its name only after its size and digest were found right. Until then it is ``NAME.part`` (see ``partial``), which
a cut leaves for the next attempt, in this process or in a later one; bytes that proved wrong are discarded at once.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgewise.digests import digest_of_stream, hex_of, is_digest
from edgewise.errors import DownloadMismatchError, HttpStatusError, InputError, NetworkError, PeerError, StorageError
from edgewise.net.partial import Partial
from edgewise.net.patience import DELAYS, pause
from edgewise.net.transport import Request, Response, Transport, shown

__all__ = ["DEFAULT_LIMIT", "download"]

DEFAULT_LIMIT = 8 << 30  # bytes; nothing that runs at the edge is larger
_CONTENT_RANGE = re.compile(r"bytes (?:([0-9]{1,18})-[0-9]{1,18}|\*)/([0-9]{1,18}|\*)")
_LENGTH = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class _Wanted:
    url: str
    sha256: str | None  # 64 hex digits
    size: int | None
    limit: int
    headers: Mapping[str, str]
    timeout: float
    progress: Callable[[int, int], object] | None = field(compare=False)


class _StaleError(Exception):
    """The part does not belong to what the server has now; begin again."""


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    size: int | None,
    transport: Transport,
    progress: Callable[[int, int], object] | None = None,
    limit: int = DEFAULT_LIMIT,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30.0,
    sleep: Callable[[float], object] = time.sleep,
) -> str:
    """Get ``url`` into the file ``target``; returns the digest of what lies there now (``sha256:...``).

    sha256: 64 hex digits, with or without ``sha256:``; None where nobody knows. size: bytes, likewise. progress is called with
    (bytes so far, bytes in all; 0 where unknown). limit: the most bytes to accept. timeout: seconds without a byte.
    A ``target`` that has the digest already is left alone.

    Raises DownloadMismatchError (wrong bytes, discarded), NetworkError (a cut or silence, after five attempts; the part is
    kept), HttpStatusError, PeerError (an answer against the rules), StorageError (the disk), InputError (your arguments).
    """
    wanted = _Wanted(url, _checked(sha256), size, limit, dict(headers or {}), timeout, progress)
    if limit < 0 or (size is not None and not 0 <= size <= limit):
        raise InputError(f"{shown(url)} is to have {size} bytes, and the limit is {limit}", size=size, limit=limit)
    part: Partial | None = None
    try:
        if wanted.sha256 and target.is_file() and _digest_of_file(target) == wanted.sha256:
            return f"sha256:{wanted.sha256}"
        part = Partial.open(target.with_name(target.name + ".part"), url, wanted.sha256)
        try:
            _fill_patiently(part, wanted, transport, sleep)
            part.move_to(target)
        finally:
            part.close()
    except OSError as error:
        raise StorageError.of("write", target, error) from error
    return f"sha256:{part.sha.hexdigest()}"


def _fill_patiently(part: Partial, wanted: _Wanted, transport: Transport, sleep: Callable[[float], object]) -> None:
    """Attempts with pauses between them, until the part is whole and right."""
    for delay in (*DELAYS, None):
        resumed = part.size > 0
        try:
            _fill(part, wanted, transport)
            _check_whole(part, wanted)
        except (NetworkError, HttpStatusError) as error:
            seconds = pause(error, delay)
            if seconds is None:
                raise
            sleep(seconds)
        except (_StaleError, DownloadMismatchError) as error:
            # A part from an earlier attempt may be at fault; bytes that came in one piece are the server's.
            part.restart("", wanted.sha256)
            if not resumed or delay is None:
                raise _as_mismatch(error, wanted) from None
        else:
            return


def _fill(part: Partial, wanted: _Wanted, transport: Transport) -> None:
    """One request, and what it brings appended to the part."""
    if wanted.size is not None and part.size == wanted.size and part.size:
        return
    if part.size > (wanted.limit if wanted.size is None else wanted.size):
        raise _StaleError
    if part.size and not (part.etag or wanted.sha256):
        part.restart("", None)  # nothing would tell whether the rest belongs to this beginning
    headers = dict(wanted.headers)
    if part.size and part.etag:
        headers["If-Range"] = part.etag
    with transport.fetch(Request(wanted.url, headers, part.size, wanted.timeout)) as response:
        if response.status == 416 and part.size:
            if _content_range(response)[1] != part.size:
                raise _StaleError
            return
        if response.status not in (200, 206):
            raise HttpStatusError(
                f"{shown(wanted.url)} answers {response.status}", url=shown(wanted.url), status=response.status,
                retry_after=response.headers.get("retry-after", ""),
            )  # fmt: skip
        _begin(part, wanted, response)
        _append(part, wanted, response, _total(part, wanted, response))


def _begin(part: Partial, wanted: _Wanted, response: Response) -> None:
    if response.status == 200:
        part.restart(response.headers.get("etag", ""), wanted.sha256)
    elif not part.size:
        raise PeerError(f"{shown(wanted.url)} answers with a part that was not asked for", url=shown(wanted.url))
    elif _content_range(response)[0] != part.size:
        raise _StaleError


def _total(part: Partial, wanted: _Wanted, response: Response) -> int | None:
    """How long the file will be by the server's own word, None without one; refused where that is already wrong."""
    length = response.headers.get("content-length", "")
    if not _LENGTH.fullmatch(length):
        return None
    total = part.size + int(length)
    if wanted.size is not None and total != wanted.size:
        raise _wrong_size(wanted, total)
    if total > wanted.limit:
        raise _too_long(wanted)
    return total


def _append(part: Partial, wanted: _Wanted, response: Response, total: int | None) -> None:
    most = wanted.limit if wanted.size is None else wanted.size
    for chunk in response.chunks():
        if part.size + len(chunk) > most:
            raise _too_long(wanted) if wanted.size is None else _wrong_size(wanted, part.size + len(chunk))
        part.write(chunk)
        if wanted.progress:
            wanted.progress(part.size, wanted.size or total or 0)
    # A body without a stated length ends where the connection does, and that may have been too early.
    if total is None and wanted.size is not None and part.size < wanted.size:
        raise NetworkError(f"{shown(wanted.url)} broke off after {part.size} bytes", url=shown(wanted.url))


def _check_whole(part: Partial, wanted: _Wanted) -> None:
    if wanted.size is not None and part.size != wanted.size:
        raise _wrong_size(wanted, part.size)
    if wanted.sha256 and part.sha.hexdigest() != wanted.sha256:
        raise DownloadMismatchError(
            f"{shown(wanted.url)} has SHA-256 {part.sha.hexdigest()[:16]}..., not {wanted.sha256[:16]}...; it was discarded",
            url=shown(wanted.url), expected=wanted.sha256, found=part.sha.hexdigest(),
        )  # fmt: skip


def _content_range(response: Response) -> tuple[int, int]:
    """First byte and length of the whole (RFC 9110, section 14.4); -1 where it does not say."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
    start, total = found.groups() if found else (None, "*")
    return int(start) if start else -1, -1 if total == "*" else int(total)


def _as_mismatch(error: Exception, wanted: _Wanted) -> DownloadMismatchError:
    if isinstance(error, DownloadMismatchError):
        return error
    return DownloadMismatchError(f"{shown(wanted.url)} sends ranges that do not fit together", url=shown(wanted.url))


def _wrong_size(wanted: _Wanted, found: int) -> DownloadMismatchError:
    more = " or more" if found > (wanted.size or 0) else ""
    return DownloadMismatchError(
        f"{shown(wanted.url)} has {found} bytes{more}, not {wanted.size}; it was discarded",
        url=shown(wanted.url), expected=wanted.size, found=found,
    )  # fmt: skip


def _too_long(wanted: _Wanted) -> DownloadMismatchError:
    return DownloadMismatchError(
        f"{shown(wanted.url)} has more than the {wanted.limit} bytes that are accepted; it was discarded",
        url=shown(wanted.url), limit=wanted.limit,
    )  # fmt: skip


def _checked(sha256: str | None) -> str | None:
    if sha256 is None:
        return None
    if not is_digest(f"sha256:{hex_of(sha256)}"):
        raise InputError(f"{sha256!r} is not a SHA-256 digest: 64 hex digits in lower case")
    return hex_of(sha256)


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hex_of(digest_of_stream(file)[0])
