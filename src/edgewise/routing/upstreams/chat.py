"""A chat model as a classifier: any server that speaks OpenAI's chat completions.

POST URL/chat/completions, one request for each row, several on their way at once. The model's words are matched to a label or
refused (``prompt``). A row's scores are those of one label: the probability of what the model wrote where the server gives it,
and 1 where it does not; what is left is spread evenly over the others.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from math import exp
from pathlib import Path
from typing import Any, final

import numpy as np

from edgewise.bundle.fields import Form
from edgewise.bundle.limits import Limits
from edgewise.bundle.tensors import TensorSpec
from edgewise.errors import HttpStatusError, InputError, PeerError
from edgewise.net.cancel import Cancel
from edgewise.routing.upstream import Answered, Described, Question, Reply
from edgewise.routing.upstreams.api import Api, is_missing
from edgewise.routing.upstreams.in_flight import ask_rows
from edgewise.routing.upstreams.prompt import Prompt, PromptForm
from edgewise.routing.upstreams.readable import TextOf, pictures_of, texts_of
from edgewise.runtime.engine import Array

__all__ = ["MODEL", "ChatUpstream"]

#: Names of models as servers have them: parts of letters, digits and a few marks, none of which means anything in a URL.
MODEL = re.compile(r"[A-Za-z0-9@][A-Za-z0-9@._:+-]*(?:/[A-Za-z0-9@][A-Za-z0-9@._:+-]*)*")
_ANSWER = Limits(json_bytes=1 << 18, json_depth=16, json_values=1 << 14)
_MODELS = Limits(json_bytes=1 << 20, json_depth=16, json_values=1 << 16)
_REFUSED = (400, 422)  # what servers answer to a field that they do not know
_SEED = 0


@final
class ChatUpstream:
    """url: the API's base as OpenAI's own clients take it, such as https://api.openai.com/v1; /v1 is added where it has no path.

    model: its name there. prompt: the labels, and what is said of them. token: sent to the server, encrypted or within this
    machine. text_of: from a question's inputs to a text for each row, where none of them is an array of texts. inputs: the bundle's
    interface, where the model is to see pictures. at_once: requests on their way for one question. logprobs: ask for
    probabilities. options: further fields of each request, as the server has them; None leaves one out. tier: who it is in answers.

    A server that refuses a JSON schema is asked for the label alone from then on.
    """

    leaves = True

    def __init__(
        self,
        url: str,
        model: str,
        prompt: Prompt,
        *,
        token: str = "",
        text_of: TextOf | None = None,
        inputs: Sequence[TensorSpec] = (),
        at_once: int = 4,
        logprobs: bool = False,
        options: Mapping[str, Any] | None = None,
        tier: str = "cloud",
        ca_file: Path | None = None,
        unsafe_plain_http: bool = False,
    ) -> None:
        if len(model) > 256 or MODEL.fullmatch(model) is None or not 0 < at_once <= 64:
            raise InputError(f"{model!r:.80} is no model's name, or {at_once} no number of requests from 1 to 64")
        self.model, self.prompt = model, prompt
        self._api = Api(url, token, version="/v1", ca_file=ca_file, unsafe_plain_http=unsafe_plain_http)
        self._text_of, self._inputs = text_of, tuple(inputs)
        self._at_once, self._logprobs, self._options, self._tier = at_once, logprobs, dict(options or {}), tier
        self._form: PromptForm = prompt.form

    @property
    def name(self) -> str:
        return f"{self.model} at {self._api.url}"

    def __repr__(self) -> str:
        return f"ChatUpstream({self.name})"

    def describe(self, until: float, cancel: Cancel) -> Described:
        """Whether the server has the model, by its own word; one that lists none is believed to have it.

        The labels are the prompt's: a server knows of none.
        """
        found = ""
        try:
            found = self._api.ask(f"/models/{self.model}", None, _read_model, until, cancel, limits=_MODELS)
        except HttpStatusError as error:
            if not is_missing(error):
                raise
            listed = self._listed(until, cancel)
            if self.model not in listed:
                names = ", ".join(self._api.said(name, 60) for name in list(listed)[:8])
                raise PeerError(
                    f"{self._api.url} has no model {self.model}", remedy=f"It has: {names}." if names else None
                ) from None
            found = listed[self.model]
        owner = {"owner": self._api.said(found)} if found else {}
        return Described(self.model, tier=self._tier, labels=self.prompt.labels, extra=owner)

    def _listed(self, until: float, cancel: Cancel) -> dict[str, str]:
        try:
            return self._api.ask("/models", None, _read_models, until, cancel, limits=_MODELS)
        except HttpStatusError as error:
            if not is_missing(error):
                raise
            return {self.model: ""}

    def ask(self, question: Question, cancel: Cancel) -> Reply:
        """Raises InputError where the inputs hold nothing that a chat model can read, PeerError where no answer is a label."""
        texts, pictures = texts_of(question.inputs, self._text_of), pictures_of(question.inputs, self._inputs)
        if texts is None and pictures is None:
            raise InputError(
                f"{self.name} reads texts and pictures, and the inputs {', '.join(question.inputs)} are neither",
                remedy="Give text_of, which says what the text of a sample is; or pass texts as an input of dtype str.",
            )

        def ask_one(row: int, cancel: Cancel) -> tuple[Array, str]:
            text = None if texts is None else texts[row]
            picture = None if pictures is None else "data:image/png;base64," + base64.b64encode(pictures[row]).decode()
            return self._ask_one(text, picture, question.until, cancel)

        scores, by = np.zeros((question.rows, len(self.prompt.labels)), np.float32), []
        for row, found in enumerate(ask_rows(ask_one, question.rows, self._at_once, cancel)):
            if isinstance(found, PeerError):
                by.append(Answered(self._tier, self.model, why=found.what, answered=False))
            else:
                scores[row], model = found
                by.append(Answered(self._tier, model))
        return Reply({question.decision: scores}, tuple(by))

    def close(self) -> None:
        """End what is under way; nothing can be asked afterwards."""
        self._api.close()

    def _ask_one(self, text: str | None, picture: str | None, until: float, cancel: Cancel) -> tuple[Array, str]:
        form = self._form
        try:
            return self._completed(text, picture, form, until, cancel)
        except HttpStatusError as error:
            if form == "label" or error.details.get("status") not in _REFUSED:
                raise
        found = self._completed(text, picture, "label", until, cancel)
        self._form = "label"  # it was the schema that was refused, and not something else
        return found

    def _completed(
        self, text: str | None, picture: str | None, form: PromptForm, until: float, cancel: Cancel
    ) -> tuple[Array, str]:
        body: dict[str, Any] = {
            "model": self.model, "messages": self.prompt.messages(text, picture, form=form), "temperature": 0, "seed": _SEED,
            "max_tokens": self.prompt.most_tokens(),
        }  # fmt: skip
        if form == "json-schema":
            body["response_format"] = self.prompt.response_format()
        if self._logprobs:
            body["logprobs"] = True
        body = {name: value for name, value in (body | self._options).items() if value is not None}
        said, probability, ended, model = self._api.ask(
            "/chat/completions", body, _read_completion, until, cancel, limits=_ANSWER
        )
        index = self.prompt.read(said)
        if index is None:
            # Not what it said: that may be the sample itself, and errors are written down.
            why = f"; it ended by {self._api.said(ended, 40)}" if ended not in ("", "stop") else ""
            raise PeerError(f"{self.name} answered with none of the {len(self.prompt.labels)} labels{why}")
        return _scores(index, len(self.prompt.labels), probability), self._api.said(model)


def _scores(index: int, classes: int, probability: float) -> Array:
    """(classes,) float32 that sum to 1. The label that was written wins by a factor of two, however improbable it was as a text."""
    own = max(probability, 2 / (classes + 1))
    row = np.full(classes, (1 - own) / (classes - 1), np.float32)
    row[index] = own
    return row


def _read_model(form: Form) -> str:
    form.text("id", limit=1024)
    return _words(form, "owned_by")


def _read_models(form: Form) -> dict[str, str]:
    return dict(form.items("data", lambda one: (one.text("id", limit=1024), _words(one, "owned_by"))))


def _words(form: Form, field: str) -> str:
    """What is there for people alone; servers write null, or nothing, where they have none."""
    value = form.anything(field)
    return value if isinstance(value, str) else ""


def _read_completion(form: Form) -> tuple[str, float, str, str]:
    """What was said, the probability that it was said, why it ended, and by which model."""
    choices = form.items("choices", _read_choice, limit=16)
    if not choices:
        form.problem("choices", "is empty")
        return "", 1.0, "", ""
    return *choices[0], _words(form, "model")


def _read_choice(form: Form) -> tuple[str, float, str]:
    said = form.child("message", lambda message: message.text("content"))  # null where it declined, or called a tool
    if said is None:
        form.problem("message", "is missing")
    probability = form.child("logprobs", _read_probability)
    return said or "", 1.0 if probability is None else probability, _words(form, "finish_reason")


def _read_probability(form: Form) -> float | None:
    """Of the whole text: the product over its tokens. None where the server has none."""
    if form.anything("content") is None:
        return None
    # A little above 0 comes of rounding; servers write -9999 for what is as good as impossible.
    tokens = form.items("content", lambda token: token.number("logprob", low=-1e6, high=1e-3))
    return exp(min(0.0, sum(tokens))) if tokens else None
