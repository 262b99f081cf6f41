"""What an address speaks, and the upstream behind it. Loaded where somebody is asked over a wire: sockets come with it."""

import os
from urllib.parse import urlsplit

from edgewise.bundle.document import Document
from edgewise.errors import InputError
from edgewise.routing.upstream import Upstream
from edgewise.routing.upstreams.chat import ChatUpstream
from edgewise.routing.upstreams.oip import OipUpstream
from edgewise.routing.upstreams.oip_grpc import OipGrpcUpstream
from edgewise.routing.upstreams.prompt import Prompt
from edgewise.routing.upstreams.readable import is_picture
from edgewise.routing.upstreams.workers import WorkersTask, WorkersUpstream

__all__ = ["FORMS", "TOKEN", "by_address"]

#: The environment's variable with what an upstream wants to see; it goes nowhere else and is shown nowhere.
TOKEN = "EDGEWISE_UPSTREAM_TOKEN"  # noqa: S105  (the name of a variable)
FORMS = (
    "https://HOST/v2/models/NAME (Open Inference Protocol), grpcs://HOST:PORT/NAME (the same by gRPC), "
    "https://HOST/v1#MODEL (OpenAI's chat), https://HOST/ai/run/MODEL (Workers AI), or a bundle (FILE.bundle#VARIANT)"
)


def by_address(url: str, document: Document, unsafe_plain_http: bool) -> Upstream:
    """Raises InputError for an address that does not say what it speaks, RefusedError for plain http to another machine."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InputError(f"{url!r:.100} is no address", remedy=f"Name {FORMS}.") from None
    scheme, path, token = parts.scheme.lower(), parts.path, os.environ.get(TOKEN, "")
    if scheme in ("grpc", "grpcs"):
        return OipGrpcUpstream(url, outputs=document.outputs, token=token, unsafe_plain_http=unsafe_plain_http)
    if scheme in ("http", "https") and "/v2/models/" in path:
        return OipUpstream(url, outputs=document.outputs, token=token, unsafe_plain_http=unsafe_plain_http)
    if scheme in ("http", "https") and "/ai/run/" in path:
        before, _, name = url.partition("/ai/run/")
        return WorkersUpstream(
            before, name, *_task(document), token=token, inputs=document.inputs, unsafe_plain_http=unsafe_plain_http
        )
    if scheme in ("http", "https") and parts.fragment:
        prompt = Prompt(document.labels, document.description, form="json-schema")
        return ChatUpstream(
            url.partition("#")[0], parts.fragment, prompt, token=token, inputs=document.inputs,
            unsafe_plain_http=unsafe_plain_http,
        )  # fmt: skip
    raise InputError(f"{parts.scheme}://{parts.hostname or ''}{path} says not what it speaks", remedy=f"Name {FORMS}.")


def _task(document: Document) -> tuple[WorkersTask, tuple[str, ...]]:
    """Workers AI's word for what the model does, and the labels where it has any."""
    if document.task == "embedding":
        return "embeddings", ()
    return "image-classification" if any(map(is_picture, document.inputs)) else "text-classification", document.labels
