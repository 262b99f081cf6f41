"""What a node of ours says beside the Open Inference Protocol, in parameters that servers of others lack. Pure; outside input."""

import math
from collections.abc import Mapping
from typing import Any

from edgewise.bundle.limits import Limits
from edgewise.bundle.strict_json import dump_json, parse_json
from edgewise.errors import HostileBundleError, PeerError
from edgewise.net.oip_form import ModelForm
from edgewise.routing.upstream import Answered, Described, Trail

__all__ = ["DEADLINE", "asked", "describe", "extra_bytes", "read_answered", "read_spent"]

#: Header with the milliseconds that whoever asks will wait, for servers of any kind.
DEADLINE = "Edgewise-Deadline-Ms"
_TEXT = 128  # characters of a name
_WHY = 256  # characters of a reason
_ROW = 1024  # bytes of an answer for what it says of a row
_LIST = Limits(json_bytes=1 << 20)


def extra_bytes(rows: int) -> int:
    """How much longer an answer of ``rows`` may be for what it says of itself."""
    return _ROW * rows


def asked(trail: Trail, seconds: float) -> dict[str, Any]:
    """Parameters of a question to a node: seconds are those that are left."""
    return {
        "edgewise_deadline_ms": max(1, math.floor(seconds * 1000)),
        "edgewise_hops": trail.hops,
        "edgewise_trail": ",".join(trail.nodes),
    }


def describe(model: ModelForm, version: str) -> Described:
    """What a server says of itself; version: the one that is asked. Raises PeerError."""
    said = model.parameters
    return Described(
        name=_shown(model.name),
        version=_shown(version or (model.versions[-1] if model.versions else "")),
        tier=_name(said.get("edgewise_tier", "cloud"), "tier"),
        node=_name(said["edgewise_node"], "node") if "edgewise_node" in said else "",
        labels=_texts(said.get("edgewise_labels", "[]"), "labels"),
        cuts=_texts(said.get("edgewise_cuts", "[]"), "cuts"),
        extra={"platform": _shown(model.platform)} if model.platform else {},
    )


def read_answered(said: Mapping[str, Any], described: Described, rows: int, kept: int) -> tuple[Answered, ...]:
    """Who answered the first ``kept`` of ``rows``. A server that is no node answered them itself. Raises PeerError."""
    if not described.node or "edgewise_tier" not in said:
        return (Answered(described.tier),) * kept
    tiers = _each(said, "edgewise_tier", rows)
    variants = _each(said, "edgewise_variant", rows) if said.get("edgewise_variant") else [""] * rows
    degraded = _each(said, "edgewise_degraded", rows) if "edgewise_degraded" in said else ["0"] * rows
    why = _texts(said.get("edgewise_why", dump_json([""] * rows).decode()), "why")
    if len(why) != rows or not set(degraded) <= {"0", "1"}:
        raise PeerError(f"upstream does not say of each of {rows} rows who answered it, and why")
    return tuple(
        Answered(_name(tier, "tier"), _name(variant, "variant") if variant else "", flag == "1", _shown(reason)[:_WHY])
        for tier, variant, flag, reason in list(zip(tiers, variants, degraded, why, strict=True))[:kept]
    )


def read_spent(said: Mapping[str, Any], described: Described) -> tuple[tuple[str, float], ...]:
    """(tier, seconds), the nearest first. Raises PeerError."""
    if not described.node or "edgewise_spent" not in said:
        return ()
    found = []
    for item in _list(said["edgewise_spent"], "spent"):
        tier, seconds = item if isinstance(item, list) and len(item) == 2 else ("", -1)
        if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds < math.inf:
            raise PeerError("upstream spent a time that is none")
        found.append((_name(tier, "tier"), float(seconds)))
    return tuple(found)


def _each(said: Mapping[str, Any], what: str, rows: int) -> list[str]:
    text = said[what]
    found = text.split(",") if isinstance(text, str) else []
    if len(found) != rows:
        raise PeerError(f"upstream gives {what} of {len(found)} rows, and {rows} were asked")
    return found


def _texts(text: Any, what: str) -> tuple[str, ...]:
    found = _list(text, what)
    if not all(isinstance(item, str) for item in found):
        raise PeerError(f"upstream gives {what} that are not all texts")
    return tuple(found)


def _list(text: Any, what: str) -> list[Any]:
    try:
        found = parse_json(text.encode(), f"upstream's list of {what}", _LIST) if isinstance(text, str) else None
    except (HostileBundleError, UnicodeEncodeError) as error:
        raise PeerError(f"upstream gives {what} that are no list of JSON: {type(error).__name__}") from None
    if not isinstance(found, list):
        raise PeerError(f"upstream gives {what} that are no list of JSON")
    return found


def _name(text: Any, what: str) -> str:
    if not isinstance(text, str) or not 0 < len(text) <= _TEXT or not text.isprintable() or "," in text:
        raise PeerError(f"upstream gives a {what} that is no name")
    return text


def _shown(text: str) -> str:
    """What may be printed: control characters would reach the terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in text)
