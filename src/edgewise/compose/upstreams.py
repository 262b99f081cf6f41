"""Whom ``upstream=`` and ``--upstream`` mean: a node, a function, a bundle, or what an address speaks."""

import os
from collections.abc import Callable
from os import PathLike
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from edgewise.bundle.document import Document
from edgewise.errors import InputError
from edgewise.routing.node import Node
from edgewise.routing.upstream import Upstream
from edgewise.routing.upstreams.node import NodeUpstream, SessionUpstream
from edgewise.runtime.session import Session

if TYPE_CHECKING:
    from edgewise.routing.upstreams.workers import WorkersTask

__all__ = ["TOKEN", "Asked", "open_upstream"]

#: The environment's variable with what an upstream wants to see; it goes nowhere else and is shown nowhere.
TOKEN = "EDGEWISE_UPSTREAM_TOKEN"  # noqa: S105  (the name of a variable)
_FORMS = (
    "https://HOST/v2/models/NAME (Open Inference Protocol), grpcs://HOST:PORT/NAME (the same by gRPC), "
    "https://HOST/v1#MODEL (OpenAI's chat), https://HOST/ai/run/MODEL (Workers AI), or a bundle (FILE.bundle#VARIANT)"
)

#: An address, the path or name of a bundle, something that answers in this process, or anything with the methods of ``Upstream``.
Asked = "str | PathLike[str] | Node | Session | Upstream | Callable[[Mapping[str, Array]], Any]"


def open_upstream(
    what: Any, document: Document, load_bundle: Callable[[str], Session], *, unsafe_plain_http: bool = False
) -> Upstream:
    """document: of the model that asks. load_bundle: opens a bundle in this process, of which ``#VARIANT`` may name a variant.

    Raises InputError for what is none of these and for an address that cannot be read, RefusedError for plain http to another
    machine, MissingExtraError.
    """
    if isinstance(what, Node):
        return NodeUpstream(what)
    if isinstance(what, Session):
        return SessionUpstream(what, "cloud")
    if isinstance(what, (str, PathLike)):
        text = os.fspath(what)
        return (
            _by_address(text, document, unsafe_plain_http)
            if "://" in text
            else SessionUpstream(load_bundle(text), "cloud")
        )
    if hasattr(what, "ask") and hasattr(what, "describe") and hasattr(what, "name"):
        return what  # somebody else's upstream, by its methods
    if callable(what):
        from edgewise.routing.upstreams.function import FunctionUpstream  # noqa: PLC0415  (only who is asked is loaded)

        return FunctionUpstream(what, getattr(what, "__name__", "a function"), labels=document.labels)
    raise InputError(f"an upstream is not a {type(what).__name__}", remedy=f"Name {_FORMS}.")


def _by_address(url: str, document: Document, unsafe_plain_http: bool) -> Upstream:
    """By the form of the address; what speaks to it is loaded only now."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InputError(f"{url!r:.100} is no address", remedy=f"Name {_FORMS}.") from None
    scheme, path, token = parts.scheme.lower(), parts.path, os.environ.get(TOKEN, "")
    if scheme in ("grpc", "grpcs"):
        from edgewise.routing.upstreams.oip_grpc import OipGrpcUpstream  # noqa: PLC0415  (extra: grpc)

        return OipGrpcUpstream(url, outputs=document.outputs, token=token, unsafe_plain_http=unsafe_plain_http)
    if scheme in ("http", "https") and "/v2/models/" in path:
        from edgewise.routing.upstreams.oip import OipUpstream  # noqa: PLC0415  (urllib3)

        return OipUpstream(url, outputs=document.outputs, token=token, unsafe_plain_http=unsafe_plain_http)
    if scheme in ("http", "https") and "/ai/run/" in path:
        from edgewise.routing.upstreams.workers import WorkersUpstream  # noqa: PLC0415  (urllib3)

        before, _, name = url.partition("/ai/run/")
        return WorkersUpstream(
            before, name, *_task(document), token=token, inputs=document.inputs, unsafe_plain_http=unsafe_plain_http
        )
    if scheme in ("http", "https") and parts.fragment:
        from edgewise.routing.upstreams.chat import ChatUpstream  # noqa: PLC0415  (urllib3)
        from edgewise.routing.upstreams.prompt import Prompt  # noqa: PLC0415

        prompt = Prompt(document.labels, document.description, form="json-schema")
        return ChatUpstream(
            url.partition("#")[0], parts.fragment, prompt, token=token, inputs=document.inputs,
            unsafe_plain_http=unsafe_plain_http,
        )  # fmt: skip
    raise InputError(f"{parts.scheme}://{parts.hostname or ''}{path} says not what it speaks", remedy=f"Name {_FORMS}.")


def _task(document: Document) -> "tuple[WorkersTask, tuple[str, ...]]":
    """Workers AI's word for what the model does, and the labels where it has any."""
    if document.task == "embedding":
        return "embeddings", ()
    from edgewise.routing.upstreams.readable import is_picture  # noqa: PLC0415  (only who is asked is loaded)

    return "image-classification" if any(map(is_picture, document.inputs)) else "text-classification", document.labels
