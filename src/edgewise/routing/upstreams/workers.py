"""A model behind Cloudflare's REST API for Workers AI, or behind a server of that shape.

POST URL/ai/run/MODEL with a body by task; {"result": ..., "success": true, "errors": []} comes back.

| task | asks | result |
|---|---|---|
| text-classification | {"text": "..."}, for each row | [{"label": "POSITIVE", "score": 0.99}, ...] |
| image-classification | {"image": [bytes of a PNG file]}, for each row | the same; the best few |
| embeddings | {"text": ["...", ...]}, all rows at once | {"shape": [n, size], "data": [[...], ...]} |
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, final, get_args

import numpy as np

from edgewise.bundle.fields import Form
from edgewise.bundle.limits import Limits
from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import HttpStatusError, InputError, PeerError
from edgewise.net.cancel import Cancel
from edgewise.routing.upstream import Answered, Described, Question, Reply
from edgewise.routing.upstreams.api import Api, is_missing
from edgewise.routing.upstreams.chat import MODEL
from edgewise.routing.upstreams.in_flight import ask_each, ask_rows
from edgewise.routing.upstreams.readable import TextOf, pictures_of, texts_of
from edgewise.runtime.engine import Array

__all__ = ["WorkersTask", "WorkersUpstream"]

T = TypeVar("T")
WorkersTask = Literal["text-classification", "image-classification", "embeddings"]

_ANSWER = Limits(json_bytes=1 << 20, json_depth=16, json_values=1 << 16)
_AT_ONCE = 100  # texts in one question for embeddings: what Cloudflare's models take
_EMBEDDINGS = Limits(json_bytes=16 << 20, json_depth=16, json_values=1 << 20)
_WIDEST = 8192  # numbers of one embedding


@final
class WorkersUpstream:
    """url: what /ai/run/MODEL is below: https://api.cloudflare.com/client/v4/accounts/ACCOUNT. model: such as
    @cf/huggingface/distilbert-sst-2-int8. labels: the bundle's, for the two tasks that classify. The rest is as for
    ``ChatUpstream``.

    A label that the answer leaves out has a score of 0.
    """

    leaves = True

    def __init__(
        self,
        url: str,
        model: str,
        task: WorkersTask,
        labels: Sequence[str] = (),
        *,
        token: str = "",
        text_of: TextOf | None = None,
        inputs: Sequence[TensorSpec] = (),
        at_once: int = 4,
        tier: str = "cloud",
        ca_file: Path | None = None,
        unsafe_plain_http: bool = False,
    ) -> None:
        if len(model) > 256 or MODEL.fullmatch(model) is None or not 0 < at_once <= 64:
            raise InputError(f"{model!r:.80} is no model's name, or {at_once} no number of requests from 1 to 64")
        if task not in get_args(WorkersTask):
            raise InputError(f"the tasks are {', '.join(get_args(WorkersTask))}, not {task!r:.60}")
        self._index = {_folded(label): at for at, label in enumerate(labels)}
        if len(self._index) < len(labels) or (task != "embeddings") != bool(labels):
            raise InputError(f"{task} has {len(self._index)} labels that differ by more than their case")
        self.model, self.task, self.labels = model, task, tuple(labels)
        self._api = Api(url, token, ca_file=ca_file, unsafe_plain_http=unsafe_plain_http)
        self._text_of, self._inputs, self._at_once, self._tier = text_of, tuple(inputs), at_once, tier

    @property
    def name(self) -> str:
        return f"{self.model} at {self._api.url}"

    def __repr__(self) -> str:
        return f"WorkersUpstream({self.name})"

    def describe(self, until: float, cancel: Cancel) -> Described:
        """Whether the catalogue has the model. A server that has no catalogue is believed to have it."""
        try:
            listed = self._api.ask(
                f"/ai/models/search?search={self.model}", None, _enveloped(self._api, _read_names), until, cancel, limits=_ANSWER
            )  # fmt: skip
        except HttpStatusError as error:
            if not is_missing(error):
                raise
            listed = [self.model]
        if self.model not in listed:
            raise PeerError(f"{self._api.url} has no model {self.model}")
        return Described(self.model, tier=self._tier, labels=self.labels)

    def ask(self, question: Question, cancel: Cancel) -> Reply:
        """Raises InputError where the inputs have nothing of what the task reads, PeerError where an answer is not of its form."""
        if self.task == "image-classification":
            pictures = pictures_of(question.inputs, self._inputs)
            if pictures is None:
                raise InputError(
                    f"{self.name} reads pictures, and none of the inputs {', '.join(question.inputs)} is one",
                    remedy="Give inputs, the bundle's interface, with an input of content image.",
                )
            bodies: list[dict[str, Any]] = [{"image": list(picture)} for picture in pictures]
        else:
            texts = texts_of(question.inputs, self._text_of)
            if texts is None:
                raise InputError(
                    f"{self.name} reads texts, and none of the inputs {', '.join(question.inputs)} is one",
                    remedy="Give text_of, which says what the text of a sample is; or pass texts as an input of dtype str.",
                )
            if self.task == "embeddings":
                vectors = self._embed(texts, question.until, cancel)
                return Reply({question.decision: vectors}, (Answered(self._tier, self.model),) * question.rows)
            bodies = [{"text": text} for text in texts]
        return self._classify(bodies, question, cancel)

    def close(self) -> None:
        """End what is under way; nothing can be asked afterwards."""
        self._api.close()

    def _classify(self, bodies: list[dict[str, Any]], question: Question, cancel: Cancel) -> Reply:
        def ask_one(row: int, cancel: Cancel) -> Array:
            return self._run(bodies[row], self._read_scores, question.until, cancel, _ANSWER)

        scores, by = np.zeros((len(bodies), len(self.labels)), np.float32), []
        for row, found in enumerate(ask_rows(ask_one, len(bodies), self._at_once, cancel)):
            if isinstance(found, PeerError):
                by.append(Answered(self._tier, self.model, why=found.what, answered=False))
            else:
                scores[row] = found
                by.append(Answered(self._tier, self.model))
        return Reply({question.decision: scores}, tuple(by))

    def _embed(self, texts: list[str], until: float, cancel: Cancel) -> Array:
        parts = [texts[at : at + _AT_ONCE] for at in range(0, len(texts), _AT_ONCE)]

        def ask_one(part: int, cancel: Cancel) -> Array:
            rows = len(parts[part])
            return self._run({"text": parts[part]}, lambda form: _read_vectors(form, rows), until, cancel, _EMBEDDINGS)

        found = ask_each(ask_one, len(parts), self._at_once, cancel)
        if len({vectors.shape[1] for vectors in found}) != 1:
            raise PeerError(f"{self.name} answers with embeddings of different sizes")
        return np.concatenate(found)

    def _run(self, body: Any, read: Callable[[Form], T], until: float, cancel: Cancel, limits: Limits) -> T:
        return self._api.ask(f"/ai/run/{self.model}", body, _enveloped(self._api, read), until, cancel, limits=limits)

    def _read_scores(self, form: Form) -> Array:
        row = np.zeros(len(self.labels), np.float32)
        seen: set[int] = set()
        given = form.items("result", lambda one: (one.text("label", limit=256), one.number("score", low=0, high=1)))
        for label, score in given:
            index = self._index.get(_folded(label))
            if index is None:
                form.problem("result", f"the bundle has no label {self._api.said(label, 60)!r}")
            elif index in seen:
                form.problem("result", f"the label {self.labels[index]!r:.60} is there twice")
            else:
                seen.add(index)
                row[index] = score
        if not given:
            form.problem("result", "is empty")
        return row


def _enveloped(api: Api, read: Callable[[Form], T]) -> Callable[[Form], T]:
    """What ``read`` makes of an answer that says of itself that it is one."""

    def opened(form: Form) -> T:
        if form.anything("success") is not True:
            errors = form.anything("errors")
            first = errors[0] if isinstance(errors, list) and errors else {}
            words = first.get("message") if isinstance(first, dict) else ""
            said = f": {api.said(words)}" if isinstance(words, str) and words else ""
            raise PeerError(f"{api.url} says that it failed{said}")
        return read(form)

    return opened


def _read_names(form: Form) -> list[str]:
    return form.items("result", lambda one: one.text("name", limit=1024))


def _read_vectors(form: Form, rows: int) -> Array:
    result = form.anything("result")
    data = result.get("data") if isinstance(result, dict) else None
    width = len(data[0]) if isinstance(data, list) and data and isinstance(data[0], list) else 0
    if not isinstance(data, list) or len(data) != rows or not 0 < width <= _WIDEST:
        form.problem("result.data", f"{rows} lists of at most {_WIDEST} numbers are needed")
    elif not all(isinstance(row, list) and len(row) == width and all(map(_is_number, row)) for row in data):
        form.problem("result.data", f"each row has {width} finite numbers")
    else:
        return np.array(data, np.float32)
    return np.zeros((0, 0), np.float32)


def _is_number(value: Any) -> bool:
    # Beyond this float32 has infinity.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 3e38


def _folded(label: str) -> str:
    return label.strip().casefold()
