"""A server on loopback that speaks OpenAI's chat completions: what its "large language model" says is a function's word.

    with ChatServer(classify, model="large") as server:
        ChatUpstream(server.url, "large", Prompt(labels)).ask(...)

It reads a prompt as a model has to: the text is what stands between the last two equal lines of the last message. Faults are
attributes and may be changed between requests.
"""

import base64
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from edgewise.testing.json_server import JsonCall, JsonServer

__all__ = ["Asked", "ChatServer", "Classify", "WordFault"]

#: A text, and the PNG files beside it.
Asked = tuple[str, tuple[bytes, ...]]
#: What the model writes, and how probable it was.
Classify = Callable[[Asked], tuple[str, float]]
#: prose: words around the label. unknown: a label that nobody named. empty: no choices. null: no content. number: content that is
#: no text. declined: it ends by content_filter. surer: a logarithm of a probability above 0.
WordFault = Literal["", "prose", "unknown", "empty", "null", "number", "declined", "surer"]

_TOKEN = re.compile(r"\s?\w{1,4}|.", re.DOTALL)  # about as long as those of real models
_PICTURE = "data:image/png;base64,"


class ChatServer(JsonServer):
    """model: its name. listed: the names that GET /v1/models knows. retrieves: whether it answers GET /v1/models/NAME.

    takes_format: response_format is obeyed; False: refused with 400. says: the fault of its words. logprobs: whether it gives them.
    """

    def __init__(self, classify: Classify, model: str = "large", *, certificate: Path | None = None) -> None:
        self.classify, self.model = classify, model
        self.listed: tuple[str, ...] | None = (model,)
        self.retrieves, self.takes_format, self.logprobs = True, True, True
        self.says: WordFault = ""
        super().__init__(certificate)  # last: from here on it answers

    def mend(self) -> None:
        super().mend()
        self.says = ""

    def answer(self, call: JsonCall) -> tuple[int, Any]:
        if call.method == "GET":
            return self._models(call.path)
        body = call.body
        if call.path != "/v1/chat/completions" or body["model"] != self.model:
            return 404, {"error": {"message": "no such model"}}
        if "response_format" in body and not self.takes_format:
            return 400, {"error": {"message": "unknown field: response_format"}}
        label, probability = self.classify(read_prompt(body["messages"]))
        return 200, self._completion(body, label, probability)

    def _models(self, path: str) -> tuple[int, Any]:
        listed: list[dict[str, Any]] = [
            {"id": name, "object": "model", "created": 1700000000, "owned_by": "tests"} for name in self.listed or ()
        ]
        if path == "/v1/models" and self.listed is not None:
            return 200, {"object": "list", "data": listed}
        found = [one for one in listed if path == f"/v1/models/{one['id']}"] if self.retrieves else []
        return (200, found[0]) if found else (404, {"error": {"message": "not found"}})

    def _completion(self, body: dict[str, Any], label: str, probability: float) -> dict[str, Any]:
        label = "no such label" if self.says == "unknown" else label
        words = json.dumps({"label": label}) if "response_format" in body else label
        if self.says == "prose":
            words = f"Sure! The label is: {words}."
        tokens = _TOKEN.findall(words)
        most = body.get("max_tokens", body.get("max_completion_tokens", len(tokens)))
        cut = len(tokens) > most
        tokens = tokens[:most]
        content: Any = {"null": None, "number": 3}.get(self.says, "".join(tokens))
        each = math.log(probability) / len(tokens) if self.says != "surer" else 1.0
        logprobs = {
            "content": [{"token": token, "logprob": each, "bytes": None, "top_logprobs": []} for token in tokens]
        }
        reason = "content_filter" if self.says == "declined" else "length" if cut else "stop"
        choice = {
            "index": 0, "message": {"role": "assistant", "content": "" if self.says == "declined" else content, "refusal": None},
            "logprobs": logprobs if body.get("logprobs") and self.logprobs else None, "finish_reason": reason,
        }  # fmt: skip
        return {
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1700000000, "model": f"{self.model}-2026-01-01",
            "choices": [] if self.says == "empty" else [choice],
            "usage": {"prompt_tokens": 1, "completion_tokens": len(tokens), "total_tokens": 1 + len(tokens)},
        }  # fmt: skip


def read_prompt(messages: list[dict[str, Any]]) -> Asked:
    """What the last message asks about."""
    content = messages[-1]["content"]
    parts: list[dict[str, Any]] = [{"type": "text", "text": content}] if isinstance(content, str) else content
    text = next(part["text"] for part in parts if part["type"] == "text")
    lines = text.split("\n")
    inner = "\n".join(lines[lines.index(lines[-1]) + 1 : -1])
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return inner, tuple(base64.b64decode(url.removeprefix(_PICTURE), validate=True) for url in urls)
