"""JSON as it must be when it comes from outside: bounded, unambiguous, finite; and one canonical way to write it.

Two readers that disagree on a document are a security hole (duplicate keys: RFC 8259 section 4 leaves them open), so
whatever is ambiguous is refused. Writing is canonical (sorted keys, no spaces, UTF-8), so equal content has equal digests.
"""

import json
import re
from collections import Counter
from typing import Any, NoReturn

from edgewise.bundle.limits import DEFAULT_LIMITS, Limits
from edgewise.errors import HostileBundleError

__all__ = ["dump_json", "parse_json", "parse_object"]

# Possessive, and also matching a string that never ends: linear in time, nothing kept for backtracking.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.?)*+"?', re.DOTALL)
_STRUCTURE = re.compile(rb"[\[\]{},]")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
# Outside this range a reader in another language (IEEE doubles) would see another number: RFC 8259 section 6.
_SAFE_INTEGER = 2**53 - 1


def parse_json(data: bytes, what: str, limits: Limits = DEFAULT_LIMITS) -> Any:
    """The value of a JSON document from outside; ``what`` names the document in errors.

    Raises HostileBundleError, with the rule that was broken, for anything oversized, too deep, ambiguous or malformed.
    """
    if len(data) > limits.json_bytes:
        raise HostileBundleError("json-size", f"{what} has {len(data)} bytes; at most {limits.json_bytes} are read")
    _check_structure(data, what, limits)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise HostileBundleError("json-malformed", f"{what} is not UTF-8: {error.reason}") from None

    def refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise HostileBundleError("json-duplicate-key", f"{what} has the key {twice[:60]!r} twice in one object")
        return found

    def parse_int(digits: str) -> int:
        if len(digits) > limits.json_digits or abs(int(digits)) > _SAFE_INTEGER:
            raise HostileBundleError("json-number", f"{what} has an integer beyond 2^53: {digits[:40]}")
        return int(digits)

    def parse_float(digits: str) -> float:
        value = float(digits) if len(digits) <= 2 * limits.json_digits else float("inf")
        if value in (float("inf"), float("-inf")):
            raise HostileBundleError("json-number", f"{what} has a number that is not finite: {digits[:40]}")
        return value

    def refuse_constant(name: str) -> NoReturn:
        raise HostileBundleError("json-number", f"{what} has {name}, which is not JSON")

    try:
        value = json.loads(
            text,
            object_pairs_hook=refuse_duplicates,
            parse_int=parse_int,
            parse_float=parse_float,
            parse_constant=refuse_constant,
        )
        if _SURROGATE.search(data):
            dump_json(value)  # half a surrogate pair is no text: it can be read, but never written or printed
    except ValueError as error:
        raise HostileBundleError("json-malformed", f"{what} is not JSON: {error}") from None
    return value


def parse_object(data: bytes, what: str, limits: Limits = DEFAULT_LIMITS) -> dict[str, Any]:
    """Like ``parse_json``, for documents whose top level must be an object."""
    value = parse_json(data, what, limits)
    if not isinstance(value, dict):
        raise HostileBundleError("json-malformed", f"{what} is a {type(value).__name__}, not an object")
    return value


def dump_json(value: Any) -> bytes:
    """Canonical bytes of a JSON value: sorted keys, no white space, UTF-8. ``parse_json`` is its inverse."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _check_structure(data: bytes, what: str, limits: Limits) -> None:
    # The cheap bound first: a document with few brackets and commas in all is neither deep nor rich.
    opened = data.count(b"[") + data.count(b"{")
    if opened <= limits.json_depth and 1 + opened + data.count(b",") <= limits.json_values:
        return
    depth, values = 0, 1
    for mark in _STRUCTURE.finditer(_STRINGS.sub(b"", data)):
        if mark[0] in b"[{":
            depth += 1
        elif mark[0] in b"]}":
            depth -= 1
        values += mark[0] in b"[{,"
        if depth > limits.json_depth:
            raise HostileBundleError("json-depth", f"{what} is nested deeper than {limits.json_depth}")
        if values > limits.json_values:
            raise HostileBundleError("json-values", f"{what} has more than {limits.json_values} values")
