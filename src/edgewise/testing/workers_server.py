"""A server on loopback in the shape of Cloudflare's REST API for Workers AI: POST /ai/run/MODEL, answered by functions.

    with WorkersServer({"@cf/tests/words": answer}) as server:
        WorkersUpstream(server.url, "@cf/tests/words", "text-classification", labels).ask(...)

An answer is what stands in "result". Faults are attributes and may be changed between requests.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from edgewise.testing.json_server import JsonCall, JsonServer

__all__ = ["EnvelopeFault", "WorkersServer"]

#: failed: "success" is false, at status 200. bare: no envelope. odd: one of other types. unknown: a label nobody has. beyond: a
#: score above 1. again: the same label twice. empty: no labels. text: a score that is a text.
EnvelopeFault = Literal["", "failed", "bare", "odd", "unknown", "beyond", "again", "empty", "text"]


class WorkersServer(JsonServer):
    """models: name -> from the body of a request to its result. says: the fault of its answers. lists: has it a catalogue."""

    def __init__(self, models: Mapping[str, Callable[[Any], Any]], *, certificate: Path | None = None) -> None:
        self.models = dict(models)
        self.says: EnvelopeFault = ""
        self.lists = True
        super().__init__(certificate)  # last: from here on it answers

    def mend(self) -> None:
        super().mend()
        self.says = ""

    def answer(self, call: JsonCall) -> tuple[int, Any]:
        address = urlsplit(call.path)
        if call.method == "GET" and address.path == "/ai/models/search" and self.lists:
            wanted = parse_qs(address.query).get("search", [""])[0]
            found = [name for name in self.models if wanted in name]
            return 200, _enveloped([{"id": str(at), "name": name, "source": 1} for at, name in enumerate(found)])
        model = self.models.get(address.path.removeprefix("/ai/run/"))
        if call.method == "GET" or model is None:
            return 404, _enveloped(None, "No route for that URI")
        result = model(call.body)
        if self.says == "failed":
            return 200, _enveloped(None, "AiError: out of capacity\x1b[2J")
        if self.says == "odd":
            return 200, {"result": result, "success": "true", "errors": ["no object"]}
        if self.says == "bare":
            return 200, {"result": result}
        return 200, _enveloped(_spoilt(result, self.says) if self.says else result)


def _enveloped(result: Any, error: str = "") -> dict[str, Any]:
    errors = [{"code": 3040, "message": error}] if error else []
    return {"result": result, "success": not error, "errors": errors, "messages": []}


def _spoilt(result: Any, fault: EnvelopeFault) -> Any:
    if not isinstance(result, list):
        return {**result, "data": [[*result["data"][0][:-1], 1e39 if fault == "beyond" else "x"], *result["data"][1:]]}
    first = result[0]
    return {
        "unknown": [*result, {"label": "no such\x1b[2J label", "score": 0.1}],
        "beyond": [{**first, "score": 1.5}, *result[1:]],
        "again": [*result, first],
        "empty": [],
        "text": [{**first, "score": "0.5"}, *result[1:]],
    }[fault]
