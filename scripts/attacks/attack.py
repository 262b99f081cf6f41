"""One hostile input and what a reader must say to it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from edgewise.bundle.bundle import Bundle
from edgewise.testing.raw_layout import RawLayout
from edgewise.testing.sample_bundles import minimal_bundle

__all__ = ["Attack", "altered", "hostile", "spoiled", "tar_of"]


@dataclass(frozen=True, slots=True)
class Attack:
    """kind: what it is read as; index, manifest and document are read as that part of an otherwise valid bundle.

    code, rule: of the error that must come. root: the trust root that a bundle is verified under.
    """

    name: str
    kind: str
    code: str
    rule: str | None
    why: str
    data: bytes
    root: str = "root.json"


def hostile(name: str, rule: str, why: str, data: bytes, kind: str = "bundle") -> Attack:
    """An input that breaks a safety rule of the format."""
    return Attack(name, kind, "E401", rule, why, data)


def spoiled(name: str, rule: str, why: str, spoil: Callable[[RawLayout], Any]) -> Attack:
    """The minimal bundle, changed by ``spoil`` and put together again so that all digests fit."""
    raw = RawLayout.of(minimal_bundle())
    spoil(raw)
    return hostile(name, rule, why, raw.tar())


def altered(name: str, why: str, alter: Callable[[dict[str, Any]], Any]) -> Attack:
    """The minimal bundle's document, changed by ``alter``: not a valid one any more."""
    document = RawLayout.of(minimal_bundle()).document
    alter(document)
    data = json.dumps(document, ensure_ascii=False).encode()
    return hostile(f"document-{name}", "document-malformed", why, data, "document")


def tar_of(bundle: Bundle) -> bytes:
    target = BytesIO()
    bundle.write(target)
    return target.getvalue()
