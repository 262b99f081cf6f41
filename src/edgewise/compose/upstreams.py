"""Whom ``upstream=`` and ``--upstream`` mean: a node, a function, a bundle, or what an address speaks."""

import os
from collections.abc import Callable
from os import PathLike
from typing import Any

from edgewise.bundle.document import Document
from edgewise.errors import InputError
from edgewise.routing.node import Node
from edgewise.routing.upstream import Upstream
from edgewise.routing.upstreams.function import FunctionUpstream
from edgewise.routing.upstreams.node import NodeUpstream, SessionUpstream
from edgewise.runtime.session import Session

__all__ = ["open_upstream"]


def open_upstream(
    what: Any, document: Document, load_bundle: Callable[[str], Session], *, unsafe_plain_http: bool = False
) -> Upstream:
    """what: an address, the path or name of a bundle, something that answers in this process, or anything with the methods of
    ``Upstream``. document: of the model that asks. load_bundle: opens a bundle in this process, of which ``#VARIANT`` may name a
    variant.

    Raises InputError for what is none of these and for an address that cannot be read, RefusedError for plain http to another
    machine, MissingExtraError.
    """
    if isinstance(what, Node):
        return NodeUpstream(what)
    if isinstance(what, Session):
        return SessionUpstream(what, "cloud")
    if isinstance(what, (str, PathLike)):
        text = os.fspath(what)
        if "://" not in text:
            return SessionUpstream(load_bundle(text), "cloud")
        # Deferred: what opens sockets is loaded where somebody is asked over a wire.
        from edgewise.compose.upstream_addresses import by_address  # noqa: PLC0415

        return by_address(text, document, unsafe_plain_http)
    if hasattr(what, "ask") and hasattr(what, "describe") and hasattr(what, "name"):
        return what  # somebody else's upstream, by its methods
    if callable(what):
        return FunctionUpstream(what, getattr(what, "__name__", "a function"), labels=document.labels)
    raise InputError(
        f"an upstream is not a {type(what).__name__}",
        remedy="Name an address, a bundle, a node, a session, or a function of the inputs.",
    )
